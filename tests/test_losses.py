"""Objectives against the papers' formulas, against sentence-transformers' losses, and against themselves in tiles."""

import math
import re
from pathlib import Path
from typing import Any

import loss_oracles
import pytest
import torch
from loss_cases import DIMS, PAPERS, SENTENCE_TRANSFORMERS, TASKS, WEIGHTS, Comparison, per_task, scored
from loss_oracles import Case
from torch import Tensor

from nyx_hf.trainer.loss_batch import PADDING_ID, EmbeddedBatch, LossOutput, Objective
from nyx_hf.trainer.loss_contrastive import ContrastiveLoss
from nyx_hf.trainer.loss_distillation import DistillationLoss, fused_scores
from nyx_hf.trainer.loss_feedback import FeedbackLoss
from nyx_hf.trainer.loss_masks import FalseNegatives
from nyx_hf.trainer.loss_temperature import Temperature
from nyx_hf.trainer.nested_cosine import nested_cosine
from nyx_hf.trainer.objective import AddedLoss, ObjectiveArguments, build_objective, temperatures

ROOT = Path(__file__).resolve().parent.parent


def gradients(loss: Tensor, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves, retain_graph=True))


class TestOracles:
    @pytest.mark.parametrize("comparison", PAPERS + SENTENCE_TRANSFORMERS, ids=lambda c: f"{c.name} = {c.source}")
    def test_values_and_gradients(self, comparison: Comparison) -> None:
        loss, gradient = comparison.largest_differences()
        assert loss < 1e-12 and gradient < 1e-12
        ours, _ = comparison.values()
        assert ours[0] > 1e-3 and max(grad.abs().max() for grad in ours[1:3]) > 1e-4  # not trivially equal

    def test_the_switches_do_something_in_the_cases_compared(self) -> None:
        """Each formula gives another loss than plain Eq. 1, and the masks take some negatives, not all."""
        plain = loss_oracles.nyx_eq_1(Case(), 12, 0.1).item()
        for comparison in PAPERS[1:7]:
            assert abs(comparison.values()[0][0].item() - plain) > 1e-3, comparison.name
        for rule in (FalseNegatives(0.7), FalseNegatives(margin=0.1)):
            output = ContrastiveLoss(0.1, false_negatives=rule)(Case(several_positives=True).batch())
            assert 0.02 < output.logs["false_negatives_masked"] < 0.5

    def test_the_page_shows_these_comparisons(self) -> None:
        """docs/losses.md lists each, with differences no smaller than those seen here."""
        page = (ROOT / "docs" / "losses.md").read_text(encoding="utf-8")
        rows = re.findall(r"^\| (.+?) \| (.+?) \| (\S+) \| (\S+) \|$", page, flags=re.MULTILINE)
        shown = {(name, source): float(loss) for name, source, loss, _ in rows if loss[0].isdigit()}
        assert set(shown) >= {(c.name, c.source) for c in PAPERS + SENTENCE_TRANSFORMERS}
        assert max(shown.values()) < 1e-4


def everything(**changes: Any) -> ContrastiveLoss:
    settings: dict[str, Any] = {
        "dims": DIMS,
        "weights": WEIGHTS,
        "shared_negatives": True,
        "false_negatives": FalseNegatives(0.7, 0.1),
        "hardness": 9.0,
        "two_way": True,
        **changes,
    }
    return ContrastiveLoss(per_task(), **settings)


