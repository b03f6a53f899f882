"""NyxQA's stages in order: pages, clean pages, chunks, the corpus, the chunks asked about, and finished pairs."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from nyx_hf.data_builders.asking import Asking
from nyx_hf.data_builders.boilerplate import Boilerplate, find_boilerplate
from nyx_hf.data_builders.chunking import Chunker
from nyx_hf.data_builders.generators import PAIR, PairGenerator
from nyx_hf.data_builders.held_out import document_of
from nyx_hf.data_builders.image_quality import ImageQuality
from nyx_hf.data_builders.near_duplicates import find_duplicates
from nyx_hf.data_builders.nyxqa_config import NyxQAConfig
from nyx_hf.data_builders.options import options_fault
from nyx_hf.data_builders.pages import CHUNK, PAGE, modality_of
from nyx_hf.data_builders.sampling import OFFICIAL_MIX, joined_documents, split_documents, stratified_sample
from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.sources import REF, Source
from nyx_hf.data_builders.splitting import parse_shares
from nyx_hf.data_builders.stages import Stage, Table, run_stage
from nyx_hf.data_builders.token_counts import WORDS, TokenCounter

BACKBONE = "Qwen/Qwen2.5-VL-3B-Instruct"


@dataclass
class Corpus:
    """Stage 1's outcome.

    Attributes:
        pages: How many pages were read.
        chunks: The corpus: every chunk that stays.
        splits: The split of each document, by the name that its chunks' ids begin with.
        tokens: Counted each chunk's tokens.
        dropped: What was left out, by reason.
    """

    pages: int
    chunks: Table
    splits: dict[str, str]
    tokens: TokenCounter
    dropped: Counter[str] = field(default_factory=Counter)

    def split_of(self, page_id: str) -> str:
        """Gives the split of a page."""
        return self.splits[document_of(page_id)]


class Pipeline:
    """Runs the stages over one source, everything finished kept in one folder.

    Args:
        config: The settings.
        source: Where pages come from.
    """

    def __init__(self, config: NyxQAConfig, source: Source) -> None:
        self._config, self._source = config, source
        self._folder = Path(config.cache).expanduser() / "nyxqa"

    def corpus(self) -> Corpus:
        """Reads, cleans and cuts pages (stage 1)."""
        config, dropped = self._config, Counter[str]()
        refs = islice(self._source.refs(), config.documents)
        table = Table.of(refs, REF, self._folder, "refs")
        # what the web did not give today it may give tomorrow
        pages = self._run(
            "read", self._source.read, PAGE, self._source.settings(), table, dropped, kept=config.images == "skip"
        )
        quality = ImageQuality()
        clean = self._run("clean", quality, PAGE, quality.settings(), pages, dropped)
        strip = Boilerplate(find_boilerplate(clean))
        clean = self._run("strip", strip, PAGE, strip.settings(), clean, dropped)
        chunker = Chunker(self._tokens(), config.max_tokens, config.max_images, config.preset)
        chunks = self._run("chunk", chunker, CHUNK, chunker.settings(), clean, dropped)
        if not len(chunks):
            raise ValueError(f"{self._source.label}: nothing is left of {len(pages)} pages ({_reasons(dropped)})")
        twins = find_duplicates(chunks)
        dropped["chunk: near duplicate"] += len(twins)
        ids = chunks.rows["id"]
        kept = chunks.select([number for number, chunk_id in enumerate(ids) if chunk_id not in twins])
        splits = self._splits(ids, twins)
        return Corpus(len(pages), kept, splits, chunker.tokens, +dropped)

    def sample(self, corpus: Corpus) -> Table:
        """Draws the chunks that are asked about, the mix of modalities kept."""
        config = self._config
        wanted = [number for number in (config.sample, config.limit) if number is not None]
        if not wanted:
            return corpus.chunks
        ids, kinds = corpus.chunks.rows["id"], [modality_of(chunk["content"]) for chunk in corpus.chunks]
        mix = OFFICIAL_MIX if config.preset == "official" else None
        return corpus.chunks.select(stratified_sample(ids, kinds, min(wanted), config.seed, mix))

    def pairs(self, asked: Table, generator: PairGenerator, dropped: Counter[str]) -> list[Row]:
        """Asks questions (stages 2 and 3): finished pairs, each question once."""
        asking = Asking(generator, self._config.preset)
        settings = {"generator": generator.name, "revision": generator.revision, "preset": self._config.preset}
        settings |= generator.settings()
        table = self._run("ask", asking, PAIR, settings, asked, dropped, kept=False)
        pairs: dict[str, Row] = {}
        for pair in table:
            fault = options_fault(pair["answer"], pair["distractors"] or [])
            if fault is None and " ".join(pair["question"].split()).casefold() in pairs:
                fault = "pair: question asked before" if "<image " not in pair["question"] else None
            if fault is not None:
                dropped[fault] += 1
            else:
                key = " ".join(pair["question"].split()).casefold()
                pairs[key if "<image " not in key else pair["id"]] = pair
        return list(pairs.values())[: self._config.limit]

    def _run(
        self,
        name: str,
        run: Callable[[Sequence[Row]], list[list[Row]]],
        features: Any,
        settings: dict[str, Any],
        table: Table,
        dropped: Counter[str],
        *,
        kept: bool = True,
    ) -> Table:
        stage = Stage(name, run, features, settings, kept=kept)
        runner, processes = self._config.runner, self._config.processes
        out, count = run_stage(stage, table, self._folder, runner=runner, processes=processes)
        dropped.update(count.dropped)
        return out

    def _tokens(self) -> TokenCounter:
        """Gives what counts tokens: the backbone's tokenizer, but an estimate where no model is used at all."""
        offline = self._config.generator == "extractive"
        return TokenCounter(self._config.tokenizer or (WORDS if offline else BACKBONE))

    def _splits(self, chunk_ids: Sequence[str], twins: dict[str, str]) -> dict[str, str]:
        """Assigns documents to splits; those that share a chunk go together."""
        documents = dict.fromkeys(map(document_of, chunk_ids))
        pairs = {(document_of(one), document_of(two)) for one, two in twins.items()}
        groups = joined_documents(sorted(pair for pair in pairs if pair[0] != pair[1]))
        leaders = {document: groups.get(document, document) for document in documents}
        assigned = split_documents(sorted(set(leaders.values())), parse_shares(self._config.shares), self._config.seed)
        return {document: assigned[leader] for document, leader in leaders.items()}


def _reasons(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} × {reason}" for reason, count in dropped.most_common(4)) or "none had any text"
