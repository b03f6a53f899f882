"""What NyxQA's card says of a build."""

from collections import Counter
from collections.abc import Iterable, Mapping

from nyx_hf.data_builders.generators import PairGenerator
from nyx_hf.data_builders.nyxqa_config import NyxQAConfig
from nyx_hf.data_builders.nyxqa_stages import Corpus
from nyx_hf.data_builders.pages import modality_of
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.searching import Searcher
from nyx_hf.data_builders.sources import Source
from nyx_hf.model_cards.dataset_card import DatasetFacts
from nyx_hf.model_cards.dataset_card import Source as CardSource

_SUMMARY = """
Questions about pages of text and images, made as in Nyx's NyxQA: pages are cut into chunks of at most {max_tokens}
text tokens, each question is made from one chunk, its positive document, and shows the images that it names. Each
question has four options and one right answer. Hard negatives are the {negatives} highest chunks that {searcher} finds
and that are not the positive; those of train questions come from train pages. Splits are by page: no chunk of a test
page is trained on.

The rows were made by: **{generator}**. Rules: the {preset} preset. Tokens were counted with: {tokens}.
"""


def nyxqa_facts(
    config: NyxQAConfig,
    source: Source,
    generator: PairGenerator,
    searcher: Searcher,
    corpus: Corpus,
    queries: Mapping[str, Iterable[Row]],
    dropped: Counter[str],
) -> DatasetFacts:
    """Gathers what a build's card says.

    Args:
        config: The settings.
        source: Where the pages came from.
        generator: What made the questions.
        searcher: What found the negatives.
        corpus: Stage 1's outcome.
        queries: The questions by split.
        dropped: What was left out, by reason.

    Returns:
        The facts; sample rows are shown unless the pages are the maker's own and not public.
    """
    chunks = Counter(modality_of(chunk["content"]) for chunk in corpus.chunks)
    asked = Counter(_images_of(row) for rows in queries.values() for row in rows)
    name = source.label.split(":")[-1].rsplit(".", 1)[0] or "pages"
    revisions = {"generator": generator.revision} if generator.revision else {}
    words = {
        "max_tokens": config.max_tokens,
        "negatives": config.negatives,
        "searcher": f"`{searcher.name}`",
        "generator": generator.name,
        "preset": config.preset,
        "tokens": f"`{corpus.tokens.name}`",
    }
    return DatasetFacts(
        name=f"nyxqa-{name}",
        pretty_name=f"NyxQA from {name}",
        summary=_SUMMARY.format(**words),
        license=None,
        sources=[CardSource(source.label, "", config.license)],
        configs={},
        default_config="preview",
        aliases={"mcqa": "queries"},
        task_categories=[
            "text-retrieval",
            "visual-document-retrieval",
            "multiple-choice",
            "visual-question-answering",
        ],
        seed=config.seed,
        revisions=revisions,
        counts={
            "pages": corpus.pages,
            **{f"chunks, {kind}": chunks[kind] for kind in ("text", "one image", "several images")},
            **{f"questions, {kind}": asked[kind] for kind in ("text", "one image", "several images")},
        },
        dropped=dict(dropped.most_common()),
        citations=["nyx"],
        language=[config.language],
        own_pages=source.own and not config.public,
    )


def _images_of(row: Row) -> str:
    count = sum(part["type"] == "image" for part in row["content"])
    return "text" if count == 0 else "one image" if count == 1 else "several images"
