"""`nyx-hf soup`: souping with a validation score, and what is printed of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.retrieval_evaluation import RetrievalSet, evaluate_retrieval
from nyx_hf.trainer.soup_ingredients import SoupError
from nyx_hf.trainer.souping import Score, Soup, make_soup


@dataclass(frozen=True)
class Cooked:
    """A soup, and by what it was chosen.

    Attributes:
        soup: What it became.
        metric: What was compared; None where souping was not greedy.
    """

    soup: Soup
    metric: str | None

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON keeps it."""
        return {
            "folder": str(self.soup.folder),
            "shares": self.soup.shares,
            "rank": self.soup.rank,
            "relative_error": self.soup.error,
            "metric": self.metric,
            "scores": [{"soup": name, "score": score} for name, score in self.soup.scores],
        }

    def as_text(self) -> str:
        """Gives it as a person reads it."""
        soup = self.soup
        lines = [f"{score:.4f}  {name}" for name, score in soup.scores]
        lines = [f"{self.metric} of each alone, then of the soups tried:", *lines, ""] if lines else []
        what = "a whole model" if soup.rank is None else f"an adapter of rank {soup.rank}"
        exact = f"; cutting its rank left an error of {soup.error:.1%} in the updates" if soup.error else ""
        shares = ", ".join(f"{share:.3f} {name}" for name, share in soup.shares.items())
        return "\n".join([*lines, f"{soup.folder} is {what}{exact}: {shares}"])


def cook(
    ingredients: Sequence[str],
    out: Path,
    weights: str | None,
    merge: bool,
    rank: int | None,
    greedy: str | None,
    split: str,
    metric: str,
    limit: int | None,
) -> Cooked:
    """Makes a soup as the command line asks.

    Args:
        ingredients: Folders or Hub ids.
        out: Folder to write.
        weights: Numbers with commas between them.
        merge: Write a whole model.
        rank: Cut an adapter to this rank.
        greedy: Dataset to choose by.
        split: Its split.
        metric: What is compared.
        limit: Only so many queries of it.

    Returns:
        What came out.

    Raises:
        SoupError: If weights or metric cannot be read, or the ingredients do not go together.
    """
    try:
        numbers = None if weights is None else [float(word) for word in weights.split(",")]
    except ValueError as error:
        raise SoupError(f"--weights is {weights!r}; give numbers with commas between them, such as 2,1,1") from error
    score = None if greedy is None else retrieval_score(RetrievalSet.load(greedy, split, limit=limit), metric)
    soup = make_soup(list(ingredients), out, weights=numbers, merge=merge, rank=rank, score=score)
    return Cooked(soup, None if score is None else metric)


def retrieval_score(dataset: RetrievalSet, metric: str) -> Score:
    """Gives what scores a retriever.

    Args:
        dataset: What is searched, and for what.
        metric: `recall@K`, `ndcg@K` or `mrr@K`.

    Returns:
        A function of a retriever.

    Raises:
        SoupError: If there is no such metric.
    """
    name, _, cut = metric.partition("@")
    if name not in ("recall", "ndcg", "mrr") or not cut.isdigit() or int(cut) < 1:
        raise SoupError(f"--metric is {metric!r}; it is recall@K, ndcg@K or mrr@K, such as ndcg@10")

    def score(model: NyxModel) -> float:
        return evaluate_retrieval(model, dataset, ks=[int(cut)])[metric]

    return score