class TestTiles:
    """The fast path: gradients made on the way forward, a few anchors at a time."""

    @pytest.mark.parametrize("gradient", [True, False])
    @pytest.mark.parametrize("rows", [1, 2, 3])
    def test_equal_the_whole_at_once(self, rows: int, gradient: bool) -> None:
        case = Case(several_positives=True)
        batch = case.batch(task=case.task)
        whole = everything(hardness_gradient=gradient)
        row_bytes = 13 * 3 * 6 * 8
        tiled = everything(hardness_gradient=gradient, tile_bytes=rows * row_bytes)
        outputs = [objective(batch) for objective in (whole, tiled)]
        assert "SumInTiles" not in graph_of(outputs[0].loss) and "SumInTiles" in graph_of(outputs[1].loss)
        torch.testing.assert_close(outputs[0].loss, outputs[1].loss, rtol=0, atol=1e-13)
        torch.testing.assert_close(outputs[0].row_losses, outputs[1].row_losses, rtol=0, atol=1e-13)
        for name, value in outputs[0].logs.items():
            torch.testing.assert_close(value, outputs[1].logs[name], rtol=0, atol=1e-13)
        leaves = [(*case.leaves, *objective.parameters()) for objective in (whole, tiled)]
        pairs = zip(gradients(outputs[0].loss, leaves[0]), gradients(outputs[1].loss, leaves[1]), strict=True)
        for plain, fast in pairs:
            torch.testing.assert_close(plain, fast, rtol=0, atol=1e-13)
            assert plain.abs().max() > 1e-4

    def test_no_gradient_where_none_is_wanted(self) -> None:
        case = Case()
        with torch.no_grad():
            loss = ContrastiveLoss(0.1, tile_bytes=1)(case.batch()).loss
        assert not loss.requires_grad
        torch.testing.assert_close(loss, ContrastiveLoss(0.1)(case.batch()).loss.detach())

    def test_gradients_are_right(self) -> None:
        case = Case()
        for tile_bytes in (1, 2**28):
            objective = ContrastiveLoss(
                0.5, dims=DIMS, weights=WEIGHTS, hardness=2.0, two_way=True, tile_bytes=tile_bytes
            )

            def loss(q: Tensor, p: Tensor, n: Tensor, objective: ContrastiveLoss = objective) -> Tensor:
                return objective(EmbeddedBatch.of(q, p, n, torch.tensor(case.negative_owner))).loss

            assert torch.autograd.gradcheck(loss, case.leaves)

    def test_memory_grows_with_the_batch(self) -> None:
        """The similarities of this batch would take 4 × 1024² × 4 bytes = 16 MiB for each copy; a tile takes 1 MiB."""
        held: list[int] = []

        class Watch(torch.utils._python_dispatch.TorchDispatchMode):
            def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
                out = func(*args, **(kwargs or {}))
                held.extend(
                    t.numel() * t.element_size()
                    for t in (out if isinstance(out, tuple) else (out,))
                    if isinstance(t, Tensor)
                )
                return out

        query, positive = torch.randn(2, 1024, 32, requires_grad=True).unbind()
        objective = ContrastiveLoss(0.05, dims=[32, 16, 8, 4], two_way=True, tile_bytes=2**20)
        with Watch():
            objective(EmbeddedBatch.of(query, positive)).loss.backward()
        assert 2**17 < max(held) <= 2 * 1024 * 32 * 4  # nothing larger than the embeddings themselves


def graph_of(tensor: Tensor) -> str:
    """Names of the steps that a tensor came by."""
    names, waiting = [], [tensor.grad_fn]
    while waiting:
        step = waiting.pop()
        if step is not None:
            names.append(type(step).__name__)
            waiting += [before for before, _ in step.next_functions]
    return " ".join(names)


class TestNestedCosine:
    def test_equals_each_prefix_alone(self) -> None:
        left, right = torch.randn(2, 5, 9, dtype=torch.float64, requires_grad=True).unbind()
        dims = [2, 3, 7, 9]
        weights = torch.randn(4, 5, 5, dtype=torch.float64)
        nested = nested_cosine(left, right, dims)
        plain = [
            torch.nn.functional.normalize(left[:, :d], dim=1) @ torch.nn.functional.normalize(right[:, :d], dim=1).T
            for d in dims
        ]
        sums = [sum((w * s).sum() for w, s in zip(weights, one, strict=True)) for one in (nested, plain)]
        for a, b in zip(nested, plain, strict=True):
            torch.testing.assert_close(a, b)
        for a, b in zip(gradients(sums[0], (left, right)), gradients(sums[1], (left, right)), strict=True):
            torch.testing.assert_close(a, b)

    def test_a_prefix_of_zeros_is_like_nothing(self) -> None:
        left = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
        short, long = nested_cosine(left, torch.tensor([[1.0, 0.0, 1.0]]), [2, 3])
        assert short.item() == 0 and long.item() == pytest.approx(math.sqrt(0.5))
        (short.sum() + long.sum()).backward()
        assert left.grad is not None and left.grad.isfinite().all()


