"""Publishing: the real huggingface_hub client pushes to and pulls from a local stand-in over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, Features, Image, List, Value
from hub_standin import ROOT, Standin, standin
from peft import LoraConfig, get_peft_model
from PIL import Image as PillowImage
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from nyx_hf.folders import HubError, check_folder, files_to_push, kind_of
from nyx_hf.model_cards.dataset_card import DatasetFacts, Source, dataset_card, usage_snippets

CARD = '---\nlicense: apache-2.0\n---\n\n# Tiny\n\n`AutoModel.from_pretrained("your-name/tiny")`\n'
WORDS = ["[PAD]", "[UNK]", "red", "green", "blue"]
SHADES = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}
DOCUMENT = List({"type": Value("string"), "text": Value("string"), "image": Image()})
FACTS = DatasetFacts(
    name="shades",
    pretty_name="Shades",
    summary="Three colours.",
    sources=[Source("made here", "https://example.org", "cc0-1.0")],
    configs={"corpus": {"train": 3}, "queries": {"test": 3}},
    default_config="corpus",
)

PUSH = """
import json, sys
from nyx_hf.hub import HubError, push_to_hub
for call in json.loads(sys.argv[1]):
    try:
        print(json.dumps(push_to_hub(**call).oid))
    except HubError as error:
        print(json.dumps({"error": str(error)}))
"""

PULL = """
import json, os, sys, torch
from datasets import load_dataset
from peft import PeftModel
from transformers import AutoModel, AutoTokenizer
model = AutoModel.from_pretrained("tester/tiny", revision="v1").eval()
words = AutoTokenizer.from_pretrained("tester/tiny", revision="v1")("red blue", return_tensors="pt")
seen = {"model": model(**words).last_hidden_state.abs().sum().item()}
adapted = PeftModel.from_pretrained(model, "tester/adapter").eval()
seen["adapter"] = adapted(**words).last_hidden_state.abs().sum().item()
corpus = load_dataset("tester/shades", "corpus", split="train")
seen["corpus"] = [[part["image"].getpixel((0, 0)) for part in row["content"] if part["image"]] for row in corpus]
seen["queries"] = load_dataset("tester/shades", "queries", split="test")[:]["id"]
if not os.environ.get("HF_HUB_OFFLINE"):
    exec(sys.argv[1], {})
    streamed = load_dataset("tester/shades", "corpus", split="train", streaming=True)
    seen["streamed"] = [[p["image"].getpixel((0, 0)) for p in row["content"] if p["image"]] for row in streamed]
print(json.dumps(seen))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standin]:
    """One server for this file."""
    with standin(tmp_path_factory.mktemp("hub")) as server:
        yield server


