"""Training data of a reranker: a row for each pair, whose completion is YES or NO."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset

from nyx_hf.data_builders.schema import Row
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.modeling.tokens_nyx import FIXED
from nyx_hf.trainer.reranker_encoding import PairProcessor
from nyx_hf.trainer.reranker_prompt import answer_tokens

IGNORED = -100  # a label that takes no part in the loss


def pair_rows(triplets: TripletDataset, positives: int = 1, negatives: int = 50) -> Dataset:
    """Turns triplets into pairs: each query with its first positives and its first negatives.

    Args:
        triplets: Queries with positives and mined negatives, the hardest first.
        positives: Positives of a query, at most.
        negatives: Negatives of a query, at most.

    Returns:
        Rows of `query`, `document` (contents, joined when a row is read), `instruction` and `relevant`; the query's
        positives before its negatives.

    Raises:
        ValueError: There are no negatives, so that the answer would always be YES; or a number is below 1.

    References:
        U-MARVEL, §3.3: "constructing pairs for each query consisting of a positive match and the top 50 most
        challenging negatives".
    """
    if positives < 1 or negatives < 1:
        raise ValueError(f"found positives={positives} and negatives={negatives}, expected at least 1 of each")
    if not triplets.negative_counts().any():
        raise ValueError(
            f"found no negatives in the triplets of {triplets.name}, expected mined ones: nyx-hf mine "
            "… --negatives 50 makes a dataset with them"
        )
    columns: dict[str, list[Any]] = {"triplet": [], "document": [], "relevant": []}
    for number in range(len(triplets)):
        right, wrong = triplets.document_rows(number)
        for rows, relevant in ((right[:positives], True), (wrong[:negatives], False)):
            columns["triplet"] += [number] * len(rows)
            columns["document"] += rows.tolist()
            columns["relevant"] += [relevant] * len(rows)
    table = Dataset.from_dict(columns)
    table.set_transform(_Joined(triplets))
    return table


@dataclass(frozen=True)
class _Joined:
    """Reads the contents that a row of numbers names."""

    triplets: TripletDataset

    def __call__(self, batch: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        queries = [self.triplets.query(number) for number in batch["triplet"]]
        return {
            "query": [query["content"] for query in queries],
            "document": [self.triplets.document(row) for row in batch["document"]],
            "instruction": [query.get("instruction") for query in queries],
            "relevant": batch["relevant"],
        }


@dataclass(frozen=True)
class PairCollator:
    """Makes a batch of pairs, laid out exactly as the reranker reads them; the loss is on the answer alone.

    trl's own collator goes through the stock processors, which need torchvision, cut images' tokens with the text,
    and read special tokens' strings inside a document as such.

    Attributes:
        processor: Turns pairs into tensors.
    """

    processor: PairProcessor

    def __call__(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Collates rows.

        Args:
            rows: Rows of `pair_rows`.

        Returns:
            The model's inputs with `labels`, int64 (B, L): the answer's tokens, and -100 elsewhere.
        """
        words = self.processor.wording
        plans, answers = [], []
        for row in rows:
            [plan] = self.processor.plans(row["query"], [row["document"]], row["instruction"])
            answer = answer_tokens(self.processor.tokenizer, words.yes if row["relevant"] else words.no)
            plan.tokens.ids += answer
            plan.tokens.kinds += [FIXED] * len(answer)
            plans.append(plan)
            answers.append(answer)
        inputs = dict(self.processor.load(plans))
        labels = torch.full_like(inputs["input_ids"], IGNORED)  # (B, L)
        for number, answer in enumerate(answers):
            tokens = inputs["attention_mask"][number].nonzero()[:, 0]
            labels[number, tokens[-len(answer) :]] = torch.tensor(answer)
        return {**inputs, "labels": labels}
