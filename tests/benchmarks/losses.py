"""The Matryoshka contrastive loss, forward and backward, beside sentence-transformers'.

    python tests/benchmarks/losses.py [--rows 4096] [--width 1024] [--rounds 3]

Embeddings of queries, positives and hard negatives in, gradients of all three out; four dims, every document a
candidate of every query. Both sides give the same loss, which is checked.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from measuring import in_processes, measured, table, write
from torch import Tensor, nn

TEMPERATURE = 0.05
CASES = (
    "nyx_hf",
    "sentence-transformers, MatryoshkaLoss(MultipleNegativesRankingLoss)",
    "sentence-transformers, MatryoshkaLoss(CachedMultipleNegativesRankingLoss)",
)


class Given(nn.Sequential):
    """Stands where the model stands: gives the embeddings that it is given."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Identity())
        self.width = width

    def get_embedding_dimension(self) -> int:
        return self.width

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["sentence_embedding"]}


def run_case(case: str, rows: int, width: int) -> dict[str, Any]:
    torch.manual_seed(0)
    sides = [torch.randn(rows, width, requires_grad=True) for _ in range(3)]
    with torch.no_grad():
        sides[1] += sides[0]  # positives resemble their queries
    dims = [width >> step for step in range(4)]
    if case == "nyx_hf":
        from nyx_hf import ContrastiveLoss, EmbeddedBatch

        objective = ContrastiveLoss(TEMPERATURE, dims=dims, weights=[1.0] * 4, shared_negatives=True)
        batch = EmbeddedBatch.of(*sides, torch.arange(rows))

        def loss() -> Tensor:
            return objective(batch).loss
    else:
        import sentence_transformers.sentence_transformer.losses as theirs

        model: Any = Given(width)
        inner = (
            theirs.CachedMultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE, mini_batch_size=256)
            if "Cached" in case
            else theirs.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
        )
        outer = theirs.MatryoshkaLoss(model, inner, dims, [0.25] * 4)  # ours are divided by their sum

        def loss() -> Tensor:
            return outer([{"sentence_embedding": side} for side in sides], None)

    def step() -> float:
        for side in sides:
            side.grad = None
        value = loss()
        value.backward()
        return value.item()

    return measured(step, repeats=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/losses.json"))
    parser.add_argument("--case")
    args = parser.parse_args()
    if args.case:
        print(json.dumps(run_case(args.case, args.rows, args.width)))
        return
    results = in_processes(__file__, CASES, args.rounds, {"rows": args.rows, "width": args.width})
    values = [result["value"] for result in results.values()]
    assert max(values) - min(values) < 1e-4 * max(values), values
    command = f"python tests/benchmarks/losses.py --rows {args.rows} --width {args.width} --rounds {args.rounds}"
    settings = {"rows": args.rows, "width": args.width, "dims": 4, "documents": 2 * args.rows, "dtype": "float32"}
    write(args.out, command, settings, results)
    print(table(results, CASES[0]))


if __name__ == "__main__":
    main()
