"""Does a saved retriever give the same vectors to somebody who has only the folder?"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nyx_hf.data_builders.schema import Row, present_parts
from nyx_hf.modeling.modeling_nyx import NyxModel

# Runs where nyx_hf cannot be imported: what loads is the folder's own code.
_SCRIPT = """
import json, sys, tempfile, warnings
warnings.filterwarnings("ignore")
sys.modules["nyx_hf"] = None
import numpy as np
from datasets import load_dataset
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

folder, dataset, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
cache = tempfile.TemporaryDirectory()  # the shared one goes by the folder's name, which others may have used
rows = load_dataset(dataset, "queries", split=f"test[:{count}]", cache_dir=cache.name)
parts = [[{k: v for k, v in part.items() if v is not None} for part in row["content"]] for row in rows]
ours = AutoModel.from_pretrained(folder, trust_remote_code=True).encode([{"content": p} for p in parts])
theirs = SentenceTransformer(folder, trust_remote_code=True, device="cpu").encode(
    [[{"role": "user", "content": p}] for p in parts]
)
print("VECTORS " + json.dumps({"auto": ours.tolist(), "sentence_transformers": theirs.tolist()}))
"""
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class SavedModelCheck:
    """How far apart the vectors of the same contents are.

    Args:
        contents: How many contents were compared.
        auto_model: Largest difference between `AutoModel` in a fresh process and the model in memory.
        sentence_transformer: Largest difference between `SentenceTransformer` and `AutoModel` in that process.
    """

    contents: int
    auto_model: float
    sentence_transformer: float

    @property
    def agree(self) -> bool:
        """Whether both differences are within float32's noise."""
        return max(self.auto_model, self.sentence_transformer) <= _TOLERANCE

    def as_dict(self) -> dict[str, Any]:
        """The numbers, for a report."""
        return asdict(self)

    def as_text(self) -> str:
        """One line for people."""
        return (
            f"AutoModel and the model in memory differ by {self.auto_model:.1e}, SentenceTransformer and AutoModel by "
            f"{self.sentence_transformer:.1e}, over {self.contents} queries"
        )


def check_saved_model(folder: Path, dataset: Path, queries: Sequence[Row], model: NyxModel) -> SavedModelCheck:
    """Compares a saved retriever, loaded by others' means in a fresh process, with the one in memory.

    Args:
        folder: The saved retriever.
        dataset: A dataset folder, whose test queries are encoded there.
        queries: The same test queries.
        model: The retriever that was saved.

    Returns:
        The differences.

    Raises:
        RuntimeError: The saved folder does not load.
    """
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(folder.resolve()), str(dataset.resolve()), str(len(queries))],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        cwd=folder.resolve(),  # outside any checkout
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("VECTORS ")]
    if done.returncode != 0 or not lines:
        raise RuntimeError(f"the saved model in {folder} does not load in a fresh process:\n{done.stderr[-2000:]}")
    found = {name: np.asarray(vectors) for name, vectors in json.loads(lines[-1][8:]).items()}
    ours = model.encode([{"content": present_parts(row["content"])} for row in queries])
    return SavedModelCheck(
        len(ours),
        float(np.abs(found["auto"] - ours).max()),
        float(np.abs(found["sentence_transformers"] - found["auto"]).max()),
    )
