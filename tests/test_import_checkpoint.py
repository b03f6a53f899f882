"""Imported retrievers give the vectors of their own projects' code, and an import is whole or not at all."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_cases import CASES, Case, backbone, configured, nyx_adapter, renamed
from hub_standin import standin
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from nyx_hf.checkpoint_files import CheckpointError
from nyx_hf.checkpoint_layouts import LAYOUTS, LayoutError
from nyx_hf.cli import app
from nyx_hf.folders import check_folder
from nyx_hf.import_card import ORIGINAL_CARD
from nyx_hf.import_checkpoint import import_checkpoint, plan_import
from nyx_hf.modeling.configuration_nyx import NyxSettings
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.trainer.tiny import make_tiny_vlm
from tests.fresh import run_fresh
from tests.pictures import noise_image

LARGE, SMALL = noise_image(300, 200, 3), noise_image(90, 60, 4)
ASKED = "Find an image."
# text, image and instruction; one image is under the least of some projects
CONTENTS: list[tuple[str, Image.Image | None, str]] = [
    ("a fox by the river", None, ""),
    ("a fox", None, ASKED),
    ("", LARGE, ""),
    ("", LARGE, "Find a text."),
    ("a fox", SMALL, ASKED),
    ("the quick brown fox", LARGE, ""),
]


@dataclass
class Imported:
    """A checkpoint and what became of it."""

    case: Case
    source: Path
    folder: Path

    @property
    def model(self) -> NyxModel:
        model: NyxModel = NyxModel.from_pretrained(self.folder)
        return model

    def expected(self) -> np.ndarray:
        return np.stack([self.case.vector(self.source, *content).numpy() for content in CONTENTS])


def encoded(model: NyxModel, contents: list[tuple[str, Image.Image | None, str]] = CONTENTS) -> np.ndarray:
    found = []
    for text, image, instruction in contents:
        item = {"text": text, "image": image} if text and image else text or image
        found.append(model.encode(item, prompt=instruction or None))
    return np.stack(found)


def distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.abs(left - right).max())


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Imported]:
    made = {}
    for name, case in CASES.items():
        root = tmp_path_factory.mktemp("import")
        source = case.make(root)
        base = str(root / "base") if case.is_adapter else None
        import_checkpoint(str(source), root / "out", base=base)
        made[name] = Imported(case, source, root / "out")
    return made


@pytest.mark.parametrize("name", CASES)
def test_the_vectors_are_those_of_the_projects_code(everything: dict[str, Imported], name: str) -> None:
    one = everything[name]
    assert distance(encoded(one.model), one.expected()) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_every_habit_matters(everything: dict[str, Imported], name: str) -> None:
    """With a habit left off, the vector of a small image with text and instruction is another one."""
    one, content = everything[name], CONTENTS[4]
    model, wanted = one.model, one.case.vector(one.source, *content).numpy()
    settings = model.settings
    for change in one.case.matter:
        model.settings = settings.updated(**change)
        assert distance(encoded(model, [content])[0], wanted) > 1e-3, change


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.is_adapter])
def test_the_adapters_updates_are_in_the_weights(everything: dict[str, Imported], name: str) -> None:
    one = everything[name]
    alone = NyxModel.from_backbone(one.source.parent / "base", one.model.settings)
    wanted = one.case.vector(one.source, *CONTENTS[4]).numpy()
    assert distance(encoded(alone, CONTENTS[4:5])[0], wanted) > 1e-3


@pytest.mark.parametrize("name", CASES)
def test_the_folder_says_what_it_is(everything: dict[str, Imported], name: str) -> None:
    one = everything[name]
    config = json.loads((one.folder / "config.json").read_text())
    saved = NyxSettings.from_dict(config["nyx"])
    wanted = plan_import(
        str(one.source), base=str(one.source.parent / "base") if one.case.is_adapter else None
    ).settings
    end = "<|endoftext|>" if name == "qwen3-vl-embedding" else wanted.end_token  # its tokenizer appended it
    assert saved.updated(code_hash="") == wanted.updated(end_token=end)
    assert config["auto_map"]["AutoModel"] == "modeling_nyx.NyxModel"
    card = (one.folder / "README.md").read_text()
    assert "imported with nyx_hf" in card and f"as layout `{one.case.layout}`" in card and str(one.folder) not in card
    assert not one.folder.with_name("out.part").exists()


FOR_STRANGERS = ("u-marvel", "rzenembed", "vlm2vec", "qwen3-vl-embedding")  # among them they have every habit


def test_strangers_get_the_same_vectors(everything: dict[str, Imported]) -> None:
    """A fresh process without nyx_hf: AutoModel, and SentenceTransformer with trust."""
    found = run_fresh(
        """
