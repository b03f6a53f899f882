"""The evaluation module `nyx_retrieval`: recall, nDCG, MRR, hit rate and MAP of rankings.

`metric_modules` writes it to run without nyx_hf: the functions imported here then lie in a file beside.
"""

from collections.abc import Sequence

import datasets
import evaluate  # the package, not its Metric: a module's class is the first of their kind in it

from nyx_hf.data_builders.metrics import aggregate, ranking_metrics

DESCRIPTION = """\
Rankings of documents against the documents that are relevant, gains being 0 or 1: recall, nDCG, MRR, hit rate and MAP
at cut-offs, as trec_eval computes them. Each is between 0 and 1.
"""

INPUTS = """
Args:
    predictions: The ids of the documents found for each query, a list from best to worst.
    references: The ids of the documents relevant to each query, a list of at least one.
    ks: The cut-offs; 1, 5 and 10 if left out.
    per_query: Whether to give a list of each metric's values instead of its mean.

Returns:
    recall@k: Share of a query's relevant documents that are among the first k.
    ndcg@k: Their discounted gain, as a share of that of the best ranking there can be.
    mrr@k: 1 / rank of the first relevant document, 0 if that is beyond k.
    hit@k: 1 if a relevant document is among the first k, else 0.
    map@k: Precision at each relevant document among the first k, as a mean over all that are relevant.

Examples:
    >>> import evaluate
    >>> nyx_retrieval = evaluate.load("your-name/nyx_retrieval")
    >>> scores = nyx_retrieval.compute(
    ...     predictions=[["d3", "d1", "d7"], ["d2", "d5"]],
    ...     references=[["d1", "d4"], ["d2"]],
    ...     ks=[2],
    ... )
    >>> {name: round(score, 4) for name, score in scores.items()}
    {'recall@2': 0.75, 'ndcg@2': 0.6934, 'mrr@2': 0.75, 'hit@2': 1.0, 'map@2': 0.625}
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
"""


class NyxRetrieval(evaluate.Metric):
    """Recall, nDCG, MRR, hit rate and MAP of rankings."""

    def _info(self) -> evaluate.MetricInfo:
        ids = datasets.List(datasets.Value("string"))
        return evaluate.MetricInfo(
            description=DESCRIPTION,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features({"predictions": ids, "references": ids}),
            license="apache-2.0",
        )

    def _compute(
        self,
        predictions: Sequence[Sequence[str]],
        references: Sequence[Sequence[str]],
        ks: Sequence[int] = (1, 5, 10),
        per_query: bool = False,
    ) -> dict[str, float] | dict[str, list[float]]:
        metrics = ranking_metrics(predictions, references, ks)
        return {name: values.tolist() for name, values in metrics.items()} if per_query else aggregate(metrics)
