"""The evaluation module `nyx_qa`: exact match, F1 and accuracy of answers.

`metric_modules` writes it to run without nyx_hf: the functions imported here then lie in files beside.
"""

from collections.abc import Sequence

import datasets
import evaluate  # the package, not its Metric: a module's class is the first of their kind in it

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.metrics import aggregate

DESCRIPTION = """\
Answers to questions against the right ones: exact match and token F1 as SQuAD's official script (version 2) computes
them, and accuracy, for questions with options by the option that was chosen. Each is a share between 0 and 1.
"""

INPUTS = """
Args:
    predictions: What was answered to each question; an empty string where there is no answer.
    references: The right answers to each question, a list; one that agrees is enough.
    options: The choices of each question, a list with None for an open question; all are open if left out. A
        prediction means the option that it is word for word, else but for case, spacing and the marks around it.
    per_query: Whether to give a list of each metric's values instead of its mean.

Returns:
    em: Share of exact matches, after SQuAD's normalisation.
    f1: Mean F1 of the words that prediction and right answer share, after the same normalisation.
    accuracy: Share of questions whose right option was chosen; em counts for a question without options.

Examples:
    >>> import evaluate
    >>> nyx_qa = evaluate.load("your-name/nyx_qa")
    >>> scores = nyx_qa.compute(
    ...     predictions=["the Eiffel Tower", "rome"],
    ...     references=[["Eiffel Tower in Paris", "La tour Eiffel"], ["Rome"]],
    ...     options=[None, ["Paris", "Rome"]],
    ... )
    >>> {name: round(score, 4) for name, score in scores.items()}
    {'em': 0.5, 'f1': 0.8333, 'accuracy': 0.5}
"""

CITATION = """\
@misc{zhang2025nyx,
  title = {Towards Mixed-Modal Retrieval for Universal Retrieval-Augmented Generation},
  author = {Zhang, Chenghao and Dong, Guanting and Yang, Xinyu and Dou, Zhicheng},
  year = {2025},
  eprint = {2510.17354},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/2510.17354}
}

@misc{rajpurkar2018know,
  title = {Know What You Don't Know: Unanswerable Questions for {SQuAD}},
  author = {Rajpurkar, Pranav and Jia, Robin and Liang, Percy},
  year = {2018},
  eprint = {1806.03822},
  archivePrefix = {arXiv},
  url = {https://arxiv.org/abs/1806.03822}
}
"""


class NyxQa(evaluate.Metric):
    """Exact match, F1 and accuracy of answers."""

    def _info(self) -> evaluate.MetricInfo:
        features = {"predictions": datasets.Value("string"), "references": datasets.List(datasets.Value("string"))}
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(features),
            license="apache-2.0",
        )

    def _compute(
        self,
        predictions: Sequence[str | None],
        references: Sequence[Sequence[str]],
        options: Sequence[Sequence[str] | None] | None = None,
        per_query: bool = False,
    ) -> dict[str, float] | dict[str, list[float]]:
        scores = answer_scores(predictions, references, options)
        return {name: values.tolist() for name, values in scores.items()} if per_query else aggregate(scores)
