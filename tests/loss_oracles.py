"""The papers' formulas written out term by term, in float64, with scalars and loops: what our losses are held against.

Nothing here is fast or general. Each function is one formula; `everything` is all of them together.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from nyx_hf.trainer.loss_batch import EmbeddedBatch


@dataclass
class Case:
    """Five queries with one to three positives and no to two hard negatives, in float64.

    Documents lie near their queries, so that masks and hardness matter and nothing is trivially zero.
    """

    width: int = 12
    seed: int = 0
    several_positives: bool = False
    positive_owner: list[int] = field(init=False)
    negative_owner: list[int] = field(init=False)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(self.seed)

        def near(centres: Tensor, spread: float) -> Tensor:
            noise = torch.randn(centres.shape, generator=generator, dtype=torch.float64)
            return (centres + spread * noise).requires_grad_()

        self.positive_owner = [0, 1, 1, 2, 3, 4, 4, 4] if self.several_positives else [0, 1, 2, 3, 4]
        self.negative_owner = [1, 2, 2, 3, 4]
        topics = torch.randn(5, self.width, generator=generator, dtype=torch.float64)
        topics[3] = topics[0] + 0.4 * topics[3]  # two rows about nearly the same: false negatives of each other
        self.query = near(topics, 0.6)
        self.positive = near(topics[self.positive_owner].detach(), 0.3)
        centres = topics[self.negative_owner].detach()
        centres[0] = 4 * self.query[1].detach()  # a negative that its query likes better than its positives
        self.negative = near(centres, 0.9)
        self.task = torch.tensor([0, 1, 0, 2, 1])

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.query, self.positive, self.negative

    def batch(self, **rest: Any) -> EmbeddedBatch:
        return EmbeddedBatch.of(
            *self.leaves,
            torch.tensor(self.negative_owner),
            positive_owner=torch.tensor(self.positive_owner),
            **rest,
        )

    def positives_of(self, row: int) -> list[int]:
        return [number for number, owner in enumerate(self.positive_owner) if owner == row]

    def negatives_of(self, row: int) -> list[int]:
        return [number for number, owner in enumerate(self.negative_owner) if owner == row]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5)


def mean(values: list[Tensor]) -> Tensor:
    return sum(values[1:], values[0]) / len(values)


# ---------------------------------------------------------------- one formula each


def nyx_eq_1(case: Case, dim: int, temperature: float) -> Tensor:
    """L_d = -log φ(q,p) / (φ(q,p) + Σ φ(q,n)), φ = exp(cos/τ); n in-batch and own hard (our reading)."""
    losses = []
    for i in range(5):
        q = case.query[i][:dim]

        def phi(document: Tensor, q: Tensor = q) -> Tensor:
            return torch.exp(cosine(q, document[:dim]) / temperature)

        right = phi(case.positive[i])
        wrong = [phi(case.positive[j]) for j in range(5) if j != i]
        wrong += [phi(case.negative[n]) for n in case.negatives_of(i)]
        losses.append(-torch.log(right / (right + sum(wrong))))
    return mean(losses)


def nyx_eq_2(case: Case, dims: list[int], weights: list[float], temperature: float) -> Tensor:
    """L = Σ w_d L_d, the weights divided by their sum (§5.4: "before normalization")."""
    total = sum(weights)
    return sum(w / total * nyx_eq_1(case, d, temperature) for d, w in zip(dims, weights, strict=True))


def umarvel_eq_2_two_way(case: Case, temperature: float) -> Tensor:
    """-log exp(sim(q,c+)/τ) / Σ exp(sim(q,c)/τ), and the same with the roles changed; hard negatives have no query."""
    forth, back = [], []
    for i in range(5):
        own = torch.exp(cosine(case.query[i], case.positive[i]) / temperature)
        documents = [torch.exp(cosine(case.query[i], case.positive[j]) / temperature) for j in range(5)]
        documents += [torch.exp(cosine(case.query[i], case.negative[n]) / temperature) for n in case.negatives_of(i)]
        queries = [torch.exp(cosine(case.query[j], case.positive[i]) / temperature) for j in range(5)]
        forth.append(-torch.log(own / sum(documents)))
        back.append(-torch.log(own / sum(queries)))
    return (mean(forth) + mean(back)) / 2


def rzenembed_eq_2(case: Case, temperature: float, delta: float) -> Tensor:
    """Eq. 1 without the negatives whose sim(k-, k+) > δ."""
    losses = []
    for i in range(5):
        right = case.positive[i]
        negatives = [case.positive[j] for j in range(5) if j != i] + [case.negative[n] for n in case.negatives_of(i)]
        kept = [k for k in negatives if not cosine(k, right).item() > delta]
        numerator = torch.exp(cosine(case.query[i], right) / temperature)
        denominator = numerator + sum(torch.exp(cosine(case.query[i], k) / temperature) for k in kept)
        losses.append(-torch.log(numerator / denominator))
    return mean(losses)


def rzenembed_eq_4(case: Case, temperature: float, alpha: float, gradient: bool) -> Tensor:
    """Eq. 1 with each negative weighed by w = exp(α sim(q, k-)), Eq. 3."""
    losses = []
    for i in range(5):
        q, right = case.query[i], case.positive[i]
        negatives = [case.positive[j] for j in range(5) if j != i] + [case.negative[n] for n in case.negatives_of(i)]
        weights = [torch.exp(alpha * cosine(q, k)) for k in negatives]
        weights = weights if gradient else [weight.detach() for weight in weights]
        numerator = torch.exp(cosine(q, right) / temperature)
        wrong = sum(w * torch.exp(cosine(q, k) / temperature) for w, k in zip(weights, negatives, strict=True))
        losses.append(-torch.log(numerator / (numerator + wrong)))
    return mean(losses)


def rzenembed_eq_5(case: Case, theta: list[Tensor]) -> Tensor:
    """Eq. 1 with τ_t = exp(θ_t), t the query's task."""
    losses = []
    for i in range(5):
        tau = torch.exp(theta[int(case.task[i])])
        numerator = torch.exp(cosine(case.query[i], case.positive[i]) / tau)
        negatives = [case.positive[j] for j in range(5) if j != i] + [case.negative[n] for n in case.negatives_of(i)]
        losses.append(
            -torch.log(numerator / (numerator + sum(torch.exp(cosine(case.query[i], k) / tau) for k in negatives)))
        )
    return mean(losses)


