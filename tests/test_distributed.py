"""Two gloo processes under DistributedDataParallel against one process on the same global batch."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from nyx_hf.trainer.distributed import (
    RankRows,
    gather_candidates,
    gather_rows,
    gather_with_grad,
    local_candidates,
    process_index,
    world_size,
)
from nyx_hf.trainer.losses import ContrastiveLoss, MatryoshkaLoss


@dataclass(frozen=True)
class Case:
    """A global batch and how it lies on two processes: rows and hard negatives of each."""

    rows: tuple[int, int] = (3, 3)
    owners: tuple[tuple[int, ...], tuple[int, ...]] = ((0, 1, 2), (0, 1, 2))
    shared: bool = False
    same_document: bool = False

    def share(self, rank: int | None) -> dict[str, Tensor]:
        """Features, owners and ids of one process, or of both together."""
        generator = torch.Generator().manual_seed(3)
        total, negatives = sum(self.rows), [len(owners) for owners in self.owners]
        query = torch.randn(total, 8, generator=generator, dtype=torch.float64)
        positive = query + torch.randn(total, 8, generator=generator, dtype=torch.float64)
        negative = torch.randn(sum(negatives), 8, generator=generator, dtype=torch.float64)
        owner = torch.tensor([*self.owners[0], *(o + self.rows[0] for o in self.owners[1])], dtype=torch.long)
        positive_ids = torch.arange(total)
        if self.same_document:
            positive_ids[-1] = 0  # the last row of the second process shares the first row's document
        negative_ids = torch.arange(100, 100 + len(negative))
        if rank is not None:
            mine = slice(0, self.rows[0]) if rank == 0 else slice(self.rows[0], total)
            hard = slice(0, negatives[0]) if rank == 0 else slice(negatives[0], len(negative))
            query, positive, positive_ids = query[mine], positive[mine], positive_ids[mine]
            negative, owner, negative_ids = negative[hard], owner[hard] - mine.start, negative_ids[hard]
        return {
            "query": query,
            "document": torch.cat([positive, negative]),
            "owner": owner,
            "ids": torch.cat([positive_ids, negative_ids]),
        }


CASES = {
    "even": Case(),
    "uneven negatives": Case(owners=((0, 0, 0, 2), (1,))),
    "no negatives on one process": Case(owners=((), (0, 1))),
    "no negatives": Case(owners=((), ())),
    "uneven rows": Case(rows=(4, 1), owners=((0, 3), (0, 0, 0))),
    "shared negatives": Case(owners=((0, 1), (2,)), shared=True),
    "one document on two processes": Case(same_document=True),
}


def encoder() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 6)).double()


def step(model: nn.Module, share: dict[str, Tensor], shared: bool, *, gather: bool = True) -> Tensor:
    """The loss of one process, scaled by the convention of `nyx_hf.trainer.distributed`."""
    query, document = model(share["query"]), model(share["document"])
    candidates = local_candidates(document, share["ids"], share["owner"])
    if gather:
        candidates = gather_candidates(candidates)
    output = MatryoshkaLoss(ContrastiveLoss(0.1, shared_negatives=shared), [6, 3], [1.0, 0.2])(
        query,
        candidates.positive,
        candidates.negative,
        candidates.negative_owner,
        positive_index=candidates.positive_index,
        positive_ids=candidates.positive_ids,
        negative_ids=candidates.negative_ids,
    )
    return output.loss * candidates.scale


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def train_in(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results: dict[str, Any] = {}
    for name, case in CASES.items():
        model = nn.parallel.DistributedDataParallel(encoder())
        loss = step(model, case.share(rank), case.shared)
        loss.backward()
        results[name] = (loss.detach(), gradients(model))
    model = nn.parallel.DistributedDataParallel(encoder())
    step(model, CASES["even"].share(rank), False, gather=False).backward()
    results["not gathered"] = (torch.zeros(()), gradients(model))

    rows = (torch.arange(6.0).reshape(3, 2) + 10 * rank)[: 2 + rank].requires_grad_()
    everyone = gather_with_grad(rows)
    (everyone * (rank + 1) * torch.arange(1.0, 11.0).reshape(5, 2)).sum().backward()
    results["gather"] = (everyone.detach(), rows.grad)
    results["ids"] = gather_rows(torch.arange(rank * 3, dtype=torch.int64) + 5)
    results["rows"] = (RankRows.of(2 + rank, torch.device("cpu")), world_size(), process_index())
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(train_in, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(ranks: list[dict[str, Any]], name: str) -> None:
    model = encoder()
    loss = step(model, CASES[name].share(None), CASES[name].shared)
    loss.backward()
    parts = [rank[name][0] for rank in ranks]
    torch.testing.assert_close(sum(parts) / 2, loss.detach(), rtol=0, atol=1e-10)
    assert abs(parts[0] - parts[1]) > 1e-6  # each process has its own part of the loss
    for rank in ranks:
        assert len(rank[name][1]) == 4
        for mine, whole in zip(rank[name][1], gradients(model), strict=True):
            torch.testing.assert_close(mine, whole, rtol=0, atol=1e-10)
            assert whole.abs().max() > 1e-3


def test_cases_differ(ranks: list[dict[str, Any]]) -> None:
    losses = [sum(float(rank[name][0]) for rank in ranks) for name in CASES]
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-4
    local, whole = (ranks[0][name][1] for name in ("not gathered", "even"))
    assert max((a - b).abs().max() for a, b in zip(local, whole, strict=True)) > 1e-2


def test_gather_keeps_order_and_sums_gradients(ranks: list[dict[str, Any]]) -> None:
    expected = torch.tensor([[0.0, 1], [2, 3], [10, 11], [12, 13], [14, 15]])
    factors = 3 * torch.arange(1.0, 11.0).reshape(5, 2)  # of both processes, 1 + 2
    for rank, own in zip(ranks, (slice(0, 2), slice(2, 5)), strict=True):
        assert torch.equal(rank["gather"][0], expected)
        assert torch.equal(rank["gather"][1], factors[own])
        assert torch.equal(rank["ids"], torch.tensor([5, 6, 7]))


def test_rank_rows(ranks: list[dict[str, Any]]) -> None:
    assert [rank["rows"] for rank in ranks] == [(RankRows((2, 3), r), 2, r) for r in range(2)]
    assert [RankRows((2, 3), r).start for r in range(2)] == [0, 2]
    assert sum(RankRows((2, 3), r).scale for r in range(2)) / 2 == pytest.approx(1)
    assert RankRows((4, 4), 1).scale == 1


def test_one_process_gathers_nothing() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather_with_grad(rows) is rows and gather_rows(rows) is rows
    share = replace(CASES["even"]).share(None)
    candidates = gather_candidates(local_candidates(share["document"], share["ids"], share["owner"]))
    assert candidates.scale == 1 and torch.equal(candidates.positive_index, torch.arange(6))
