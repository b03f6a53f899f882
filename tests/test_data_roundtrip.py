"""The whole way: pages on disk, questions, hard negatives, the Hub, training, and the cards that say so."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fresh import run_fresh
from hub_standin import Standin, standin
from test_nyxqa import build, manual
from typer.testing import CliRunner

from nyx_hf.cli import app

pytestmark = pytest.mark.e2e

COMMAND = "import sys; from nyx_hf.cli import main; sys.argv = ['nyx-hf', *sys.argv[1:]]; main()"

STRANGER = """
from datasets import load_dataset
corpus = load_dataset("tester/manual", "corpus", split="corpus", revision="v1")
streamed = next(iter(load_dataset("tester/manual", "corpus", split="corpus", revision="v1", streaming=True)))
mcqa = load_dataset("tester/manual", "mcqa", split="train", revision="v1")
triplets = load_dataset("tester/manual", "triplets", split="train", revision="v1")
ids = set(corpus["id"])
images = [part["image"] for row in corpus for part in row["content"] if part["image"] is not None]
report(
    documents=len(corpus),
    images=[image.size for image in images],
    options=[len(row["options"]) for row in mcqa],
    known=all(one in ids for row in triplets for one in [*row["positive_ids"], *row["negative_ids"]]),
    negatives=[len(row["negative_ids"]) for row in triplets],
    scorers=sorted(set(triplets["scorer"])),
    streamed=streamed["id"],
    first=corpus[0]["id"],
)
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    with standin(tmp_path_factory.mktemp("hub")) as server:
        yield server


def test_from_pages_to_a_trained_model_by_way_of_the_hub(hub: Standin, tmp_path: Path, tiny_folder: Path) -> None:
    built = build(tmp_path, "--source", f"html:{manual(tmp_path / 'my-manual')}", "--shares", "0.8,0.1,0.1")
    assert built.exit_code == 0, built.output
    words = [
        "mine",
        str(tmp_path / "out"),
        "--model",
        str(tiny_folder),
        "--out",
        str(tmp_path / "hard"),
        "--negatives",
        "3",
    ]
    mined = CliRunner().invoke(app, [*words, "--cache", str(tmp_path / "vectors")])
    assert mined.exit_code == 0, mined.output

    pushed = hub.python(COMMAND, tmp_path / "home", "push", str(tmp_path / "hard"), "tester/manual", "--tag", "v1")
    assert "tagged v1" in pushed.stdout
    assert hub.repos["dataset", "tester/manual"].private
    files = hub.files("tester/manual", "dataset")
    card = files["README.md"].decode()
    assert "tester/manual" in card and "own_pages: true" in card and "images/scores.png" in files
    assert not any(str(tmp_path).encode() in file for file in files.values())

    environment = hub.env(tmp_path / "stranger") | {"HF_HUB_OFFLINE": "0"}
    got = run_fresh(STRANGER, env=environment)
    assert got["documents"] == 15 and len(got["images"]) >= 28 and set(got["options"]) == {4}
    assert got["known"] and set(got["negatives"]) == {3} and got["streamed"] == got["first"]
    assert len(got["scorers"]) == 1 and got["scorers"][0].startswith("tiny-nyx@")

    settings = ["model=tiny:qwen2_5_vl", "datasets=tester/manual", "eval_dataset=null", "max_steps=2"]
    settings += ["per_device_train_batch_size=4", "negatives_per_query=3", "eval_strategy='no'", "save_steps=2"]
    settings += ["load_best_model_at_end=false", f"output_dir={tmp_path / 'run'}"]
    hub.python(COMMAND, tmp_path / "home", "train", "digits", *settings)
    model_card = (tmp_path / "run" / "README.md").read_text()
    assert "tester/manual" in yaml.safe_load(model_card.split("---")[1])["datasets"]
    assert json.loads((tmp_path / "run" / "checkpoint-2" / "trainer_state.json").read_text())["global_step"] == 2


def test_own_pages_go_to_no_public_repository_unless_told_so(hub: Standin, tmp_path: Path) -> None:
    assert build(tmp_path, "--source", f"html:{manual(tmp_path / 'my-manual')}").exit_code == 0
    hub.create("dataset", "tester/open", private=False)
    words = ["push", str(tmp_path / "out"), "tester/open"]
    refused = hub.python(COMMAND, tmp_path / "home", *words, check=False)
    assert refused.returncode == 1 and "made from its maker's own pages: push it with --public" in refused.stderr
    assert list(hub.files("tester/open", "dataset")) == [".gitattributes"]
    allowed = hub.python(COMMAND, tmp_path / "home", *words, "--public")
    assert "pushed" in allowed.stdout and "README.md" in hub.files("tester/open", "dataset")
    assert sys.executable not in hub.files("tester/open", "dataset")["README.md"].decode()
