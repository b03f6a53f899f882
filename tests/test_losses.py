"""Objectives against a literal transcription of the papers' formulas, and against sentence-transformers' losses."""

import math

import pytest
import torch
from torch import Tensor, nn

from nyx_hf.trainer.losses import PADDING_ID, ContrastiveLoss, LossConfig, MatryoshkaLoss, build_loss

DIMS, WEIGHTS = [12, 6, 3], [1.0, 1.0, 0.2]


class Batch:
    """Four queries with 0, 1, 2 and 1 hard negatives."""

    def __init__(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.query, self.positive, self.negative = (
            torch.randn(rows, 12, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
            for rows in (4, 4, 4)
        )
        self.owner = torch.tensor([1, 2, 2, 3])

    @property
    def rows(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.query, self.positive, self.negative, self.owner

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.query, self.positive, self.negative


def cosine(a: list[float], b: list[float]) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def nyx_equation_1(batch: Batch, dim: int, temperature: float, *, shared: bool = False) -> float:
    """-log φ(q,p) / (φ(q,p) + Σ φ(q,n)), summed term by term in float64."""
    query, positive, negative = (leaf.detach()[:, :dim].tolist() for leaf in batch.leaves)
    total = 0.0
    for i, q in enumerate(query):
        phi = [math.exp(cosine(q, p) / temperature) for p in positive]
        denominator = phi[i]
        for j in range(len(positive)):
            if j != i:
                denominator += phi[j]
        for n, owner in zip(negative, batch.owner.tolist(), strict=True):
            if shared or owner == i:
                denominator += math.exp(cosine(q, n) / temperature)
        total -= math.log(phi[i] / denominator)
    return total / len(query)


def gradients(loss: Tensor, leaves: tuple[Tensor, ...]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, leaves, retain_graph=True))


@pytest.mark.parametrize("shared", [False, True])
def test_contrastive_is_the_papers_formula(shared: bool) -> None:
    batch = Batch()
    loss = ContrastiveLoss(0.1, shared_negatives=shared)(*batch.rows).loss
    assert loss.item() == pytest.approx(nyx_equation_1(batch, 12, 0.1, shared=shared), abs=1e-12)


def test_matryoshka_is_the_papers_weighted_sum() -> None:
    batch = Batch()
    output = MatryoshkaLoss(ContrastiveLoss(0.05), DIMS, WEIGHTS)(*batch.rows)
    each = [nyx_equation_1(batch, dim, 0.05) for dim in DIMS]
    assert len(set(each)) == len(DIMS)
    expected = sum(w * loss for w, loss in zip(WEIGHTS, each, strict=True)) / sum(WEIGHTS)
    assert output.loss.item() == pytest.approx(expected, abs=1e-12)
    for dim, loss in zip(DIMS, each, strict=True):
        assert output.logs[f"loss_dim_{dim}"].item() == pytest.approx(loss, abs=1e-12)
        assert not output.logs[f"loss_dim_{dim}"].requires_grad


def test_without_negatives_it_is_cross_entropy_over_the_similarities() -> None:
    batch = Batch()
    normal = torch.nn.functional.normalize
    logits = normal(batch.query, dim=1) @ normal(batch.positive, dim=1).T / 0.02
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(4))
    loss = ContrastiveLoss(0.02)(batch.query, batch.positive).loss
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(gradients(loss, batch.leaves[:2]), gradients(expected, batch.leaves[:2]), strict=True):
        torch.testing.assert_close(ours, theirs)


class Precomputed(nn.Module):
    """What sentence-transformers' losses ask of a model: features in, `sentence_embedding` out."""

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"sentence_embedding": features["embedding"]}

    def get_embedding_dimension(self) -> int:
        return 12