def push(hub: Standin, home: Path, *calls: dict[str, Any]) -> list[Any]:
    """Pushes in a client process; gives each call's commit, or its error."""
    done = hub.python(PUSH, home, json.dumps(calls))
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith(('"', "{"))]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, an adapter of it, and a dataset with images: `model/`, `adapter/`, `dataset/`."""
    root = tmp_path_factory.mktemp("folders")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        initializer_range=0.5,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    model = BertModel(config).eval()
    model.save_pretrained(root / "model")
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(root / "model")
    batch = tokenizer("red blue", return_tensors="pt")
    sums = {"model": model(**batch).last_hidden_state.abs().sum().item()}

    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["query"], task_type="FEATURE_EXTRACTION"))
    torch.nn.init.normal_(adapted.base_model.model.encoder.layer[0].attention.self.query.lora_B["default"].weight)
    sums["adapter"] = adapted.eval()(**batch).last_hidden_state.abs().sum().item()
    adapted.peft_config["default"].base_model_name_or_path = "tester/tiny"
    adapted.save_pretrained(root / "adapter", save_embedding_layers=False)
    for name in ("model", "adapter"):
        (root / name / "README.md").write_text(CARD, encoding="utf-8")
    (root / "model" / "checkpoint-5").mkdir()
    for left_at_home in ("checkpoint-5/model.safetensors", "optimizer.pt", "half.tmp", ".secret", "training_args.bin"):
        (root / "model" / left_at_home).write_bytes(b"x")

    corpus: dict[str, list[Any]] = {"id": [], "content": []}
    for name, colour in SHADES.items():
        picture = {"type": "image", "text": None, "image": PillowImage.new("RGB", (4, 4), colour)}
        corpus["id"].append(name)
        corpus["content"].append([{"type": "text", "text": name, "image": None}, picture])
    (root / "dataset" / "data" / "corpus").mkdir(parents=True)
    (root / "dataset" / "data" / "queries").mkdir()
    rows = Dataset.from_dict(corpus, Features({"id": Value("string"), "content": DOCUMENT}))
    rows.select([0, 1]).to_parquet(root / "dataset/data/corpus/train-00000-of-00002.parquet")
    rows.select([2]).to_parquet(root / "dataset/data/corpus/train-00001-of-00002.parquet")
    Dataset.from_dict({"id": ["1", "2", "3"]}).to_parquet(root / "dataset/data/queries/test-00000-of-00001.parquet")
    dataset_card(FACTS).save(root / "dataset" / "README.md")
    (root / "sums.json").write_text(json.dumps(sums), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def pushed(hub: Standin, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The three folders on the stand-in; their commits."""
    commits = push(
        hub,
        tmp_path_factory.mktemp("home"),
        {"folder": str(folders / "model"), "repo_id": "tester/tiny", "tag": "v1"},
        {"folder": str(folders / "adapter"), "repo_id": "tester/adapter", "private": False},
        {"folder": str(folders / "dataset"), "repo_id": "tester/shades", "commit_message": "three colours"},
    )
    assert all(isinstance(commit, str) for commit in commits), commits
    return commits


def test_each_push_is_one_commit(hub: Standin, pushed: list[str]) -> None:
    tiny, adapter = hub.repos["model", "tester/tiny"], hub.repos["model", "tester/adapter"]
    shades = hub.repos["dataset", "tester/shades"]
    for repo, commit in zip((tiny, adapter, shades), pushed, strict=True):
        assert [repo.branches["main"]] == [sha for sha, _ in repo.log[1:]] == [commit]
    assert tiny.tags == {"v1": pushed[0]} and (adapter.tags, shades.tags) == ({}, {})
    assert (tiny.private, adapter.private, shades.private) == (True, False, True)
    assert shades.log[1][1] == "three colours" and tiny.log[1][1].startswith("Upload model with nyx_hf")


def test_only_what_belongs_there_goes_up(hub: Standin, pushed: list[str]) -> None:
    files = hub.files("tester/tiny", revision="v1")
    kept = {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
        ".gitattributes",
    }
    assert set(files) == kept
    assert b'from_pretrained("tester/tiny")' in files["README.md"] and b"your-name" not in files["README.md"]


@pytest.mark.e2e
def test_fresh_processes_load_all_three_then_offline(
    hub: Standin, pushed: list[str], folders: Path, tmp_path: Path
) -> None:
    """Model by its tag, adapter, dataset and stream from an empty cache; then once more without a network."""
    snippet = usage_snippets("tester/shades", FACTS)["datasets"]
    online = json.loads(hub.python(PULL, tmp_path, snippet, nyx_hf=False).stdout.splitlines()[-1])
    asked = len(hub.requests)
    offline = json.loads(hub.python(PULL, tmp_path, snippet, nyx_hf=False, offline=True).stdout.splitlines()[-1])
    assert len(hub.requests) == asked
    sums = json.loads((folders / "sums.json").read_text(encoding="utf-8"))
    assert (online["model"], online["adapter"]) == pytest.approx((sums["model"], sums["adapter"]), abs=1e-5)
    assert abs(sums["model"] - sums["adapter"]) > 1e-3
    assert online["corpus"] == online["streamed"] == [[list(colour)] for colour in SHADES.values()]
    assert online.pop("streamed") and offline == online


