"""Model, adapter and dataset travel through the Hub: pushed here, they give strangers the vectors they gave us."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hub_standin import Standin, standin

from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.loading import load_tables
from nyx_hf.data_builders.triplets import TripletDataset
from nyx_hf.model_cards.model_card import DataSource
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.arguments import NyxTrainingArguments
from nyx_hf.trainer.saving import copy_model_files
from nyx_hf.trainer.trainer import NyxTrainer
from tests.fresh import run_fresh

PUSH = """
import json, sys
from nyx_hf import push_to_hub
print(json.dumps([push_to_hub(**call).oid for call in json.loads(sys.argv[1])]))
"""

# What a stranger reads, in forms for both doors.
ROWS = """
import os
import numpy as np
from datasets import load_dataset

queries = load_dataset("tester/digits", "queries", split="test", revision="v1")
contents = [{"content": row["content"]} for row in queries]
parts = [[{k: v for k, v in part.items() if v is not None} for part in row["content"]] for row in queries]
messages = [[{"role": "user", "content": one}] for one in parts]
"""

PULL = (
    ROWS
    + """
from peft import PeftModel
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoProcessor

v1 = {"revision": "v1", "trust_remote_code": True}
model = AutoModel.from_pretrained("tester/nyx", **v1)
processor = AutoProcessor.from_pretrained("tester/nyx", **v1)
main = AutoModel.from_pretrained("tester/nyx", trust_remote_code=True)
sentences = SentenceTransformer("tester/nyx", device="cpu", **v1)
adapter = AutoModel.from_pretrained("tester/adapter", **v1)
with torch.inference_mode():
    forward = torch.nn.functional.normalize(model(**processor.process(contents)).embeddings, dim=-1)
vectors = {
    "model": model.encode(contents),
    "queries": model.encode_query(contents),
    "processor": forward.numpy(),
    "sentences": sentences.encode(messages),
    "main": main.encode(contents),
    "main queries": main.encode_query(contents),
    "adapter": adapter.encode(contents),
}
vectors["peft"] = PeftModel.from_pretrained(model, "tester/adapter", revision="v1").encode(contents)
plain, info = AutoModel.from_pretrained("tester/nyx", revision="v1", output_loading_info=True)

def first_shade(image):
    return [*image.size, *image.convert("RGB").getpixel((0, 0))]

def seen(rows):
    images = [part["image"] for row in rows for part in row.get("content", []) if part["image"] is not None]
    images += [value for row in rows for value in row.values() if hasattr(value, "getpixel")]
    return {"rows": len(rows), "ids": [row.get("id", row.get("query_id")) for row in rows],
            "images": [first_shade(image) for image in images]}

configs = ("corpus", "queries", "triplets", "preview")
loaded, streamed = {}, {}
for name in configs:
    whole = load_dataset("tester/digits", name)
    loaded[name] = {split: seen(list(rows)) for split, rows in whole.items()}
    if os.environ["HF_HUB_OFFLINE"] == "0":
        whole = load_dataset("tester/digits", name, streaming=True)
        streamed[name] = {split: seen(list(rows)) for split, rows in whole.items()}
report(
    vectors={name: found.tolist() for name, found in vectors.items()},
    kinds=[type(model).__module__.split(".")[0], type(processor).__name__, type(plain).__module__],
    preset=AutoConfig.from_pretrained("tester/nyx", **v1).nyx["preset"],
    plain=[sorted(info["missing_keys"]), sorted(info["unexpected_keys"])],
    templates=[model.processor.chat_template == processor.chat_template,
               model.processor.chat_template == main.processor.chat_template],
    loaded=loaded,
    streamed=streamed,
)
"""
)

STOCK = (
    ROWS
    + """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer("tester/nyx", revision="v1", device="cpu")
report(kind=type(model[0].model).__module__, processor=type(model[0].processor).__module__,
       vectors={"bare": model.encode(messages).tolist(), "query": model.encode_query(messages).tolist()})
