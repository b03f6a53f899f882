"""NyxQA: questions, a corpus and training triplets made from anybody's pages (Nyx §3.2, appendix D)."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nyx_hf.data_builders.builder import Made, RetrievalBuilder, builder_configs
from nyx_hf.data_builders.extractive_pairs import ExtractivePairs
from nyx_hf.data_builders.generators import PairGenerator
from nyx_hf.data_builders.instructions import ANSWER
from nyx_hf.data_builders.mining import MiningRules, mine
from nyx_hf.data_builders.nyxqa_config import NyxQAConfig
from nyx_hf.data_builders.nyxqa_facts import nyxqa_facts
from nyx_hf.data_builders.nyxqa_plan import plan_nyxqa
from nyx_hf.data_builders.nyxqa_stages import Corpus, Pipeline
from nyx_hf.data_builders.options import make_options, query_content
from nyx_hf.data_builders.pages import to_parts
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.searching import Item, LexicalSearcher, Searcher
from nyx_hf.data_builders.sources import Source, open_source
from nyx_hf.data_builders.splitting import SPLITS, parse_shares

TASK = "NyxQA"


class NyxQABuilder(RetrievalBuilder):
    """NyxQA as `datasets` builds it: `NyxQABuilder(config_name="triplets", source="html:my-site")`."""

    NAME = "nyxqa"
    SUMMARY = "Multiple-choice questions, corpus and triplets from your own pages, or from OBELICS (Nyx §3.2)."
    BUILDER_CONFIG_CLASS = NyxQAConfig
    BUILDER_CONFIGS = builder_configs(NyxQAConfig)

    def splits(self) -> tuple[str, ...]:
        """Gives `corpus` for the corpus, and the splits that have a share for the rest."""
        return ("corpus",) if self.config.name == "corpus" else tuple(parse_shares(self.config.shares))

    def plan(self) -> dict[str, Any]:
        """Reads and cuts the pages, asks nothing, and counts what a build would take."""
        source = self._source()
        return plan_nyxqa(self.config, source, Pipeline(self.config, source))

    def make(self) -> Made:
        """Runs the four stages; what was finished before is read."""
        source = self._source()
        pipeline = Pipeline(self.config, source)
        corpus = pipeline.corpus()
        generator = self._generator(corpus)
        dropped = Counter(corpus.dropped)
        pairs = pipeline.pairs(pipeline.sample(corpus), generator, dropped)
        if not pairs:
            raise ValueError(
                f"{source.label}: no question is left of {len(corpus.chunks)} chunks; see {dict(dropped)}"
            )
        questions = _Questions(corpus, pairs, self.config.seed)
        searcher = self._searcher()
        triplets = questions.triplets(searcher, self._rules(), dropped)
        facts = nyxqa_facts(self.config, source, generator, searcher, corpus, questions.queries, dropped)
        return Made({"corpus": questions.documents()}, questions.queries, triplets, facts)

    def _source(self) -> Source:
        config = self.config
        if not config.source:
            raise ValueError("no source is named: pass --source html:DIR, or one of the others that --help lists")
        options: dict[str, Any] = {"pdf": {"mode": config.pdf}, "obelics": {"images": config.images}}.get(
            config.source.split(":")[0], {}
        )
        return open_source(config.source, **options)

    def _generator(self, corpus: Corpus) -> PairGenerator:
        config = self.config
        if config.generator == "extractive":
            return ExtractivePairs.fitted(corpus.chunks, config.seed)
        from nyx_hf.data_builders.open_generator import open_generator

        cache = Path(config.cache).expanduser() / "answers"
        return open_generator(
            config.generator, cache_dir=cache, seed=config.seed, preset=config.preset, requests=config.requests
        )

    def _searcher(self) -> Searcher:
        if self.config.retriever == "bm25":
            return LexicalSearcher()
        if self.load_searcher is None:
            raise ValueError(
                f"the retriever {self.config.retriever!r} is a model: set load_searcher, or build with nyx-hf"
            )
        searcher: Searcher = self.load_searcher(self.config.retriever)
        return searcher

    def _rules(self) -> MiningRules:
        """The paper: the five highest of the top 10. The authors' code: ranks 11 to 20."""
        config = self.config
        skipped = config.depth if config.preset == "official" else 0
        last = max(config.depth, config.negatives)
        return MiningRules(config.negatives, range_min=skipped, range_max=skipped + last, seed=config.seed)