def test_a_push_that_fails_halfway_changes_nothing(hub: Standin, folders: Path, tmp_path: Path) -> None:
    """Once while large files go up, once at the commit itself; the old revision stays whole, and a retry succeeds."""
    new = tmp_path / "new"
    new.mkdir()
    for file in files_to_push(folders / "model"):
        (new / file).write_bytes((folders / "model" / file).read_bytes())
    (new / "model.safetensors").write_bytes((new / "model.safetensors").read_bytes() + b"more")
    (new / "second.safetensors").write_bytes(b"two large files")
    first = {"folder": str(folders / "model"), "repo_id": "tester/fragile"}
    second = {"folder": str(new), "repo_id": "tester/fragile"}
    (commit,) = push(hub, tmp_path / "home", first)
    hub.fail("PUT", "/lfs/tester/fragile/", 403, after=1)  # one of the two new files goes up, the other does not
    hub.fail("POST", "/api/models/tester/fragile/commit/", 503)
    hub.fail("POST", "/api/models/tester/fragile/commit/", 412)
    upload, refused, conflict, retried = push(hub, tmp_path / "home", *[second] * 4)
    repo = hub.repos["model", "tester/fragile"]
    assert "pushing to tester/fragile failed: Error while uploading" in upload["error"]
    assert "the Hub answered 503 for tester/fragile" in refused["error"] and "push again" in refused["error"]
    assert "was changed in the meantime" in conflict["error"]
    assert [sha for sha, _ in repo.log[1:]] == [commit, retried] and repo.branches["main"] == retried
    old, now = hub.files("tester/fragile", revision=commit), hub.files("tester/fragile")
    assert old["model.safetensors"] == (folders / "model" / "model.safetensors").read_bytes()
    assert now["model.safetensors"] == old["model.safetensors"] + b"more" and "second.safetensors" not in old


def test_a_new_version_takes_old_shards_away_and_leaves_the_rest(hub: Standin, folders: Path, tmp_path: Path) -> None:
    whole, smaller = tmp_path / "whole", tmp_path / "smaller"
    for folder in (whole, smaller):
        for file in files_to_push(folders / "dataset"):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes((folders / "dataset" / file).read_bytes())
    (whole / "NOTES.md").write_text("kept", encoding="utf-8")
    (smaller / "data/corpus/train-00001-of-00002.parquet").unlink()
    (smaller / "data/corpus/train-00000-of-00002.parquet").rename(smaller / "data/corpus/train-00000-of-00001.parquet")
    calls = [{"folder": str(whole), "repo_id": "tester/shrinks", "tag": "v1"}]
    calls += [{"folder": str(smaller), "repo_id": "tester/shrinks", "tag": tag} for tag in ("v1", "v2")]
    calls += [{"folder": str(whole), "repo_id": "tester/shrinks", "revision": "wide"}]
    first, refused, second, branched = push(hub, tmp_path / "home", *calls)
    repo = hub.repos["dataset", "tester/shrinks"]
    assert f"has the tag 'v1' already, at {first[:10]}" in refused["error"]
    assert repo.tags == {"v1": first, "v2": second} and repo.branches == {"main": second, "wide": branched}
    shards = [file for file in hub.files("tester/shrinks", "dataset") if file.startswith("data/corpus/")]
    assert shards == ["data/corpus/train-00000-of-00001.parquet"]
    assert "NOTES.md" in hub.files("tester/shrinks", "dataset")
    assert len(hub.files("tester/shrinks", "dataset", "v1")) == len(hub.files("tester/shrinks", "dataset", "wide"))