@pytest.mark.parametrize("matryoshka", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_equals_sentence_transformers(matryoshka: bool, hard: bool) -> None:
    from sentence_transformers.sentence_transformer import losses

    batch = Batch()
    model = Precomputed()
    oracle = losses.MultipleNegativesRankingLoss(model, scale=1 / 0.05)
    weights = [w / sum(WEIGHTS) for w in WEIGHTS]
    ours: nn.Module = ContrastiveLoss(0.05, shared_negatives=True)  # theirs always shares hard negatives
    if matryoshka:
        oracle = losses.MatryoshkaLoss(model, oracle, DIMS, weights)
        ours = MatryoshkaLoss(ContrastiveLoss(0.05, shared_negatives=True), DIMS, WEIGHTS)
    columns = batch.leaves if hard else batch.leaves[:2]
    expected = oracle([{"embedding": column} for column in columns], torch.empty(0))
    loss = ours(*columns, torch.arange(4)).loss if hard else ours(*columns).loss
    torch.testing.assert_close(loss, expected)
    assert loss.item() > 0.1
    for mine, theirs in zip(gradients(loss, columns), gradients(expected, columns), strict=True):
        torch.testing.assert_close(mine, theirs)
        assert mine.abs().max() > 1e-3


def test_gradients_are_right() -> None:
    batch = Batch()
    for loss in (ContrastiveLoss(0.5), MatryoshkaLoss(ContrastiveLoss(0.5, shared_negatives=True), DIMS, WEIGHTS)):
        assert torch.autograd.gradcheck(lambda q, p, n, loss=loss: loss(q, p, n, batch.owner).loss, batch.leaves)


def test_every_setting_matters() -> None:
    batch = Batch()
    losses = [
        ContrastiveLoss(0.1)(batch.query, batch.positive).loss,
        ContrastiveLoss(0.1)(*batch.rows).loss,
        ContrastiveLoss(0.1)(batch.query, batch.positive, batch.negative, torch.tensor([0, 0, 0, 0])).loss,
        ContrastiveLoss(0.1, shared_negatives=True)(*batch.rows).loss,
        ContrastiveLoss(0.2)(*batch.rows).loss,
        MatryoshkaLoss(ContrastiveLoss(0.1), [12, 6], [1, 1])(*batch.rows).loss,
        MatryoshkaLoss(ContrastiveLoss(0.1), [12, 6], [1, 3])(*batch.rows).loss,
        MatryoshkaLoss(ContrastiveLoss(0.1), [12, 3], [1, 1])(*batch.rows).loss,
    ]
    values = [loss.item() for loss in losses]
    assert min(abs(a - b) for i, a in enumerate(values) for b in values[:i]) > 1e-4


def test_others_hard_negatives_leave_no_gradient() -> None:
    batch = Batch()
    first_row = ContrastiveLoss(0.1)(
        batch.query[:1], batch.positive, batch.negative, batch.owner, positive_index=torch.tensor([0])
    ).loss
    (grad,) = torch.autograd.grad(first_row, batch.negative)
    assert grad.abs().max() == 0  # the first query owns none of them
    shared = ContrastiveLoss(0.1, shared_negatives=True)(
        batch.query[:1], batch.positive, batch.negative, batch.owner, positive_index=torch.tensor([0])
    ).loss
    assert torch.autograd.grad(shared, batch.negative)[0].abs().max() > 1e-3


def test_positive_index_splits_the_batch_between_processes() -> None:
    batch = Batch()
    loss = MatryoshkaLoss(ContrastiveLoss(0.1), DIMS, WEIGHTS)
    whole = loss(*batch.rows).loss
    parts = [
        loss(batch.query[rows], *batch.rows[1:], positive_index=torch.tensor(rows)).loss for rows in ([0, 1], [2, 3])
    ]
    assert abs(parts[0] - parts[1]) > 1e-3
    torch.testing.assert_close(sum(parts) / 2, whole)


class TestMaskById:
    def test_the_same_document_is_no_negative(self) -> None:
        batch = Batch()
        masked = ContrastiveLoss(0.1)(batch.query, batch.positive, positive_ids=torch.tensor([7, 8, 7, 9])).loss
        total = 0.0
        for i, others in enumerate(([1, 3], [0, 2, 3], [1, 3], [0, 1, 2])):
            rows = [i, *others]
            total += ContrastiveLoss(0.1)(
                batch.query[i : i + 1], batch.positive[rows], positive_index=torch.tensor([0])
            ).loss.item()
        assert masked.item() == pytest.approx(total / 4, abs=1e-12)
        assert abs(masked.item() - ContrastiveLoss(0.1)(batch.query, batch.positive).loss.item()) > 1e-3

    def test_all_known_positives_are_masked_among_hard_negatives_too(self) -> None:
        batch = Batch()
        ids = {"positive_ids": torch.tensor([1, 2, 3, 4]), "negative_ids": torch.tensor([5, 6, 7, 8])}
        known = torch.tensor([[1, PADDING_ID], [2, PADDING_ID], [3, 7], [4, 1]])
        loss = ContrastiveLoss(0.1)(*batch.rows, known_ids=known, **ids).loss
        (grad,) = torch.autograd.grad(loss, batch.negative, retain_graph=True)
        assert grad[2].abs().max() == 0 and grad[1].abs().max() > 1e-3  # 7 is known to answer the third query
        plain = ContrastiveLoss(0.1)(*batch.rows).loss
        assert loss.item() < plain.item()
        alone = ContrastiveLoss(0.1)(
            batch.query[3:],
            batch.positive[1:],
            batch.negative[3:],
            torch.tensor([2]),
            positive_index=torch.tensor([2]),
        ).loss
        fourth = ContrastiveLoss(0.1)(
            batch.query[3:], *batch.rows[1:], positive_index=torch.tensor([3]), known_ids=known[3:], **ids
        ).loss
        torch.testing.assert_close(fourth, alone)  # document 1 is known to answer the fourth query

    def test_different_ids_mask_nothing(self) -> None:
        batch = Batch()
        ids = {"positive_ids": torch.arange(4), "negative_ids": torch.arange(4, 8)}
        torch.testing.assert_close(
            ContrastiveLoss(0.1)(*batch.rows, **ids).loss, ContrastiveLoss(0.1)(*batch.rows).loss, rtol=0, atol=0
        )

    def test_a_batch_of_one_document_has_no_loss(self) -> None:
        batch = Batch()
        loss = ContrastiveLoss(0.1)(batch.query, batch.positive, positive_ids=torch.zeros(4, dtype=torch.long)).loss
        assert loss.item() == 0 and torch.autograd.grad(loss, batch.query)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    batch = Batch(dtype)
    objective = MatryoshkaLoss(ContrastiveLoss(0.02), DIMS, WEIGHTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = objective(*batch.rows).loss
    assert loss.dtype == torch.float32
    wide = Batch(dtype)
    expected = objective(*(leaf.float() for leaf in wide.leaves), wide.owner).loss
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    loss.backward()
    assert batch.query.grad is not None and batch.query.grad.dtype == dtype


def test_extreme_similarities_stay_finite() -> None:
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    loss = ContrastiveLoss(1e-4)(query, -query.detach()).loss
    loss.backward()
    assert loss.item() == pytest.approx(1e4, rel=1e-3) and query.grad is not None and query.grad.isfinite().all()


class TestBadInput:
    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
    def test_temperature(self, temperature: float) -> None:
        with pytest.raises(ValueError, match="must be positive"):
            build_loss(LossConfig(temperature=temperature))

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
            build_loss(LossConfig(dims=dims, weights=weights))

    def test_shapes(self) -> None:
        batch, loss = Batch(), build_loss(LossConfig(dims=[12, 6]))
        with pytest.raises(ValueError, match="matryoshka dim 16 exceeds the embeddings' 12"):
            build_loss(LossConfig(dims=[16]))(batch.query, batch.positive)
        with pytest.raises(ValueError, match="4 queries came with 3 positives"):
            loss(batch.query, batch.positive[:3])
        with pytest.raises(ValueError, match="4 hard negatives came with 0 owners"):
            loss(batch.query, batch.positive, batch.negative)
        with pytest.raises(ValueError, match="2 entries of positive_index"):
            loss(batch.query, batch.positive, positive_index=torch.tensor([0, 1]))
        with pytest.raises(ValueError, match="of one D"):
            ContrastiveLoss()(batch.query, batch.positive[:, :6])


def test_build_loss_without_dims_is_the_full_embedding() -> None:
    batch = Batch()
    plain = build_loss(LossConfig(temperature=0.1))(*batch.rows)
    nested = build_loss(LossConfig(temperature=0.1, dims=[12]))(*batch.rows)
    torch.testing.assert_close(plain.loss, nested.loss)
