"""One folder, two doors: with trust our code, without it the plain VLM and sentence-transformers' stock modules."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nyx_hf.modeling.modeling_nyx import NyxModel
from tests.fresh import run_fresh
from tests.pictures import noise_image

# The same five contents in our forms and as messages, made anew in each process.
CONTENTS = """
import numpy as np
from PIL import Image

def noise(width, height, seed):
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)

def text(value):
    return {"type": "text", "text": value}

def image(value):
    return {"type": "image", "image": value}

one, two = noise(90, 40, 2), noise(33, 71, 3)
own = ["hello world", one, {"text": "see ", "image": one}, ("a ", one, " b ", two, " end")]
own += ["a longer text than others"]
parts = [
    [text("hello world")],
    [image(one)],
    [image(one), text("see ")],
    [text("a "), image(one), text(" b "), image(two), text(" end")],
    [text("a longer text than others")],
]
messages = [[{"role": "user", "content": content}] for content in parts]
"""


def expected(model: NyxModel, **kwargs: object) -> np.ndarray:
    one, two = noise_image(90, 40, 2), noise_image(33, 71, 3)
    own = ["hello world", one, {"text": "see ", "image": one}, ("a ", one, " b ", two, " end")]
    return np.asarray(model.encode([*own, "a longer text than others"], **kwargs))


@pytest.fixture(scope="module")
def folders(tiny_backbones: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Saved retrievers: every family, and every preset."""
    root = tmp_path_factory.mktemp("doors")
    made = {}
    for family, preset in (
        ("qwen2_5_vl", "nyx"),
        ("qwen2_vl", "rzenembed"),
        ("qwen3_vl", "nyx"),
        ("qwen2_vl", "u-marvel"),
        ("qwen2_5_vl", "nyx-official"),
        ("qwen3_vl", "rzenembed-official"),
        ("qwen3_vl", "qwen3-vl-embedding"),
    ):
        name = f"{family}-{preset}"
        NyxModel.from_backbone(tiny_backbones[family], preset).save_pretrained(root / name)
        made[name] = root / name
    return made