def test_every_refusal_is_one_clear_line(hub: Standin, pushed: list[str], folders: Path, tmp_path: Path) -> None:
    model = {"folder": str(folders / "model"), "repo_id": "tester/tiny"}
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in files_to_push(folders / "model"):
        (bare / file).write_bytes((folders / "model" / file).read_bytes())
    (bare / "README.md").write_text("# No licence\n", encoding="utf-8")
    before = {name: dict(repo.branches) for name, repo in hub.repos.items()}
    hub.fail("POST", "/api/models/tester/untagged/tag/", 500)
    expected = [
        (model | {"token": "hf_wrong_secret"}, "does not accept this token: run `hf auth login`"),
        (model | {"token": "hf_test_read", "repo_id": "tester/new"}, "this token may not write to tester/new"),
        (model | {"repo_id": "tester/none", "create": False}, "there is no model repository tester/none"),
        (model | {"private": False}, "tester/tiny is private already and public was asked for"),
        (model | {"tag": "v1"}, "tester/tiny has the tag 'v1' already"),
        (model | {"repo_id": "tiny"}, "'tiny' is no repository name: give owner/name"),
        (model | {"folder": str(bare)}, "has no licence: add `license: …`"),
        (model | {"folder": str(folders)}, f"it holds adapter and dataset and model: push {folders / 'adapter'}"),
        (
            model | {"repo_id": "tester/untagged", "tag": "v1"},
            "is up, but its tag 'v1' is not: the Hub answered 500 for",
        ),
    ]
    answers = push(hub, tmp_path / "home", *(call for call, _ in expected))
    for answer, (_, line) in zip(answers, expected, strict=True):
        assert line in answer["error"] and "\n" not in answer["error"] and "secret" not in answer["error"], answer
    assert {name: repo.branches for name, repo in hub.repos.items() if name in before} == before
    assert set(hub.repos) - set(before) == {("model", "tester/untagged")}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"HF_TOKEN": ""}, "error: there is no Hub token: run `hf auth login`, or set HF_TOKEN"),
        ({"HF_HUB_OFFLINE": "1"}, "error: HF_HUB_OFFLINE is set: unset it to push"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "error: http://127.0.0.1:9 cannot be reached (ConnectError): check"),
    ],
)
def test_command_line_without_token_or_network(
    hub: Standin, folders: Path, tmp_path: Path, changes: dict[str, str], line: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nyx_hf", "push", str(folders / "model"), "tester/tiny"],
        env=hub.env(tmp_path) | changes,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def copy_of(folder: Path, target: Path) -> Path:
    """A copy that a test may break."""
    for file in files_to_push(folder):
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes((folder / file).read_bytes())
    return target


def rewrite(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def card(*metadata: str, body: str = "# Card\n") -> str:
    return "\n".join(["---", *metadata, "---", "", body])


def test_kinds(folders: Path, tmp_path: Path) -> None:
    assert [kind_of(folders / name) for name in ("model", "adapter", "dataset")] == ["model", "adapter", "dataset"]
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(HubError):
            kind_of(missing)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no metadata at all", "has no licence"),
        (card("license: other"), "add license_name and license_link"),
        (card("license: other", "license_name: x", "license_link: LICENSE"), "names the licence file LICENSE"),
        (card("license: [unclosed"), "cannot be read"),
        (card("license: mit", body="run\n/home/ada/model here"), "line 6 names the local path /home/ada/model"),
        (card("license: mit", body="see C:\\Users\\ada\\x"), "names the local path C:"),
        (card("license: mit", body="file:///etc/x"), "names the local path file:///etc/x"),
        (card("license: mit", body="{folder}/x.png"), "names the local path"),
        (card("license: mit", body="![curve](figures/loss.png)"), r"shows figures/loss\.png, which is not in"),
    ],
)
def test_cards_that_are_not_fit(folders: Path, tmp_path: Path, text: str, reason: str) -> None:
    folder = copy_of(folders / "model", tmp_path / "model")
    (folder / "README.md").write_text(text.replace("{folder}", str(folder)), encoding="utf-8")
    with pytest.raises(HubError, match=reason):
        check_folder(folder, "me/x")