"""
)


@dataclass
class Published:
    """What stands on the server, and what the models gave before they were pushed."""

    hub: Standin
    home: Path  # the stranger's cache: empty until the first pull
    digits: Path
    vectors: dict[str, np.ndarray]
    commits: list[str]

    def fresh(self, script: str, *, offline: bool = False, stock: bool = False) -> dict[str, Any]:
        """Runs a stranger's script: no nyx_hf, no token of the pusher's beyond what reads."""
        env = self.hub.env(self.home) | {"HF_HUB_OFFLINE": "1" if offline else "0"}
        return run_fresh(script, stock=stock, env=env)


def trained(model: NyxModel, rows: TripletDataset, folder: Path, **changes: Any) -> NyxTrainer:
    """Two steps of training, and what they leave."""
    args = NyxTrainingArguments(
        str(folder),
        max_steps=2,
        per_device_train_batch_size=4,
        learning_rate=0.02,
        negatives_per_query=1,
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
        **changes,
    )
    card = {"datasets": [DataSource("tester/digits", "v1", "cc-by-4.0")], "license": "cc-by-4.0"}
    trainer = NyxTrainer(model, args, train_dataset=rows, card={**card, "base_license": "apache-2.0"})
    trainer.train()
    trainer.save_model()
    return trainer


@pytest.fixture(scope="module")
def published(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """A trained retriever and its adapter, both tagged v1, the data they were trained on, and a newer retriever."""
    root = tmp_path_factory.mktemp("published")
    digits = build_digits(root / "digits", train_documents=8, test_documents=6)
    rows = TripletDataset.load(digits)
    trained(NyxModel.from_pretrained(tiny_folder), rows, root / "model")
    model = NyxModel.from_pretrained(root / "model")
    contents = [{"content": row["content"]} for row in load_tables(digits, ["queries"])["queries"]["test"]]
    vectors = {"model": model.encode(contents), "queries": model.encode_query(contents)}

    newer = NyxModel.from_pretrained(root / "model")
    prompts = {"query": "Look for: ", "document": ""}
    newer.settings = newer.settings.updated(represent_text=" in one word:", represent_visual="!", prompts=prompts)
    copy_model_files(root / "model", root / "newer")
    newer.save_pretrained(root / "newer")
    vectors |= {"main": newer.encode(contents), "main queries": newer.encode_query(contents)}

    model.name_or_path = "tester/nyx"  # as if it had been loaded by it
    adapted = trained(model, rows, root / "adapter", use_lora=True, lora_target="all")
    vectors["adapter"] = adapted.model.encode(contents)

    calls = [
        {"folder": str(root / "model"), "repo_id": "tester/nyx", "tag": "v1"},
        {"folder": str(root / "adapter"), "repo_id": "tester/adapter", "tag": "v1"},
        {"folder": str(digits), "repo_id": "tester/digits", "tag": "v1"},
        {"folder": str(root / "newer"), "repo_id": "tester/nyx"},
    ]
    with standin(root / "hub") as hub:
        done = hub.python(PUSH, root / "home of the pusher", json.dumps(calls))
        yield Published(hub, root / "home", digits, vectors, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def pulled(published: Published) -> dict[str, Any]:
    """What a fresh process with an empty cache found."""
    assert not published.home.exists()
    return published.fresh(PULL)


def array(found: list[Any]) -> np.ndarray:
    return np.asarray(found, dtype=np.float32)


def distance(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max())


def test_what_went_up(published: Published) -> None:
    """One commit a push, tags at the first, the digits' licence and revision on the cards."""
    first, adapter, digits, newer = published.commits
    repo = published.hub.repos["model", "tester/nyx"]
    assert repo.tags == {"v1": first} and repo.branches == {"main": newer}
    assert published.hub.repos["model", "tester/adapter"].tags == {"v1": adapter}
    assert published.hub.repos["dataset", "tester/digits"].tags == {"v1": digits}
    for name in ("tester/nyx", "tester/adapter"):
        files = published.hub.files(name, revision="v1")
        card = files["README.md"].decode()
        assert "license: cc-by-4.0" in card and "- tester/digits" in card and f'"{name}"' in card
    config = json.loads(published.hub.files("tester/adapter")["adapter_config.json"])
    assert config["base_model_name_or_path"] == "tester/nyx"
    old, new = (published.hub.files("tester/nyx", revision=revision) for revision in ("v1", "main"))
    assert old["model.safetensors"] == new["model.safetensors"]
    assert old["processor_config.json"] != new["processor_config.json"]
    assert old["chat_template.jinja"] != new["chat_template.jinja"]


@pytest.mark.e2e
def test_the_model_gives_strangers_its_vectors(published: Published, pulled: dict[str, Any]) -> None:
    ours, theirs = published.vectors, {name: array(found) for name, found in pulled["vectors"].items()}
    assert np.array_equal(theirs["model"], ours["model"])
    assert np.array_equal(theirs["queries"], ours["queries"])
    assert distance(theirs["processor"], ours["model"]) < 1e-6
    assert np.array_equal(theirs["sentences"], ours["model"])
    assert distance(ours["model"], ours["queries"]) > 1e-3
    assert distance(ours["model"][:1], ours["model"][1:]) > 1e-3
    module, processor, plain = pulled["kinds"]
    assert (module, processor) == ("transformers_modules", "NyxProcessor")
    assert plain == "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl"
    assert pulled["plain"] == [[], []]
    assert pulled["preset"] == "nyx"