def test_with_trust_vectors_are_bit_equal_and_resaving_keeps_every_door(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    found = run_fresh(
        CONTENTS
        + """
from pathlib import Path
from transformers import AutoConfig, AutoModel, AutoProcessor
vectors, again, kinds = {}, {}, {}
for folder in map(Path, sys.argv[2:]):
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModel.from_pretrained(folder, trust_remote_code=True)
    vectors[folder.name] = model.encode(own, prompt="Find: ").tolist()
    kinds[folder.name] = [type(model).__module__.split(".")[0], type(processor).__name__, config.nyx["preset"]]
    model.save_pretrained(Path(sys.argv[1]) / folder.name)
    second = AutoModel.from_pretrained(Path(sys.argv[1]) / folder.name, trust_remote_code=True)
    again[folder.name] = second.encode(own, prompt="Find: ").tolist()
    batch = processor.process(own, prompt="Find: ")
    with torch.inference_mode():
        direct = torch.nn.functional.normalize(model(**batch).embeddings, dim=-1)
    assert np.abs(direct.numpy() - vectors[folder.name]).max() < 1e-5
try:
    import nyx_hf
except ImportError:
    report(vectors=vectors, again=again, kinds=kinds)
""",
        tmp_path,
        *folders.values(),
    )
    for name, folder in folders.items():
        wanted = expected(NyxModel.from_pretrained(folder), prompt="Find: ")
        assert np.array_equal(np.asarray(found["vectors"][name], dtype=np.float32), wanted)
        assert np.array_equal(np.asarray(found["again"][name], dtype=np.float32), wanted)
        assert found["kinds"][name] == ["transformers_modules", "NyxProcessor", name.split("_vl-")[1]]
        for path in (p for p in folder.rglob("*") if p.is_file()):
            copy = tmp_path / name / path.relative_to(folder)
            assert copy.read_bytes() == path.read_bytes(), f"{path.name} changed when saved again"


def test_without_trust_it_is_the_plain_vlm(folders: dict[str, Path]) -> None:
    found = run_fresh(
        """
from transformers import AutoModel, AutoModelForImageTextToText
kinds = []
for folder in sys.argv[1:]:
    model, info = AutoModel.from_pretrained(folder, trust_remote_code=False, output_loading_info=True)
    kinds.append([type(model).__module__, len(info["missing_keys"]), len(info["unexpected_keys"]),
                  model.config.get_text_config().is_causal])
report(kinds=kinds)
""",
        *folders.values(),
    )
    for name, (module, missing, unexpected, causal) in zip(folders, found["kinds"], strict=True):
        assert module.startswith(f"transformers.models.{name.split('-')[0]}")
        assert (missing, unexpected) == (0, 0)
        assert causal == ("u-marvel" not in name)


@pytest.mark.stock
def test_sentence_transformers_without_trust_gives_the_same_vectors(folders: dict[str, Path]) -> None:
    """Difference 0 in the same batch, for every setting that stock modules can express; prompts and width too."""
    plain = [f for name, f in folders.items() if "u-marvel" not in name and "rzenembed-official" not in name]
    found = run_fresh(
        CONTENTS
        + """
from pathlib import Path
from sentence_transformers import SentenceTransformer
vectors = {}
for folder in sys.argv[1:]:
    model = SentenceTransformer(folder, device="cpu")
    assert type(model[0].model).__module__.startswith("transformers.models."), type(model[0].model)
    short = SentenceTransformer(folder, device="cpu", truncate_dim=16).encode(messages, normalize_embeddings=True)
    alone = [model.encode(one) for one in ("hello world", one, {"image": one, "text": "see "}, messages[3])]
    vectors[Path(folder).name] = {
        "bare": model.encode(messages).tolist(),
        "prompt": model.encode(messages, prompt="Find: ").tolist(),
        "query": model.encode_query(messages).tolist(),
        "short": short.tolist(),
        "alone": np.stack(alone).tolist(),
    }
report(vectors=vectors)
""",
        *plain,
        stock=True,
    )
    for folder in plain:
        model = NyxModel.from_pretrained(folder)
        theirs = {key: np.asarray(v, dtype=np.float32) for key, v in found["vectors"][folder.name].items()}
        assert np.array_equal(theirs["bare"], expected(model))
        assert np.array_equal(theirs["prompt"], expected(model, prompt="Find: "))
        assert np.array_equal(theirs["query"], expected(model, prompt_name="query"))
        assert np.abs(theirs["short"] - expected(model, truncate_dim=16)).max() < 1e-5
        assert np.abs(theirs["alone"] - expected(model)[:4]).max() < 1e-5
        assert np.abs(theirs["bare"] - theirs["prompt"]).max() > 1e-3


def test_sentence_transformers_with_trust_gives_every_setting(folders: dict[str, Path]) -> None:
    """Without torchvision: our processor serves sentence-transformers too. Videos included."""
    found = run_fresh(
        CONTENTS
        + """
from pathlib import Path
from sentence_transformers import SentenceTransformer
vectors, video = {}, [[{"role": "user", "content": [{"type": "video", "video": [one, one, one]}, text("go")]}]]
for folder in sys.argv[1:]:
    model = SentenceTransformer(folder, device="cpu", trust_remote_code=True)
    again = Path(folder).parent / ("st-" + Path(folder).name)
    vectors[Path(folder).name] = {
        "prompt": model.encode(messages, prompt="Find: ").tolist(), "video": model.encode(video).tolist()}
report(vectors=vectors)
""",
        *folders.values(),
    )
    for name, folder in folders.items():
        model = NyxModel.from_pretrained(folder)
        theirs = found["vectors"][name]
        assert np.array_equal(np.asarray(theirs["prompt"], dtype=np.float32), expected(model, prompt="Find: "))
        one = noise_image(90, 40, 2)
        assert (
            np.abs(np.asarray(theirs["video"]) - model.encode([({"type": "video", "video": [one] * 3}, "go")])).max()
            < 1e-6
        )


@pytest.mark.stock
def test_a_model_that_needs_trust_says_so_instead_of_other_vectors(folders: dict[str, Path]) -> None:
    found = run_fresh(
        """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
try:
    model.encode("x")
except AttributeError as error:
    report(error=str(error))
""",
        folders["qwen2_vl-u-marvel"],
        stock=True,
    )
    assert "embeddings" in found["error"]


@pytest.mark.stock
def test_habits_that_are_sentence_transformers_own(folders: dict[str, Path], tmp_path: Path) -> None:
    """docs/sentence-transformers.md tells users of these: they are not ours, and `encode` does not have them."""
    noise_image(40, 40, 1).save(tmp_path / "cat.png")
    found = run_fresh(
        CONTENTS
        + """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
path = sys.argv[2]
mixed = model.encode([messages[0], "plain"])
report(
    path_is_image=bool(np.allclose(model.encode(path), model.encode(Image.open(path)), atol=1e-6)),
    norm=float(np.linalg.norm(SentenceTransformer(sys.argv[1], device="cpu", truncate_dim=16).encode("x"))),
    mixing_changes=float(np.abs(mixed[0] - model.encode(messages[0])).max()),
)
""",
        folders["qwen2_5_vl-nyx"],
        tmp_path / "cat.png",
        stock=True,
    )
    assert found["path_is_image"]  # a string that looks like a path is opened; for us it is always text
    assert found["norm"] < 0.99  # its truncation leaves vectors shorter than 1
    assert found["mixing_changes"] > 1e-3  # messages beside bare strings in one batch lose their content
    model = NyxModel.from_pretrained(folders["qwen2_5_vl-nyx"])
    assert np.abs(model.encode(str(tmp_path / "cat.png")) - model.encode(tmp_path / "cat.png")).max() > 1e-3
    assert np.linalg.norm(model.encode("x", truncate_dim=16)) == pytest.approx(1, abs=1e-5)


def test_a_transformers_too_old_gets_one_line(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["qwen2_5_vl-nyx"], tmp_path / "newer")
    code = folder / "configuration_nyx.py"
    needs = "MINIMUM_TRANSFORMERS = (5, 17)"
    assert needs in code.read_text()
    code.write_text(code.read_text().replace(needs, "MINIMUM_TRANSFORMERS = (99, 0)"))
    found = run_fresh(
        """
from transformers import AutoModel
try:
    AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
except ImportError as error:
    report(error=str(error))
""",
        folder,
    )
    assert found["error"].startswith("this model's code needs transformers>=99.0, found 5.")
    assert found["error"].endswith("pip install -U 'transformers>=99.0'")
    assert "\n" not in found["error"]


def test_the_folder_says_what_it_is(folders: dict[str, Path], tiny_backbones: dict[str, Path]) -> None:
    folder = folders["qwen2_5_vl-nyx"]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "qwen2_5_vl"
    assert config["architectures"] == ["Qwen2_5_VLModel"]
    assert config["auto_map"] == {
        "AutoModel": "modeling_nyx.NyxModel",
        "AutoProcessor": "processing_nyx.NyxProcessor",
    }
    assert config["matryoshka_dimensions"] == [64, 32, 16, 8]
    processor = json.loads((folder / "processor_config.json").read_text())
    assert processor["processor_class"] == "Qwen2_5_VLProcessor"
    assert processor["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"
    stock = json.loads((tiny_backbones["qwen2_5_vl"] / "preprocessor_config.json").read_text())
    assert processor["image_processor"]["patch_size"] == stock["patch_size"]
    sources = {p.name for p in (Path(__file__).parent.parent / "modeling").glob("*_nyx.py")}
    assert {p.name for p in folder.glob("*.py")} == sources
    assert shutil.which("git") is None or not list(folder.rglob("__pycache__"))
