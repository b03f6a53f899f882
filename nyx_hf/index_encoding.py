"""Encodes a corpus on one device or on several, a process each; what is encoded is kept on disk at once."""

import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import redirect_stderr
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from nyx_hf.data_builders.embedding_cache import EmbeddingCache, Encoder, Pair, Side
from nyx_hf.data_builders.schema import Row
from nyx_hf.index_documents import Corpus, open_corpus
from nyx_hf.retrievers import EMBEDDINGS, load_encoder

_BLOCK_BATCHES = 16  # batches that a process takes at a time, as many as the embedding cache writes together


@dataclass(frozen=True)
class Encoding:
    """How documents are encoded.

    Attributes:
        model: A model's folder or Hub name.
        revision: The Hub's branch, tag or commit of the model.
        devices: Where to compute: a process for each where there are several; None leaves it to the model.
        batch_size: Contents encoded together.
        cache_dir: Where vectors are kept; a folder under HF_HOME where it is None.
    """

    model: str
    revision: str | None = None
    devices: tuple[str, ...] | None = None
    batch_size: int = 32
    cache_dir: Path | None = None

    @property
    def cache(self) -> Path:
        """Where vectors are kept."""
        return self.cache_dir or EMBEDDINGS


@dataclass
class KnownModel:
    """A model by what is known of it, without its weights: enough to find kept vectors."""

    name: str
    revision: str | None
    kept_settings: Mapping[str, Any]

    def settings(self) -> dict[str, Any]:
        """Gives what vectors depend on besides the model."""
        return dict(self.kept_settings)

    def encode(self, contents: Sequence[Sequence[Row]], side: Side, instruction: str | None) -> np.ndarray:
        """Refuses: whoever asks was to find all vectors.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"{len(contents)} contents have no vectors, though all were encoded: is the disk full?")


def known_model(encoder: Encoder) -> KnownModel:
    """Gives what is known of a model."""
    return KnownModel(encoder.name, encoder.revision, encoder.settings())


def encode_corpus(
    corpus: Corpus, how: Encoding, dataset: str, revision: str | None, splits: Sequence[str] | None
) -> tuple[KnownModel, np.ndarray]:
    """Encodes the documents that have no kept vector yet.

    Args:
        corpus: The documents.
        how: The model, devices and cache.
        dataset: Where the documents come from: other processes read them for themselves.
        revision: The dataset's revision.
        splits: The splits of the corpus.

    Returns:
        The model, and vectors, float32 (N, D), mapped from a file.

    Raises:
        ValueError: If the model cannot be opened or does not read a document.
    """
    if how.devices is not None and len(how.devices) > 1:
        model = _encode_in_processes(len(corpus), how, (dataset, revision, splits))
        cache = EmbeddingCache(how.cache, model, how.batch_size)
    else:
        encoder = load_encoder(how.model, how.revision, how.devices[0] if how.devices else None)
        model, cache = known_model(encoder), EmbeddingCache(how.cache, encoder, how.batch_size)
    return model, cache.vectors(corpus.pairs(range(len(corpus))), "document")


def _encode_in_processes(
    count: int, how: Encoding, source: tuple[str, str | None, Sequence[str] | None]
) -> KnownModel:
    """Has every process encode its share: every n-th block, so that batches are those of one process."""
    devices = how.devices or ()
    context = get_context("spawn")
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(len(devices), mp_context=context) as pool,
        tqdm(total=count, desc=f"encode documents on {len(devices)} devices", unit="row") as bar,
    ):
        progress = manager.Queue()
        shares = [
            pool.submit(_encode_share, how, source, device, share, progress) for share, device in enumerate(devices)
        ]
        try:
            while not _finished(shares):
                try:
                    bar.update(progress.get(timeout=0.2))
                except Empty:
                    continue
            bar.update(count - bar.n)
            return shares[0].result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _finished(shares: Sequence[Future[KnownModel]]) -> bool:
    """Whether all are done; what went wrong in one of them is raised."""
    done = wait(shares, timeout=0).done
    for share in done:
        share.result()
    return len(done) == len(shares)


def _encode_share(
    how: Encoding, source: tuple[str, str | None, Sequence[str] | None], device: str, share: int, progress: Any
) -> KnownModel:
    """Encodes in a process of its own; only the kept vectors and the model's name come out of it."""
    try:
        corpus, encoder = open_corpus(*source), load_encoder(how.model, how.revision, device)
        block, stride = how.batch_size * _BLOCK_BATCHES, len(how.devices or ())
        numbers = [
            number
            for start in range(share * block, len(corpus), stride * block)
            for number in range(start, min(start + block, len(corpus)))
        ]
        with redirect_stderr(io.StringIO()):  # one bar is enough, that of the process which waits
            EmbeddingCache(how.cache, encoder, how.batch_size).vectors(_told(corpus, numbers, progress), "document")
    except (ValueError, OSError) as error:  # ours have arguments that do not travel
        raise ValueError(" ".join(str(error).split())) from None
    return known_model(encoder)


def _told(corpus: Corpus, numbers: Sequence[int], progress: Any) -> Iterator[Pair]:
    """Gives contents, telling how many have gone by."""
    told = 0
    for gone, pair in enumerate(corpus.pairs(numbers)):
        if gone - told >= 16:
            progress.put(gone - told)
            told = gone
        yield pair
    progress.put(len(numbers) - told)


def parse_devices(word: str | None) -> tuple[str, ...] | None:
    """Reads devices as they are typed, `cuda:0,cuda:1`; None where there are none."""
    return tuple(filter(None, word.split(","))) or None if word else None