@pytest.mark.e2e
def test_a_revision_pins_the_processor_too(published: Published, pulled: dict[str, Any]) -> None:
    """Main has the same weights with another template and other prompts: the tag still means the old vectors."""
    ours, theirs = published.vectors, {name: array(found) for name, found in pulled["vectors"].items()}
    assert pulled["templates"] == [True, False]
    for name in ("main", "main queries"):
        assert np.array_equal(theirs[name], ours[name])
    assert distance(ours["main"], ours["model"]) > 1e-3
    assert distance(ours["main queries"], ours["queries"]) > 1e-3


@pytest.mark.e2e
def test_the_adapter_gives_strangers_its_vectors(published: Published, pulled: dict[str, Any]) -> None:
    """By one call of AutoModel, which finds the base itself, and by peft over the base."""
    ours = published.vectors["adapter"]
    assert distance(array(pulled["vectors"]["adapter"]), ours) < 1e-6
    assert distance(array(pulled["vectors"]["peft"]), ours) < 1e-6
    assert distance(ours, published.vectors["model"]) > 1e-3


@pytest.mark.e2e
def test_the_dataset_loads_and_streams(published: Published, pulled: dict[str, Any]) -> None:
    assert pulled["loaded"] == pulled["streamed"]
    assert set(pulled["loaded"]) == {"corpus", "queries", "triplets", "preview"}
    assert all(set(splits) == {"train", "test"} for splits in pulled["loaded"].values())
    for name in ("corpus", "queries", "triplets"):
        local = load_tables(published.digits, [name])[name]["test"]
        found = pulled["loaded"][name]["test"]
        assert found["ids"] == local[:]["query_id" if name == "triplets" else "id"] and found["rows"] > 0
        parts = [part for row in local for part in row.get("content", []) if part["image"] is not None]
        assert found["images"] == [
            [*part["image"].size, *part["image"].convert("RGB").getpixel((0, 0))] for part in parts
        ]
    assert pulled["loaded"]["corpus"]["test"]["images"] and pulled["loaded"]["queries"]["test"]["images"]
    assert all(split["images"] for split in pulled["loaded"]["preview"].values())


@pytest.mark.e2e
def test_once_more_without_a_network(published: Published, pulled: dict[str, Any]) -> None:
    asked = len(published.hub.requests)
    offline = published.fresh(PULL, offline=True)
    assert len(published.hub.requests) == asked
    assert offline.pop("streamed") == {}
    assert {name: offline[name] for name in offline if name != "output"} == {
        name: pulled[name] for name in pulled if name not in ("output", "streamed")
    }


@pytest.mark.e2e
@pytest.mark.stock
def test_sentence_transformers_without_trust(published: Published, pulled: dict[str, Any]) -> None:
    found = published.fresh(STOCK, stock=True)
    assert found["kind"].startswith("transformers.models.") and found["processor"].startswith("transformers.models.")
    assert np.array_equal(array(found["vectors"]["bare"]), published.vectors["model"])
    assert np.array_equal(array(found["vectors"]["query"]), published.vectors["queries"])


TRAIN = """
import json, sys
from pathlib import Path
from nyx_hf import load_adapter
from nyx_hf.trainer.training_run import main

words = ["--config", "adapt", "smoke=true", "preset=nyx", "model=tester/nyx", "model_revision=v1", "settings={}"]
words += ["datasets=[tester/digits@v1]", "eval_dataset=[tester/digits]", "output_dir=out", "hub_strategy=end"]
code = main([*words, "push_to_hub=true", "hub_model_id=tester/again", "false_negative_threshold=null"])
card, recipe = (Path("out", name).read_text(encoding="utf-8") for name in ("README.md", "recipe.yaml"))
vectors = load_adapter("tester/again").encode(["a text"]).tolist() if code == 0 else []
report = {"code": code, "card": card, "recipe": recipe, "vectors": vectors}
print(json.dumps(report))
"""


@pytest.mark.e2e
def test_a_run_from_the_hub_names_commits_and_goes_back(published: Published, tmp_path: Path) -> None:
    """Model and data by their tags; card, recipe and adapter name the commits that these stood for."""
    first, _, digits, _ = published.commits
    done = published.hub.python(TRAIN, tmp_path / "trainer")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0
    recipe = yaml.safe_load(found["recipe"])
    assert recipe["model_revision"] == first
    assert recipe["datasets"] == recipe["eval_dataset"] == [f"tester/digits@{digits}"]
    [row] = [line for line in found["card"].splitlines() if line.startswith("| [tester/digits]")]
    assert row.endswith(f" | {digits} | cc-by-4.0 |")
    config = json.loads(published.hub.files("tester/again")["adapter_config.json"])
    assert (config["base_model_name_or_path"], config["revision"]) == ("tester/nyx", first)
    assert array(found["vectors"]).shape == (1, 64)