import numpy as np
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

small = np.random.default_rng(3).integers(0, 256, (4, 4, 3), dtype=np.uint8)
image = Image.fromarray(small).resize((300, 200), Image.Resampling.BICUBIC)
message = [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": "a fox"}]}]
vectors = {}
for folder in sys.argv[1:]:
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    sentences = SentenceTransformer(folder, device="cpu", trust_remote_code=True)
    own = model.encode([{"image": image, "text": "a fox"}], prompt="Find it.")
    vectors[folder] = [own.tolist(), sentences.encode([message], prompt="Find it.").tolist()]
report(vectors=vectors)
""",
        *(everything[name].folder for name in FOR_STRANGERS),
    )
    for name in FOR_STRANGERS:
        one = everything[name]
        wanted = one.case.vector(one.source, "a fox", LARGE, "Find it.").numpy()
        for vectors in found["vectors"][str(one.folder)]:
            assert distance(np.asarray(vectors[0]), wanted) < 1e-5, name


@pytest.mark.stock
def test_what_stock_modules_can_say_needs_no_trust(everything: dict[str, Imported]) -> None:
    plain = {name: one for name, one in everything.items() if not one.model.settings.needs_remote_code}
    assert list(plain) == ["nyx", "nyx adapter", "lamra-qwen2.5", "qwen3-vl-embedding"]
    found = run_fresh(
        """
from sentence_transformers import SentenceTransformer
vectors = [SentenceTransformer(folder, device="cpu").encode("a fox", prompt="Find it.").tolist()
           for folder in sys.argv[1:]]
report(vectors=vectors)
""",
        *(one.folder for one in plain.values()),
        stock=True,
    )
    for one, vector in zip(plain.values(), found["vectors"], strict=True):
        wanted = one.case.vector(one.source, "a fox", None, "Find it.").numpy()
        assert distance(np.asarray(vector), wanted) < 1e-5


def test_habits_are_checked_and_travel_as_json() -> None:
    for layout in LAYOUTS.values():
        assert NyxSettings.from_dict(json.loads(json.dumps(layout.habits.to_dict()))) == layout.habits
    marks = {"pooling": "mean", "mask_instruction": True}
    for changes, message in (
        ({"instruction_separator": " "}, "it needs instruction_in='text'"),
        ({"assistant_prompt": "<emb>."}, "they need chat=True"),
        ({"instruction_marks": ("<a>", "<b>")}, "need mask_instruction=True"),
        ({"instruction_marks": ("<a>",), **marks}, "they are two tokens"),
        ({"visual_format": "<image>"}, "it has {} once"),
        ({"instruction_in": "texts"}, "it is one of user | text | system"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            NyxSettings(**changes)
    NyxSettings(instruction_marks=("<a>", "<b>"), **marks)


def test_weights_keep_their_type(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path / "LamRA-Ret")
    weights = load_file(folder / "model.safetensors")
    save_file({key: value.bfloat16() for key, value in weights.items()}, folder / "model.safetensors")
    configured(folder, dtype="bfloat16")
    import_checkpoint(str(folder), tmp_path / "out")
    assert {str(value.dtype) for value in load_file(tmp_path / "out" / "model.safetensors").values()} == {
        "torch.bfloat16"
    }


# ---------------------------------------------------------------- what cannot be imported


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backbone under a name that says nothing."""
    return backbone(tmp_path_factory.mktemp("plain") / "retriever", "qwen2_vl")


def copied(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to)


def test_an_unknown_layout_says_what_was_looked_for(plain: Path) -> None:
    with pytest.raises(LayoutError) as caught:
        plan_import(str(plain))
    message = str(caught.value)
    assert "\n" not in message and "retriever is of no known layout: found model_type 'qwen2_vl'" in message
    assert "Qwen2VLForConditionalGeneration" in message and "model.embed_tokens.weight" in message
    assert "--layout" in message and all(f"{name}: " in message for name in LAYOUTS)
    assert plan_import(str(plain), layout="gme").layout is LAYOUTS["gme"]
    with pytest.raises(LayoutError, match="unknown layout 'gmee'; there are nyx, u-marvel"):
        plan_import(str(plain), layout="gmee")
    with pytest.raises(LayoutError, match="has model_type 'qwen2_vl', but layout nyx is of qwen2_5_vl"):
        plan_import(str(plain), layout="nyx")


def test_missing_and_left_over_weights_are_named(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path / "gme-Qwen2-VL-2B-Instruct")
    weights = load_file(folder / "model.safetensors")
    gone = "model.layers.1.mlp.up_proj.weight"
    stray = {"model.layers.7.mlp.up_proj.weight": weights[gone]}
    save_file({key: value for key, value in weights.items() if key != gone} | stray, folder / "model.safetensors")
    with pytest.raises(
        CheckpointError,
        match=r"1 missing: language_model\.layers\.1\.mlp\.up_proj\.weight; "
        r"1 left over: model\.layers\.7\.mlp\.up_proj\.weight",
    ):
        import_checkpoint(str(folder), tmp_path / "out")
    save_file({**weights, gone: weights[gone][:, :3].contiguous()}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="1 of another shape.*up_proj"):
        import_checkpoint(str(folder), tmp_path / "out")
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model.safetensors nor model.safetensors.index.json"):
        plan_import(str(folder))
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_a_folder_of_ours_needs_no_import(tiny_folder: Path) -> None:
    with pytest.raises(CheckpointError, match="tiny-nyx is a folder of ours already"):
        plan_import(str(tiny_folder), layout="nyx")


def test_embeddings_must_have_rows_for_added_tokens(tmp_path: Path) -> None:
    folder = make_tiny_vlm(tmp_path / "U-MARVEL", "qwen2_vl")
    with pytest.raises(ValueError, match=r"extra_tokens has <emb>, number 400 of the tokenizer, but the backbone"):
        import_checkpoint(str(folder), tmp_path / "out")


class TestAdapters:
    @pytest.fixture(scope="class")
    def adapter(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return nyx_adapter(tmp_path_factory.mktemp("adapters"))

    def test_a_base_that_is_elsewhere_is_asked_for(self, adapter: Path) -> None:
        with pytest.raises(CheckpointError, match="/share/Qwen-VL-Instruct is neither.*name it with --base"):
            plan_import(str(adapter))
        plan = plan_import(str(adapter), base=str(adapter.parent / "base"))
        assert plan.base is not None and plan.as_json()["base"] == str(adapter.parent / "base")
        with pytest.raises(CheckpointError, match="is a whole model.*leave out --base"):
            plan_import(str(adapter.parent / "base"), base="x/y", layout="nyx")

    @pytest.mark.parametrize(
        ("of", "to", "message"),
        [
            (
                "layers.1.self_attn.q_proj",
                "layers.9.self_attn.q_proj",
                r"layers\.9\.self_attn\.q_proj, which",
            ),
            ("1.self_attn.q_proj.lora_B", "1.self_attn.q_proj.lora_C", r"missing .*lora_B.*left over .*lora_C"),
        ],
    )
    def test_weights_that_do_not_fit_are_named(
        self, adapter: Path, tmp_path: Path, of: str, to: str, message: str
    ) -> None:
        broken = copied(adapter, tmp_path / "nyx-1")
        weights = load_file(broken / "adapter_model.safetensors")
        assert any(of in key for key in weights)
        save_file({key.replace(of, to): value for key, value in weights.items()}, broken / "adapter_model.safetensors")
        with pytest.raises(CheckpointError, match=message):
            import_checkpoint(str(broken), tmp_path / "out", base=str(adapter.parent / "base"))
        assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------- whole or not at all


def test_a_killed_import_leaves_no_folder(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nyx_hf.import_checkpoint.write_import_card", killed)
        with pytest.raises(KeyboardInterrupt):
            import_checkpoint(str(plain), tmp_path / "out", layout="lamra")
    assert not (tmp_path / "out").exists() and (tmp_path / "out.part" / "model.safetensors").is_file()
    (tmp_path / "out.part" / "stale").touch()
    import_checkpoint(str(plain), tmp_path / "out", layout="lamra")
    assert not (tmp_path / "out.part").exists() and not (tmp_path / "out" / "stale").exists()
    with pytest.raises(FileExistsError, match="out exists; name a new folder"):
        import_checkpoint(str(plain), tmp_path / "out", layout="lamra")


def test_licence_and_card_come_along(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path / "LamRA-Ret")
    (folder / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n\nPlease cite us.\n")
    (folder / "LICENSE").write_text("all the terms\n")
    import_checkpoint(str(folder), tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text()
    assert "license: cc-by-nc-4.0" in card and "`LamRA-Ret`, imported" in card and ORIGINAL_CARD in card
    assert "trained" not in card.split("## Use")[0] and check_folder(tmp_path / "out", "me/lamra").kind == "model"
    assert (tmp_path / "out" / "LICENSE").read_text() == "all the terms\n"
    assert "Please cite us." in (tmp_path / "out" / ORIGINAL_CARD).read_text()


def test_a_wrapper_and_its_class_are_recognised_too(plain: Path, tmp_path: Path) -> None:
    folder = copied(plain, tmp_path / "checkpoint-200")
    renamed(folder, lambda key: f"encoder.{key}")
    plan = plan_import(str(folder), layout="vlm2vec")
    assert plan.weights == len(load_file(folder / "model.safetensors")) and not plan.dropped
    with pytest.raises(CheckpointError, match=r"left over: encoder\.model\.embed_tokens\.weight"):
        plan_import(str(folder), layout="lamra")
    configured(folder, _name_or_path="somewhere/VLM2Vec-V2.0")
    assert plan_import(str(folder)).layout is LAYOUTS["vlm2vec"]


# ---------------------------------------------------------------- the command, and the Hub


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["import", *words])
    assert result.exit_code == code, result.output
    return result.output if code else result.stdout


def test_the_command(plain: Path, tmp_path: Path) -> None:
    assert list(json.loads(run("--list", "--json"))) == list(LAYOUTS)
    listed = run("--list").splitlines()
    assert len(listed) == len(LAYOUTS) and listed[0].startswith("nyx ")
    text = run(str(plain), "--layout", "gme", "--plan")
    assert "positions             'sequential'" in text and "round_images          True" in text
    plan = json.loads(run(str(plain), "--layout", "gme", "--plan", "--json"))
    assert plan["layout"] == "gme" and plan["settings"]["end_token"] == "<|endoftext|>" and plan["revision"] is None
    assert not list(tmp_path.iterdir())
    done = json.loads(run(str(plain), "--layout", "gme", "--out", str(tmp_path / "gme"), "--json"))
    assert done["folder"] == str(tmp_path / "gme") and (tmp_path / "gme" / "model.safetensors").is_file()
    assert run(str(plain), "--plan", code=1).startswith("error: retriever is of no known layout")
    assert run("no/such folder", "--plan", code=1).startswith("error: no/such folder is neither a folder nor")
    for words, what in (([], "REPO"), ([str(plain)], "--out")):
        assert what in run(*words, code=2)


HUB = """
import json, sys
from huggingface_hub import constants
from nyx_hf.import_checkpoint import import_checkpoint, plan_import
from pathlib import Path
plan = plan_import("maker/LamRA-Ret", revision="v1")
early = [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*.safetensors")]
import_checkpoint("maker/LamRA-Ret", "out", revision="v1")
print(json.dumps([plan.source.commit, plan.weights, early, str(Path("out").resolve())]))
"""


def test_a_repository_is_pinned_and_its_plan_fetches_no_weights(
    everything: dict[str, Imported], tmp_path: Path
) -> None:
    source = everything["lamra"].source
    with standin(tmp_path / "hub") as hub:
        hub.create("model", "maker/LamRA-Ret", False)
        repo = hub.repos["model", "maker/LamRA-Ret"]
        files = {path.name: path.read_bytes() for path in source.iterdir()}
        files["README.md"] = b"---\nlicense: apache-2.0\n---\n"
        commit = repo.commit("main", {name: hub.store(content) for name, content in files.items()}, "first")
        repo.tags["v1"] = commit
        repo.commit("main", {"config.json": hub.store(b"{}")}, "broken since")
        done = hub.python(HUB, tmp_path / "home")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found[:3] == [commit, len(load_file(source / "model.safetensors")), []]
    out = Path(found[3])
    card = (out / "README.md").read_text()
    assert commit in card and "base_model: maker/LamRA-Ret" in card and "license: apache-2.0" in card
    assert (out / "model.safetensors").read_bytes() == (everything["lamra"].folder / "model.safetensors").read_bytes()