class _Questions:
    """Finished pairs as queries and triplets, by split."""

    def __init__(self, corpus: Corpus, pairs: Sequence[Row], seed: int) -> None:
        self._corpus = corpus
        self._numbers = {chunk_id: number for number, chunk_id in enumerate(corpus.chunks.rows["id"])}
        self._split_of_chunk = [corpus.split_of(page) for page in corpus.chunks.rows["page_id"]]
        order = {split: place for place, split in enumerate(SPLITS)}
        # pairs by split, in the order of the corpus: a mining query's number is its place here
        self._pairs = sorted(pairs, key=lambda pair: order[self._split(pair)])
        contents = self._contents({pair["chunk_id"] for pair in pairs})
        rows = [_query(pair, contents[pair["chunk_id"]], seed) for pair in self._pairs]
        self.queries: dict[str, list[Row]] = {}
        for pair, row in zip(self._pairs, rows, strict=True):
            self.queries.setdefault(self._split(pair), []).append(row)

    def documents(self) -> Iterator[Row]:
        """Gives the corpus as it is written."""
        return ({"id": chunk["id"], "content": to_parts(chunk["content"])} for chunk in self._corpus.chunks)

    def triplets(self, searcher: Searcher, rules: MiningRules, dropped: Counter[str]) -> dict[str, list[Row]]:
        """Mines hard negatives (stage 4): the train split among train pages only, the others in the whole corpus."""
        index = searcher.index(self._items, lambda: (Item(row["content"]) for row in self.documents()))
        golds = [np.array([self._numbers[pair["chunk_id"]]]) for pair in self._pairs]
        mined = mine(index, golds, rules, pools=self._pools(), names=[pair["id"] for pair in self._pairs])
        short = mined.dropped["query: too few negatives"]
        if short:
            dropped["triplet: fewer negatives than asked for (kept)"] += short
        ids = self._corpus.chunks.rows["id"]
        triplets: dict[str, list[Row]] = {}
        for number, pair in enumerate(self._pairs):
            triplets.setdefault(self._split(pair), []).append(
                {
                    "query_id": pair["id"],
                    "positive_ids": [pair["chunk_id"]],
                    "negative_ids": [ids[int(row)] for row in mined.negatives[number]],
                    "positive_scores": mined.positive_scores[number].tolist(),
                    "negative_scores": mined.negative_scores[number].tolist(),
                    "scorer": searcher.name,
                }
            )
        return triplets

    def _items(self) -> Iterator[Item]:
        rows = (row for split in self.queries.values() for row in split)
        return (Item(row["content"], row["instruction"]) for row in rows)

    def _pools(self) -> list[tuple[np.ndarray, np.ndarray | None]]:
        train = np.array([number for number, split in enumerate(self._split_of_chunk) if split == "train"])
        numbers: dict[str, list[int]] = {}
        for number, pair in enumerate(self._pairs):
            numbers.setdefault(self._split(pair), []).append(number)
        return [(np.array(some), train if split == "train" else None) for split, some in numbers.items()]

    def _split(self, pair: Mapping[str, Any]) -> str:
        return self._corpus.split_of(pair["page_id"])

    def _contents(self, chunk_ids: set[str]) -> dict[str, list[Row]]:
        return {chunk["id"]: chunk["content"] for chunk in self._corpus.chunks if chunk["id"] in chunk_ids}


def _query(pair: Row, content: Sequence[Row], seed: int) -> Row:
    options, _ = make_options(pair, seed)
    return {
        "id": pair["id"],
        "content": query_content(pair["question"], content),
        "instruction": ANSWER,
        "answers": [pair["answer"]],
        "options": options,
        "task": TASK,
        "source": pair["page_id"],
    }