def several_positives(case: Case, temperature: float) -> Tensor:
    """The mean over a row's positives of Eq. 1, each with the row's other positives left out."""
    losses = []
    for i in range(5):
        others = [p for p in range(len(case.positive)) if case.positive_owner[p] != i]
        negatives = [case.positive[p] for p in others] + [case.negative[n] for n in case.negatives_of(i)]
        wrong = sum(torch.exp(cosine(case.query[i], k) / temperature) for k in negatives)
        each = []
        for p in case.positives_of(i):
            right = torch.exp(cosine(case.query[i], case.positive[p]) / temperature)
            each.append(-torch.log(right / (right + wrong)))
        losses.append(mean(each))
    return mean(losses)


def umarvel_eq_1(
    case: Case, dim: int, tau: float, tau_teacher: float, scores: tuple[list[float], list[float]]
) -> Tensor:
    """Σ S_multi(i) log (S_multi(i) / S_single(i)), both softmax-normalised over a query's own candidates."""
    losses = []
    for i in range(5):
        documents = [case.positive[p] for p in case.positives_of(i)] + [case.negative[n] for n in case.negatives_of(i)]
        teacher = [scores[0][p] for p in case.positives_of(i)] + [scores[1][n] for n in case.negatives_of(i)]
        single = [torch.exp(cosine(case.query[i][:dim], k[:dim]) / tau) for k in documents]
        multi = [torch.exp(torch.tensor(s, dtype=torch.float64) / tau_teacher) for s in teacher]
        single = [s / sum(single) for s in single]
        multi = [s / sum(multi) for s in multi]
        losses.append(sum(m * torch.log(m / s) for m, s in zip(multi, single, strict=True)))
    return mean(losses)


def feedback(case: Case, temperature: float, scores: tuple[list[float], list[float]], right: float) -> Tensor:
    """Nyx Eq. 1 on judged documents: own negatives that answered rightly left out, rows weighed by their score."""
    losses, weights = [], []
    for i in range(5):
        own_wrong = [n for n in case.negatives_of(i) if scores[1][n] < right]
        negatives = [case.positive[j] for j in range(5) if j != i] + [case.negative[n] for n in own_wrong]
        numerator = torch.exp(cosine(case.query[i], case.positive[i]) / temperature)
        wrong = sum(torch.exp(cosine(case.query[i], k) / temperature) for k in negatives)
        losses.append(-torch.log(numerator / (numerator + wrong)))
        weights.append(scores[0][i])
    return sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)


# ---------------------------------------------------------------- all together


def everything(
    case: Case,
    *,
    dims: list[int],
    weights: list[float],
    theta: list[Tensor],
    alpha: float,
    delta: float,
    margin: float,
    shared: bool,
    two_way: bool,
) -> Tensor:
    """All switches at once: prefixes, several positives, masks by δ and margin, hardness, tasks, both directions."""
    documents = [*case.positive, *case.negative]
    owner = case.positive_owner + case.negative_owner
    count = len(case.positive)

    def is_false(i: int, k: int) -> bool:
        rights = case.positives_of(i)
        near = max(cosine(documents[k], case.positive[p]).item() for p in rights) > delta
        best = max(cosine(case.query[i], case.positive[p]).item() for p in rights)
        return near or cosine(case.query[i], documents[k]).item() > best + margin

    def phi(i: int, k: int, dim: int, *, hard: bool) -> Tensor:
        similarity = cosine(case.query[i][:dim], documents[k][:dim])
        tau = torch.exp(theta[int(case.task[i])])
        return torch.exp(similarity / tau) * (torch.exp(alpha * similarity) if hard else 1)

    total = torch.zeros((), dtype=torch.float64)
    for dim, weight in zip(dims, weights, strict=True):
        forth, back = [], []
        for i in range(5):
            wrong = []
            for k in range(len(documents)):
                if k < count and owner[k] == i:
                    continue
                if k >= count and owner[k] != i and not shared:
                    continue
                if not is_false(i, k):
                    wrong.append(phi(i, k, dim, hard=True))
            forward, backward = [], []
            for p in case.positives_of(i):
                right = phi(i, p, dim, hard=False)
                forward.append(-torch.log(right / (right + sum(wrong))))
                # a document asks with the temperature of its own row
                tau = torch.exp(theta[int(case.task[i])])
                asked = []
                for j in range(5):
                    if j != i and not is_false(j, p):
                        similarity = cosine(case.query[j][:dim], case.positive[p][:dim])
                        asked.append(torch.exp(similarity / tau) * torch.exp(alpha * similarity))
                backward.append(-torch.log(right / (right + sum(asked))))
            forth.append(mean(forward))
            back.append(mean(backward))
        loss = (mean(forth) + mean(back)) / 2 if two_way else mean(forth)
        total = total + weight / sum(weights) * loss
    return total
