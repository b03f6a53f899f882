"""Draws rows of a NyxQA dataset, as docs/data.md shows them.

python tests/benchmarks/nyxqa_picture.py DATASET docs/images/nyxqa_gimp.png
"""

import random
import sys
from collections.abc import Iterator
from pathlib import Path

from nyx_hf import TripletDataset
from nyx_hf.plots import Example, Hit, gallery

KINDS = ("What does ", "<turned>", "In “", "Through which", "Complete this", "Which topic")
TITLE = "Rows of a NyxQA dataset: a question of each kind, its chunk, and a hard negative"


def kind_of(content: list[dict[str, object]]) -> str | None:
    """Tells a question's kind by how it begins."""
    texts = [str(part["text"]) for part in content if part["type"] == "text"]
    if len(content) - len(texts) > 1:
        return "<turned>"
    return next((kind for kind in KINDS if texts and texts[0].startswith(kind)), None)


def examples(dataset: Path, seed: int = 7) -> Iterator[Example]:
    """Draws one row of each kind."""
    rows = TripletDataset.load(dataset, "test")
    order = random.Random(seed).sample(range(len(rows)), len(rows))
    kinds = {kind_of(rows.query(number)["content"]): number for number in reversed(order)}
    for kind in KINDS:
        row, query = rows[kinds[kind]], rows.query(kinds[kind])
        options = "\n".join(f"{letter}. {option}" for letter, option in zip("ABCD", query["options"], strict=True))
        asked = {"content": [*row["query"]["content"], {"type": "text", "text": f"\n{options}"}]}
        sides = [Hit(row["positives"][0], row["positive_scores"][0], True, "its chunk")]
        if row["negatives"]:
            sides.append(Hit(row["negatives"][0], row["negative_scores"][0], False, "hardest other chunk"))
        yield Example(asked, sides, label=f"answer: {query['answers'][0]}")


if __name__ == "__main__":
    gallery(
        list(examples(Path(sys.argv[1]))), sys.argv[2], title=TITLE, hits=2, width=1100, cell_height=230, tally=False
    )