def test_cards_that_are_fit(folders: Path, tmp_path: Path) -> None:
    """Web addresses that look like paths, relative pictures that are there, a licence of its own with its file."""
    folder = copy_of(folders / "model", tmp_path / "model")
    (folder / "LICENSE").write_text("terms", encoding="utf-8")
    (folder / "a.png").write_bytes(b"png")
    body = "https://example.org/home/ada and/or /v1/embeddings ![a](a.png) ![b](https://example.org/b.png)"
    metadata = ("license: other", "license_name: x", "license_link: LICENSE")
    (folder / "README.md").write_text(card(*metadata, body=body), encoding="utf-8")
    assert {"LICENSE", "a.png", "README.md"} < set(check_folder(folder, "me/x").files)


def test_incomplete_models(folders: Path, tmp_path: Path) -> None:
    folder = copy_of(folders / "model", tmp_path / "model")
    rewrite(folder / "config.json", auto_map={"AutoModel": "modeling_x.X", "AutoConfig": "other/repo--config.C"})
    with pytest.raises(HubError, match=r"names the code modeling_x\.py"):
        check_folder(folder, "me/x")
    (folder / "modeling_x.py").write_text("", encoding="utf-8")
    (folder / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]', encoding="utf-8")
    with pytest.raises(HubError, match=r"modules\.json names 1_Pooling"):
        check_folder(folder, "me/x")
    (folder / "1_Pooling").mkdir()
    assert check_folder(folder, "me/x").kind == "model"
    shards = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards), encoding="utf-8")
    (folder / "model-1.safetensors").write_bytes(b"x")
    (folder / "model-2.safetensors").write_bytes(b"")
    with pytest.raises(HubError, match=r"lacks weights: model-2\.safetensors;"):
        check_folder(folder, "me/x")
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(HubError, match="cannot be read as JSON"):
        check_folder(folder, "me/x")
    (folder / "README.md").unlink()
    with pytest.raises(HubError, match="has no card"):
        check_folder(folder, "me/x")


def test_adapters_name_a_base_that_others_can_load(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_of(folders / "adapter", tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "base").mkdir(parents=True)
    for base in ("/models/base", "runs/base", "../base", "", None):
        rewrite(folder / "adapter_config.json", base_model_name_or_path=base)
        with pytest.raises(HubError, match="which others cannot load: set base_model_name_or_path"):
            check_folder(folder, "me/x")
    rewrite(folder / "adapter_config.json", base_model_name_or_path="Qwen/Qwen2.5-VL-3B-Instruct")
    assert check_folder(folder, "me/x").kind == "adapter"
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(HubError, match=r"lacks adapter_model\.safetensors"):
        check_folder(folder, "me/x")


def test_datasets_that_would_not_load(folders: Path, tmp_path: Path) -> None:
    folder = copy_of(folders / "dataset", tmp_path / "dataset")
    assert check_folder(folder, "me/shades").kind == "dataset"
    (folder / "shades.py").write_text("", encoding="utf-8")
    with pytest.raises(HubError, match="taken for a loading script"):
        check_folder(folder, "me/shades")
    assert check_folder(folder, "me/colours").kind == "dataset"
    shard = folder / "data/queries/test-00000-of-00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1])
    with pytest.raises(HubError, match="not a whole Parquet file"):
        check_folder(folder, "me/x")
    shard.unlink()
    with pytest.raises(HubError, match=r"config 'queries' names data/queries/test-\*\.parquet, but"):
        check_folder(folder, "me/x")
    for data_files, missing in (("data/x.parquet", "x"), ({"train": ["data/corpus/*", "data/y.parquet"]}, "y")):
        files = json.dumps([{"config_name": "a", "data_files": data_files}])
        (folder / "README.md").write_text(card("license: mit", f"configs: {files}"), encoding="utf-8")
        with pytest.raises(HubError, match=f"names data/{missing}"):
            check_folder(folder, "me/x")
    (folder / "README.md").write_text(card("license: mit"), encoding="utf-8")
    with pytest.raises(HubError, match="has no `configs:`"):
        check_folder(folder, "me/x")
