"""Two gloo processes under DistributedDataParallel against one process on the same global batch, by objective."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from nyx_hf.trainer.distributed import (
    RankRows,
    gather_batch,
    gather_rows,
    gather_with_grad,
    process_index,
    world_size,
)
from nyx_hf.trainer.loss_batch import EmbeddedBatch, Objective
from nyx_hf.trainer.loss_sentence_transformers import SentenceTransformerLoss
from nyx_hf.trainer.objective import ObjectiveArguments, build_objective
from nyx_hf.trainer.objective_training import ObjectiveTraining

DIMS, WEIGHTS = [6, 3], [1.0, 0.2]
TASKS = ["a", "b", "c"]


@dataclass(frozen=True)
class Case:
    """A global batch, how it lies on two processes, and the objective: rows, positives and hard negatives of each."""

    rows: tuple[int, int] = (3, 3)
    owners: tuple[tuple[int, ...], tuple[int, ...]] = ((0, 1, 2), (0, 1, 2))
    positives: tuple[tuple[int, ...], tuple[int, ...]] | None = None
    same_document: bool = False
    known: bool = False
    loss: ObjectiveArguments = field(default_factory=lambda: ObjectiveArguments(temperature=0.1))

    @property
    def objective(self) -> Objective:
        return build_objective(self.loss, DIMS, WEIGHTS).double()

    def share(self, rank: int | None) -> dict[str, Any]:
        """Features and fields of one process, or of both together."""
        generator = torch.Generator().manual_seed(3)
        total, start = sum(self.rows), self.rows[0]
        sides = {
            "positive": self.positives or (tuple(range(self.rows[0])), tuple(range(self.rows[1]))),
            "negative": self.owners,
        }
        query = torch.randn(total, 8, generator=generator, dtype=torch.float64)
        share: dict[str, Any] = {"query": query, "task": torch.arange(total) % 3}
        for number, (side, owners) in enumerate(sides.items()):
            owner = torch.tensor([*owners[0], *(one + start for one in owners[1])], dtype=torch.long)
            noise = torch.randn(len(owner), 8, generator=generator, dtype=torch.float64)
            share[side] = query[owner] * (1 - number) + noise
            share[f"{side}_owner"] = owner
            share[f"{side}_ids"] = torch.arange(len(owner)) + 100 * number
            share[f"{side}_scores"] = torch.rand(len(owner), generator=generator, dtype=torch.float64)
        if self.same_document:
            share["positive_ids"][-1] = 0  # the last row of the second process shares the first row's document
        if self.known:  # the first row knows one document more than the last ones: their lists differ in length
            share["known_ids"] = torch.full((total, 2), -1)
            share["known_ids"][:, 0] = torch.arange(total)
            share["known_ids"][0, 1] = total - 1
        if rank is None:
            return share
        first, stop = ((0, start), (start, total))[rank]
        mine = {"query": query[first:stop], "task": share["task"][first:stop]}
        for side in sides:
            own = (share[f"{side}_owner"] >= first) & (share[f"{side}_owner"] < stop)
            mine |= {name: share[name][own] for name in (side, f"{side}_ids", f"{side}_scores")}
            mine[f"{side}_owner"] = share[f"{side}_owner"][own] - first
        if self.known:
            known = share["known_ids"][first:stop]
            mine["known_ids"] = known[:, : int((known >= 0).sum(dim=1).max())]
        return mine


def losses(**settings: Any) -> ObjectiveArguments:
    return ObjectiveArguments(**{"temperature": 0.1, **settings})


SEVERAL: tuple[tuple[int, ...], tuple[int, ...]] = ((0, 0, 1, 2), (0, 1, 1, 1, 2))
CASES = {
    "even": Case(),
    "uneven negatives": Case(owners=((0, 0, 0, 2), (1,))),
    "no negatives on one process": Case(owners=((), (0, 1))),
    "no negatives": Case(owners=((), ())),
    "uneven rows": Case(rows=(4, 1), owners=((0, 3), (0, 0, 0))),
    "shared negatives": Case(owners=((0, 1), (2,)), loss=losses(shared_negatives=True)),
    "one document on two processes": Case(same_document=True),
    "known documents": Case(known=True, loss=losses(two_way=True)),
    "several positives": Case(positives=SEVERAL),
    "two-way": Case(rows=(4, 2), owners=((0, 3), (1,)), loss=losses(two_way=True)),
    "two-way, several positives": Case(positives=SEVERAL, loss=losses(two_way=True)),
    "hardness and false negatives": Case(
        loss=losses(hardness=9.0, false_negative_threshold=0.3, false_negative_margin=0.2, two_way=True)
    ),
    "learned temperature": Case(loss=losses(learn_temperature=True)),
    "a temperature for each task": Case(
        rows=(4, 2), owners=((0, 3), (1,)), loss=losses(learn_temperature=True, temperature_tasks=TASKS, two_way=True)
    ),
    "feedback": Case(rows=(4, 2), owners=((0, 3), (1,)), loss=losses(loss="feedback", feedback_right=0.5)),
    "weighed feedback": Case(
        rows=(4, 2), owners=((0, 3), (1,)), loss=losses(loss="feedback", feedback_weights=True, two_way=True)
    ),
    "distillation": Case(
        owners=((0, 1, 1, 2), (0, 1, 2, 2)), loss=losses(loss="distillation", learn_temperature=True)
    ),
    "all together": Case(
        positives=SEVERAL,
        owners=((0, 1, 1, 2), (1, 2, 2)),
        loss=losses(
            loss="feedback+distillation",
            learn_temperature=True,
            temperature_tasks=TASKS,
            two_way=True,
            hardness=2.0,
            feedback_weights=True,
            feedback_right=0.9,
            false_negative_threshold=0.5,
        ),
    ),
}


def encoder() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 6)).double()


def step(model: nn.Module, share: dict[str, Any], objective: Objective, *, gather: bool = True) -> Tensor:
    """The loss of one process, scaled by the convention of `nyx_hf.trainer.distributed`."""
    fields = {name: value for name, value in share.items() if name not in ("query", "positive", "negative")}
    document = model(torch.cat([share["positive"], share["negative"]]))
    count = len(share["positive"])
    batch = objective.prepare(EmbeddedBatch.of(model(share["query"]), document[:count], document[count:], **fields))
    if gather:
        batch = gather_batch(batch, queries=objective.needs_other_queries)
    return objective(batch).loss * batch.scale


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def temperature_step(objective: Objective) -> list[Tensor]:
    """One step of what the objective learns itself."""
    training = ObjectiveTraining(objective, 0.1, lambda: 1.0)
    training.optimizer = training.optimizer and torch.optim.SGD(objective.parameters(), lr=1.0)
    training.on_pre_optimizer_step(None, None, None)
    return [parameter.detach().clone() for parameter in objective.parameters()]


def train_in(rank: int, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    results: dict[str, Any] = {}
    for name, case in CASES.items():
        model = nn.parallel.DistributedDataParallel(encoder())
        objective = case.objective
        loss = step(model, case.share(rank), objective)
        loss.backward()
        results[name] = (loss.detach(), gradients(model), temperature_step(objective))
    model = nn.parallel.DistributedDataParallel(encoder())
    step(model, CASES["even"].share(rank), CASES["even"].objective, gather=False).backward()
    results["not gathered"] = (torch.zeros(()), gradients(model))

    rows = (torch.arange(6.0).reshape(3, 2) + 10 * rank)[: 2 + rank].requires_grad_()
    everyone = gather_with_grad(rows)
    (everyone * (rank + 1) * torch.arange(1.0, 11.0).reshape(5, 2)).sum().backward()
    results["gather"] = (everyone.detach(), rows.grad)
    results["ids"] = gather_rows(torch.arange(rank * 3, dtype=torch.int64) + 5)
    results["rows"] = (RankRows.of(2 + rank, torch.device("cpu")), world_size(), process_index())
    results["columns"] = columns_loss(slice(0, 3) if rank == 0 else slice(3, 5)).detach()
    torch.save(results, Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


def columns_loss(rows: slice) -> Tensor:
    """Scored columns as sentence-transformers gives them, of which this process has some rows."""
    generator = torch.Generator().manual_seed(5)
    columns = torch.randn(4, 5, 6, generator=generator)
    labels = torch.rand(5, 3, generator=generator)
    objective = build_objective(losses(loss="feedback+distillation", feedback_right=0.5))

    class Model(nn.Module):
        def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"sentence_embedding": features["x"]}

    loss = SentenceTransformerLoss(Model(), objective)
    return loss([{"x": column[rows]} for column in columns], labels[rows])


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("gloo")
    mp.spawn(train_in, args=(str(folder),), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one(ranks: list[dict[str, Any]], name: str) -> None:
    model, objective = encoder(), CASES[name].objective
    loss = step(model, CASES[name].share(None), objective)
    loss.backward()
    whole, learned = gradients(model), temperature_step(objective)
    parts = [rank[name][0] for rank in ranks]
    torch.testing.assert_close(sum(parts) / 2, loss.detach(), rtol=0, atol=1e-10)
    assert abs(parts[0] - parts[1]) > 1e-6  # each process has its own part of the loss
    for rank in ranks:
        assert len(rank[name][1]) == 4
        for mine, all_of_it in zip(rank[name][1], whole, strict=True):
            torch.testing.assert_close(mine, all_of_it, rtol=0, atol=1e-10)
            assert all_of_it.abs().max() > 1e-3
        for mine, all_of_it in zip(rank[name][2], learned, strict=True):
            torch.testing.assert_close(mine, all_of_it, rtol=0, atol=1e-10)
    if CASES[name].loss.learn_temperature:
        assert any(
            abs(after - before) > 1e-6
            for after, before in zip(learned, CASES[name].objective.parameters(), strict=True)
        )


def test_cases_differ(ranks: list[dict[str, Any]]) -> None:
    same = {"learned temperature", "a temperature for each task"}  # they start where the fixed one stays
    losses = [sum(float(rank[name][0]) for rank in ranks) for name in CASES if name not in same]
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-4
    local, whole = (ranks[0][name][1] for name in ("not gathered", "even"))
    assert max((a - b).abs().max() for a, b in zip(local, whole, strict=True)) > 1e-2


def test_columns_of_sentence_transformers_are_gathered_too(ranks: list[dict[str, Any]]) -> None:
    torch.testing.assert_close(sum(rank["columns"] for rank in ranks) / 2, columns_loss(slice(None)))
    assert abs(ranks[0]["columns"] - ranks[1]["columns"]) > 1e-6


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
    batch = EmbeddedBatch.of(rows, rows)
    assert gather_batch(batch) is batch and batch.scale == 1