class TestContrastive:
    def test_every_setting_matters(self) -> None:
        case = Case(several_positives=True)
        objectives = [
            ContrastiveLoss(0.1),
            ContrastiveLoss(0.2),
            ContrastiveLoss(0.1, shared_negatives=True),
            ContrastiveLoss(0.1, two_way=True),
            ContrastiveLoss(0.1, hardness=9.0),
            ContrastiveLoss(0.1, dims=[12, 6], weights=[1, 1]),
            ContrastiveLoss(0.1, dims=[12, 6], weights=[1, 3]),
            ContrastiveLoss(0.1, dims=[12, 3], weights=[1, 1]),
            ContrastiveLoss(0.1, false_negatives=FalseNegatives(0.7)),
            ContrastiveLoss(0.1, false_negatives=FalseNegatives(margin=0.0)),
        ]
        values = [objective(case.batch()).loss.item() for objective in objectives]
        assert min(abs(a - b) for i, a in enumerate(values) for b in values[:i]) > 1e-4

    def test_prefix_losses_are_logged(self) -> None:
        output = ContrastiveLoss(0.05, dims=DIMS, weights=WEIGHTS)(Case().batch())
        each = {dim: output.logs[f"loss_dim_{dim}"] for dim in DIMS}
        expected = sum(w * each[d] for d, w in zip(DIMS, WEIGHTS, strict=True)) / sum(WEIGHTS)
        torch.testing.assert_close(output.loss.detach(), expected)
        assert not any(value.requires_grad for value in output.logs.values())
        torch.testing.assert_close(output.row_losses.mean(), output.loss.detach())

    def test_hardest_negative_share(self) -> None:
        query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        negative = torch.tensor([[1.0, 0.0]])
        batch = EmbeddedBatch.of(query, query, negative, torch.tensor([0]))
        share = ContrastiveLoss(0.5)(batch).logs["hardest_negative_share"]
        first = math.exp(2) / (math.exp(2) + 1)  # its hard negative, beside the other row's positive
        assert share.item() == pytest.approx((first + 1) / 2)

    def test_others_hard_negatives_leave_no_gradient(self) -> None:
        case = Case()
        first = case.batch().updated(own_rows=range(1))  # the first query owns none of them
        grads = [
            torch.autograd.grad(ContrastiveLoss(0.1, shared_negatives=s)(first).loss, case.negative)[0]
            for s in (False, True)
        ]
        assert grads[0].abs().max() == 0 and grads[1].abs().max() > 1e-3

    def test_own_rows_split_the_batch_between_processes(self) -> None:
        case = Case(several_positives=True)
        batch = case.batch(task=case.task)
        whole = everything()(batch).loss
        parts = [everything()(batch.updated(own_rows=rows)).loss for rows in (range(2), range(2, 5))]
        assert abs(parts[0] - parts[1]) > 1e-3
        torch.testing.assert_close((2 * parts[0] + 3 * parts[1]) / 5, whole)

    def test_weights_of_rows(self) -> None:
        case = Case()
        weight = torch.tensor([1.0, 0.0, 2.0, 0.0, 1.0], dtype=torch.float64)
        rows = ContrastiveLoss(0.1)(case.batch()).row_losses
        weighed = ContrastiveLoss(0.1)(case.batch(weight=weight))
        torch.testing.assert_close(weighed.loss.detach(), (rows * weight).sum() / 4)
        assert ContrastiveLoss(0.1)(case.batch(weight=torch.zeros(5))).loss == 0

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_computed_in_float32(self, dtype: torch.dtype) -> None:
        leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in Case().leaves]
        owner = torch.tensor(Case().negative_owner)
        objective = ContrastiveLoss(0.02, dims=DIMS, weights=WEIGHTS, hardness=1.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = objective(EmbeddedBatch.of(*leaves, owner)).loss
        assert loss.dtype == torch.float32
        expected = objective(EmbeddedBatch.of(*(leaf.float() for leaf in leaves), owner)).loss
        torch.testing.assert_close(loss, expected, rtol=0, atol=0)
        loss.backward()
        assert leaves[0].grad is not None and leaves[0].grad.dtype == dtype

    def test_extreme_similarities_stay_finite(self) -> None:
        query = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
        loss = ContrastiveLoss(1e-4)(EmbeddedBatch.of(query, -query.detach())).loss
        loss.backward()
        assert loss.item() == pytest.approx(1e4, rel=1e-3) and query.grad is not None and query.grad.isfinite().all()

    def test_a_query_without_negatives_has_no_loss(self) -> None:
        case = Case()
        ids = torch.zeros(5, dtype=torch.long)
        loss = ContrastiveLoss(0.1)(EmbeddedBatch.of(case.query, case.positive, positive_ids=ids)).loss
        assert loss.item() == 0 and torch.autograd.grad(loss, case.query)[0].isfinite().all()


class TestMaskById:
    def ids(self) -> dict[str, Tensor]:
        return {"positive_ids": torch.tensor([1, 2, 3, 4, 5]), "negative_ids": torch.tensor([6, 7, 8, 9, 10])}

    def test_the_same_document_is_no_negative(self) -> None:
        case = Case()
        ids = torch.tensor([7, 8, 7, 9, 10])
        masked = ContrastiveLoss(0.1)(EmbeddedBatch.of(case.query, case.positive, positive_ids=ids)).loss
        total = 0.0
        for row, others in enumerate(([1, 3, 4], [0, 2, 3, 4], [1, 3, 4], [0, 1, 2, 4], [0, 1, 2, 3])):
            batch = EmbeddedBatch.of(
                case.query[row : row + 1],
                case.positive[[row, *others]],
                positive_owner=torch.tensor([0, *[9] * len(others)]),
            )
            total += ContrastiveLoss(0.1)(batch).loss.item()
        assert masked.item() == pytest.approx(total / 5, abs=1e-12)

    def test_all_known_positives_are_masked_among_hard_negatives_too(self) -> None:
        case = Case()
        known = torch.tensor([[1, PADDING_ID], [2, PADDING_ID], [3, 8], [4, 1], [5, PADDING_ID]])
        loss = ContrastiveLoss(0.1)(case.batch(known_ids=known, **self.ids())).loss
        (grad,) = torch.autograd.grad(loss, case.negative)
        assert grad[2].abs().max() == 0 and grad[1].abs().max() > 1e-3  # document 8 answers the third query
        assert loss.item() < ContrastiveLoss(0.1)(case.batch()).loss.item()

    def test_known_pairs_are_left_out_both_ways(self) -> None:
        """Query 3 knows document 1: neither is it asked to reject it, nor document 1 to reject query 3."""
        case = Case()
        known = torch.tensor([[1, PADDING_ID], [2, PADDING_ID], [3, PADDING_ID], [4, 1], [5, PADDING_ID]])
        batch = case.batch(known_ids=known, **self.ids()).updated(own_rows=range(1))
        (grad,) = torch.autograd.grad(ContrastiveLoss(0.1, two_way=True)(batch).loss, case.query)
        assert grad[3].abs().max() == 0 and grad[1].abs().max() > 1e-6

    def test_different_ids_mask_nothing(self) -> None:
        case = Case()
        with_ids, without = (ContrastiveLoss(0.1)(case.batch(**ids)).loss for ids in (self.ids(), {}))
        torch.testing.assert_close(with_ids, without, rtol=0, atol=0)

    def test_positives_know_each_other_without_known_ids(self) -> None:
        case = Case(several_positives=True)
        ids = torch.tensor([0, 1, 2, 3, 4, 5, 6, 1])  # the last row has a positive of the second row too
        losses = [ContrastiveLoss(0.1)(case.batch(**some)).row_losses for some in ({"positive_ids": ids}, {})]
        changed = (losses[0] - losses[1]).abs() > 1e-9
        assert changed.tolist() == [False, True, False, False, True]


class TestTemperature:
    def test_learned_ones_get_the_formulas_gradient(self) -> None:
        theta = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (-1.2, -0.7, -2.0)]
        case = Case()
        expected = torch.autograd.grad(loss_oracles.rzenembed_eq_5(case, theta), theta)
        temperature = per_task()
        loss = ContrastiveLoss(temperature)(case.batch(task=case.task)).loss
        for ours, theirs in zip(torch.autograd.grad(loss, list(temperature.parameters())), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
            assert abs(theirs) > 1e-3

    def test_values_and_names(self) -> None:
        assert Temperature(0.05).values() == {"temperature": 0.05} and not Temperature(0.05).learnable
        assert Temperature(0.05, learnable=True).values() == {"temperature": pytest.approx(0.05)}
        many = Temperature(0.05, learnable=True, tasks=TASKS)
        assert set(many.values()) == {f"temperature_{task}" for task in TASKS}
        assert temperatures(AddedLoss(ContrastiveLoss(many), DistillationLoss(many))) == many.values()

    def test_a_task_is_needed(self) -> None:
        with pytest.raises(ValueError, match="each row needs a task, one of image retrieval"):
            ContrastiveLoss(per_task())(Case().batch())


class TestFeedback:
    scores = ([1.0, 0.6, 1.0, 0.8, 1.0], [0.2, 1.0, 0.0, 0.1, 0.5])

    def fields(self, case: Case) -> dict[str, Tensor]:
        return {
            "positive_ids": torch.arange(5),
            "negative_ids": torch.arange(100, 105),
            "positive_scores": torch.tensor(self.scores[0], dtype=torch.float64),
            "negative_scores": torch.tensor(self.scores[1], dtype=torch.float64),
        }

    def test_a_negative_that_answered_is_right_wherever_it_stands(self) -> None:
        """Document 101 answered query 2 rightly; it is also the positive of row 0 here."""
        case = Case()
        fields = {**self.fields(case), "positive_ids": torch.tensor([101, 1, 2, 3, 4])}
        batch = case.batch(**fields).updated(own_rows=range(2, 3))
        loss = FeedbackLoss(ContrastiveLoss(0.1))(batch).loss
        grads = torch.autograd.grad(loss, (case.positive, case.negative))
        assert grads[0][0].abs().max() == 0 and grads[1][1].abs().max() == 0
        assert grads[0][1].abs().max() > 1e-6 and grads[1][2].abs().max() > 1e-6

    def test_preparing_twice_changes_nothing_more(self) -> None:
        case, objective = Case(), FeedbackLoss(ContrastiveLoss(0.1), weigh_by_score=True)
        batch = case.batch(**self.fields(case))
        once, twice = objective.prepare(batch), objective.prepare(objective.prepare(batch))
        torch.testing.assert_close(objective(once).loss, objective(twice).loss, rtol=0, atol=0)
        assert once.weight is not None and once.weight.tolist() == self.scores[0]

    def test_switches(self) -> None:
        case = Case()
        batch = case.batch(**self.fields(case))
        plain = ContrastiveLoss(0.1)(batch).loss
        torch.testing.assert_close(FeedbackLoss(ContrastiveLoss(0.1), right=None)(batch).loss, plain)
        output = FeedbackLoss(ContrastiveLoss(0.1), right=0.4)(batch)
        assert output.logs["negatives_that_answered"].item() == pytest.approx(2 / 5) and output.loss < plain

    def test_what_is_missing_is_named(self) -> None:
        case = Case()
        fields = self.fields(case)
        with pytest.raises(ValueError, match="the triplets have no scores"):
            FeedbackLoss(ContrastiveLoss(0.1))(
                case.batch(positive_ids=fields["positive_ids"], negative_ids=fields["negative_ids"])
            )
        with pytest.raises(ValueError, match="tells right documents by their ids"):
            FeedbackLoss(ContrastiveLoss(0.1))(
                case.batch(positive_scores=fields["positive_scores"], negative_scores=fields["negative_scores"])
            )


class TestDistillation:
    def test_the_teachers_own_order_costs_nothing(self) -> None:
        case = Case()
        with torch.no_grad():
            cosines = [
                torch.nn.functional.cosine_similarity(case.query[owner], side, dim=1)
                for side, owner in ((case.positive, case.positive_owner), (case.negative, case.negative_owner))
            ]
        objective = DistillationLoss(0.1)  # the teacher at the student's temperature
        batch = case.batch(positive_scores=cosines[0], negative_scores=cosines[1])
        loss = objective(batch).loss
        assert loss.item() == pytest.approx(0, abs=1e-15)
        assert all(grad.abs().max() < 1e-12 for grad in gradients(loss, case.leaves))
        flipped = case.batch(positive_scores=-cosines[0], negative_scores=-cosines[1])
        assert objective(flipped).loss.item() > 0.1

    def test_prefixes_and_rows(self) -> None:
        case = Case(several_positives=True)
        scores = ([1.0, 0.6, 0.9, 1.0, 0.8, 1.0, 0.7, 0.2], self_scores := [0.2, 1.0, 0.0, 0.1, 0.5])
        each = [loss_oracles.umarvel_eq_1(case, dim, 0.1, 0.3, scores) for dim in DIMS]
        expected = sum(w * loss for w, loss in zip(WEIGHTS, each, strict=True)) / sum(WEIGHTS)
        objective = DistillationLoss(0.1, teacher_temperature=0.3, dims=DIMS, weights=WEIGHTS)
        torch.testing.assert_close(scored(objective, scores)(case), expected)
        assert len(self_scores) == len(case.negative)

    def test_a_learned_temperature_is_the_teachers_too_but_without_gradient(self) -> None:
        case = Case()
        scores = {"positive_scores": torch.rand(5), "negative_scores": torch.rand(5)}
        learned, fixed = Temperature(0.2, learnable=True), DistillationLoss(0.2, teacher_temperature=0.2)
        follows = DistillationLoss(learned)
        batch = case.batch(**scores)
        torch.testing.assert_close(follows(batch).loss, fixed(batch).loss, rtol=1e-6, atol=1e-8)
        (grad,) = torch.autograd.grad(follows(batch).loss, list(learned.parameters()))
        student = Temperature(0.2, learnable=True)
        (alone,) = torch.autograd.grad(
            DistillationLoss(student, teacher_temperature=0.2)(batch).loss, list(student.parameters())
        )
        torch.testing.assert_close(grad, alone, rtol=1e-5, atol=1e-7)

    def test_scores_are_needed(self) -> None:
        with pytest.raises(ValueError, match="needs a teacher's score for each document"):
            DistillationLoss(0.1)(Case().batch())

    def test_fused(self) -> None:
        assert fused_scores(0.8, 0.2, 0.25) == pytest.approx(0.25 * 0.8 + 0.75 * 0.2)


class TestAdded:
    def test_it_is_the_sum(self) -> None:
        case = Case()
        scores = {"positive_scores": torch.rand(5), "negative_scores": torch.rand(5)}
        objective = build_objective(
            ObjectiveArguments(loss="contrastive+distillation", temperature=0.1, distillation_weight=0.5)
        )
        batch = case.batch(**scores)
        expected = ContrastiveLoss(0.1)(batch).loss + 0.5 * DistillationLoss(0.1)(batch).loss
        output = objective(batch)
        torch.testing.assert_close(output.loss, expected)
        torch.testing.assert_close(output.row_losses.mean(), output.loss.detach())
        assert objective.needs_scores and {"distillation", "hardest_negative_share"} <= set(output.logs)

    def test_one_temperature_serves_both(self) -> None:
        arguments = ObjectiveArguments(loss="feedback+distillation", learn_temperature=True, two_way=True)
        objective = build_objective(arguments)
        assert len(list(objective.parameters())) == 1 and objective.needs_other_queries


class MyLoss(Objective):
    """Pulls each query to its positives, and nothing else."""

    def __init__(self, strength: float = 1.0) -> None:
        super().__init__()
        self.strength = strength

    def forward(self, batch: EmbeddedBatch) -> LossOutput:
        cosine = torch.nn.functional.cosine_similarity(batch.query[batch.positive_owner], batch.positive, dim=1)
        return LossOutput(self.strength * (1 - cosine).mean())


class TestBuild:
    def test_own_loss_by_import_path(self) -> None:
        objective = build_objective(ObjectiveArguments(loss="test_losses:MyLoss", loss_settings='{"strength": 2.0}'))
        assert type(objective).__name__ == "MyLoss" and objective.strength == 2.0
        assert objective(Case().batch()).loss > 0

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"temperature": 0.0}, "must be positive"),
            ({"temperature": math.nan}, "must be positive"),
            ({"temperature": math.inf}, "must be positive"),
            ({"temperature_tasks": ["a", "a"], "learn_temperature": True}, "two tasks have the name 'a'"),
            ({"temperature_tasks": ["a"]}, "set learn_temperature=true"),
            ({"hardness": -1.0}, "hardness is -1.0"),
            ({"false_negative_threshold": 1.5}, "is from -1 to 1"),
            ({"false_negative_margin": -0.1}, "is from 0 to 2"),
            ({"loss": "triplet"}, "loss is 'triplet'; it is contrastive | feedback"),
            ({"loss": "no_such_package:Loss"}, "No module named"),
            ({"loss": "test_losses:Missing"}, "has no Missing"),
            ({"loss": "test_losses:TestBuild"}, "expected a class derived from nyx_hf.trainer.loss_batch.Objective"),
            ({"loss_settings": '{"a": 1}'}, "are those of an own loss"),
            ({"loss_settings": "[1]"}, "give a mapping"),
            ({"loss_settings": "{"}, "no JSON object"),
            ({"loss": "distillation", "teacher_temperature": 0.0}, "teacher_temperature is 0.0"),
            ({"loss": "contrastive+distillation", "distillation_weight": -1.0}, "distillation_weight is -1.0"),
        ],
    )
    def test_refusals(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=re.escape(message)):
            build_objective(ObjectiveArguments(**arguments))

    @pytest.mark.parametrize(
        ("dims", "weights", "message"),
        [
            ([], None, "at least 1"),
            ([4, 4], None, "each prefix length once"),
            ([0], None, "at least 1"),
            ([8, 4], [1.0], "1 matryoshka weights came with 2 dims"),
            ([8], [0.0], "not all zero"),
            ([8, 4], [1.0, -1.0], "not negative"),
            ([8, 4], [1.0, math.nan], "finite"),
            (None, [1.0], "without dims"),
        ],
    )
    def test_prefixes(self, dims: list[int] | None, weights: list[float] | None, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            build_objective(ObjectiveArguments(), dims, weights)

    def test_shapes(self) -> None:
        query = torch.randn(4, 12)
        with pytest.raises(ValueError, match="matryoshka dim 16 exceeds the embeddings' 12"):
            ContrastiveLoss(dims=[16])(EmbeddedBatch.of(query, query))
        for make, message in (
            (lambda: EmbeddedBatch.of(query, query[:3]), "4 queries came with 3 positives"),
            (lambda: EmbeddedBatch.of(query, query, query), "4 hard negatives came with 0 entries of negative_owner"),
            (lambda: EmbeddedBatch.of(query, query, task=torch.arange(2)), "4 queries came with 2 entries of task"),
            (lambda: EmbeddedBatch.of(query, query[:, :6]), "of one D"),
            (
                lambda: EmbeddedBatch.of(query, query, positive_owner=torch.tensor([0, 1, 2, 2])),
                "row 3 has no positive",
            ),
            (lambda: EmbeddedBatch.of(query, query).updated(own_rows=range(2, 9)), "own_rows is range"),
        ):
            with pytest.raises(ValueError, match=message):
                make()
