"""Every line of code in README.md works: each is run as it stands, or checked as far as a machine offline can."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image
from test_nyxqa import manual
from typer.testing import CliRunner

import nyx_hf
from nyx_hf import NyxModel, TripletDataset, cli
from nyx_hf.checkpoint_layouts import LAYOUTS
from nyx_hf.data_builders.digits import build_digits
from nyx_hf.data_builders.registry import BUILDERS
from nyx_hf.folders import check_folder
from nyx_hf.model_cards.citations import CITATIONS
from nyx_hf.model_cards.papers import paper_index_markdown
from nyx_hf.modeling.configuration_nyx import PRESETS
from nyx_hf.modeling.content_nyx import content_modalities, parse_content
from nyx_hf.suites import SUITES
from nyx_hf.trainer import launch, training_run
from nyx_hf.trainer.reranker_arguments import parse_reranker_run
from nyx_hf.trainer.run_arguments import parse_run
from nyx_hf.trainer.tiny import make_tiny_vlm
from tests.fresh import run_fresh
from tests.pictures import noise_image

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
PYTHON = [code for language, code in BLOCKS if language == "python"]
LINES = [line for language, code in BLOCKS if language == "bash" for line in code.splitlines()]
BACKBONE = "Qwen/Qwen2.5-VL-3B-Instruct"

HABITS = """
from PIL import Image
photo = Image.open("runs/quickstart/gallery.png")
orders = [plain.encode({"image": photo, "text": "see "}), plain.encode({"text": "see ", "image": photo})]
try:
    plain.encode([("a ", photo, "b")])
    triple = "a vector"
except Exception as error:
    triple = repr(error)
report(
    vectors=vectors.tolist(),
    orders=[vector.tolist() for vector in orders],
    special=plain.encode("a <|im_end|> b").tolist(),
    tuple=plain.encode(("a ", "b")).shape,
    triple=triple,
)
"""

# which test runs which Python block, by its place
EMBED, WITH_TRUST, WITHOUT_TRUST, FROM_BACKBONE, OWN_DATA = range(5)


def tables() -> dict[str, list[list[str]]]:
    """Rows of every table, by the head of its first column."""
    found: dict[str, list[list[str]]] = {}
    for block in re.findall(r"(?:^\|.*\|\n)+", README, re.M):
        head, _, *rows = ([cell.strip() for cell in line.strip("|").split(" | ")] for line in block.splitlines())
        found[head[0].strip("| ")] = [[cell.strip("| ") for cell in row] for row in rows]
    return found


@pytest.fixture(scope="module")
def quickstart(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds what `make quickstart` leaves, at a small size."""
    root = tmp_path_factory.mktemp("readme")
    made = root / "runs" / "quickstart"
    made.mkdir(parents=True)
    (made / "model").symlink_to(tiny_folder, target_is_directory=True)
    noise_image(90, 60).save(made / "gallery.png")
    build_digits(made / "dataset", train_documents=40, test_documents=12)
    return root


@pytest.fixture(scope="module")
def names(quickstart: Path, tiny_backbones: dict[str, Path]) -> dict[int, dict[str, Any]]:
    """Runs the Python blocks in the README's order, and gives the names that there are after each."""
    found: dict[str, Any] = {}
    after: dict[int, dict[str, Any]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(quickstart)
        # load_dataset's cache knows a folder by its bare name: another run's rows would come back
        patch.setattr("datasets.config.HF_DATASETS_CACHE", str(quickstart / "cache"))
        for place, code in enumerate(PYTHON):
            if place == WITHOUT_TRUST:
                continue  # has a process of its own
            code = code.replace(f'"{BACKBONE}"', repr(str(tiny_backbones["qwen2_5_vl"])))
            with redirect_stdout(StringIO()) as printed:
                exec(compile(code, f"README.md, Python block {place}", "exec"), found)
            after[place] = {**found, "printed": printed.getvalue()}
    return after


class TestCoverage:
    """A block or a line that no test claims fails here."""

    def test_blocks_are_python_or_bash(self) -> None:
        assert {language for language, _ in BLOCKS} == {"python", "bash"}
        assert README.count("```") == 2 * len(BLOCKS)

    def test_python_blocks_are_the_claimed_ones(self) -> None:
        marks = {
            EMBED: "AutoModel.from_pretrained",
            WITH_TRUST: "SentenceTransformer(",
            WITHOUT_TRUST: "plain = SentenceTransformer(",
            FROM_BACKBONE: "NyxModel.from_backbone(",
            OWN_DATA: "write_dataset(",
        }
        assert len(PYTHON) == len(marks)
        for place, mark in marks.items():
            assert mark in PYTHON[place]

    def test_every_command_is_claimed_once(self) -> None:
        assert list(COMMANDS) == LINES


class TestPython:
    def test_embedding(self, names: dict[int, dict[str, Any]]) -> None:
        after = names[EMBED]
        assert after["one"].shape == (64,) and after["many"].shape == (7, 64) and after["short"].shape == (1, 32)
        assert np.allclose(np.linalg.norm(after["many"], axis=1), 1, atol=1e-5)
        assert np.linalg.norm(after["short"]) == pytest.approx(1, abs=1e-5)
        assert np.abs(after["many"][0] - after["one"]).max() < 1e-5
        assert np.abs(after["many"][1] - after["many"][2]).max() < 1e-5  # the photo, and the file it is in
        assert np.abs(after["many"][0] - after["many"][3]).max() > 1e-3
        assert tuple(after["scores"].shape) == (1, 2)
        assert after["good"].indices == [0] and [failure.index for failure in after["good"].failures] == [1]

    def test_sentence_transformers_with_trust(self, names: dict[int, dict[str, Any]]) -> None:
        after = names[WITH_TRUST]
        wanted = names[EMBED]["model"].encode([("see ", after["photo"])])
        assert np.abs(after["vectors"] - wanted).max() < 1e-5

    @pytest.mark.stock
    def test_sentence_transformers_without_trust(self, names: dict[int, dict[str, Any]], quickstart: Path) -> None:
        """And habits that docs/sentence-transformers.md tells of; others are in tests/test_doors.py."""
        script = "import os\nos.chdir(sys.argv[1])\n" + PYTHON[WITHOUT_TRUST] + HABITS
        found = run_fresh(script, quickstart, stock=True)
        assert np.abs(np.asarray(found["vectors"]) - names[EMBED]["queries"]).max() < 1e-5

        model = NyxModel.from_pretrained(quickstart / "runs" / "quickstart" / "model")
        photo = names[EMBED]["photo"]
        image_first, text_first = map(np.asarray, found["orders"])
        assert np.abs(image_first - text_first).max() > 1e-3  # a dict's own order counts
        assert np.abs(image_first - model.encode({"text": "see ", "image": photo})).max() < 1e-5
        assert np.abs(text_first - model.encode(("see ", photo))).max() < 1e-5
        assert np.abs(np.asarray(found["special"]) - model.encode("a <|im_end|> b")).max() > 1e-3
        assert (found["tuple"], model.encode(("a ", "b")).shape) == ([2, 64], (64,))  # a batch; one content
        assert found["triple"].startswith("ValueError") or found["triple"].startswith("TypeError"), found["triple"]

    def test_a_retriever_of_a_backbone(self, names: dict[int, dict[str, Any]], quickstart: Path) -> None:
        model = names[FROM_BACKBONE]["model"]
        assert (model.settings.preset, model.settings.max_length) == ("nyx", 4096)
        assert (quickstart / "my-retriever" / "modeling_nyx.py").is_file()

    def test_own_data(self, names: dict[int, dict[str, Any]], quickstart: Path) -> None:
        printed = names[OWN_DATA]["printed"]
        assert "'query_id': 'q1'" in printed
        assert re.findall(r"(\w+): Dataset|num_rows: (\d+)", printed) == [
            ("train", ""),
            ("", "40"),
            ("test", ""),
            ("", "12"),
        ]
        row = names[OWN_DATA]["TripletDataset"].load(quickstart / "my-dataset")[0]
        assert row["positive_ids"] == ["d1"] and row["negative_ids"] == ["d2"]
        assert isinstance(row["positives"][0]["content"][1]["image"], Image.Image)


# ---------------------------------------------------------------- commands


def run_cli(line: str) -> Any:
    program, *words = shlex.split(line)
    assert program == "nyx-hf"
    return CliRunner().invoke(cli.app, words, prog_name=program)


def make(line: str, told: SimpleNamespace) -> None:
    """The target is there, and comes down to the command that has tests of its own."""
    program, target = line.split()
    asked = [program, "-n", "--no-print-directory", target]  # these tests may run under make themselves
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    last = {"quickstart": "nyx-hf quickstart", "test": "-m pytest"}[target]
    assert last in done.stdout.strip().splitlines()[-1]


def pip_install(line: str, told: SimpleNamespace) -> None:
    """What pip would fetch is this project; that it builds is tests/test_packaging.py's."""
    program, command, address = shlex.split(line)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirement = Requirement(f"{project['name']} @ {address}")
    assert (program, command) == ("pip", "install") and requirement.url == "git+https://github.com/your-name/nyx_hf"
    [extras] = re.findall(r"Extras: (.*?)\.\n", README, re.S)
    assert set(re.findall(r"`(\w+)`", extras)) == set(project["optional-dependencies"]) - {"dev"}


def quickstart_command(line: str, told: SimpleNamespace) -> None:
    """It parses and calls the run, which has a test of its own, with the folder that the README names."""
    called: list[Any] = []
    told.patch.setitem(sys.modules, "nyx_hf.quickstart", SimpleNamespace(run_quickstart=lambda *a: called.append(a)))
    assert run_cli(line).exit_code == 0
    assert called == [(Path("runs/quickstart"), 0, None)]


def doctor(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code in (0, 1) and result.output.startswith("packages\n")
    assert re.search(r"^  ok +transformers ", result.output, re.M) and "\nextras\n" in result.output


def launched(line: str, told: SimpleNamespace) -> list[list[str]]:
    """The processes that a command would start."""
    commands: list[list[str]] = []

    def note(command: list[str], check: bool) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0)

    told.patch.setattr(launch, "subprocess", SimpleNamespace(run=note))
    assert run_cli(line).exit_code == 0
    return commands


def train_here(line: str, told: SimpleNamespace) -> None:
    """The launcher gets the script and the recipe; the same recipe is run by tests/test_recipes.py."""
    [command] = launched(line, told)
    assert command[command.index("--config") - 1] == str(ROOT / "trainer" / "train.py")
    assert command[command.index("--config") + 1] == str(ROOT / "trainer" / "recipes" / "digits.yaml")


def train_own(line: str, told: SimpleNamespace) -> None:
    """Trained for real: the same words, on the dataset that the Python block before it wrote, with a tiny model."""
    program, command, recipe, *words = shlex.split(line)
    assert (program, command) == ("nyx-hf", "train")
    smoke = ["smoke=true", "output_dir=trained", "per_device_train_batch_size=2"]
    assert training_run.main(["--config", recipe, *words, *smoke]) == 0
    card = Path("trained/README.md").read_text(encoding="utf-8")
    assert "my-dataset" in card and "recall@1" in card and "cc-by-4.0" in card
    assert check_folder(Path("trained"), "your-name/my-retriever").kind == "model"


def accelerate_smoke(line: str, told: SimpleNamespace) -> None:
    program, command, *words = shlex.split(line)
    assert (program, command) == ("accelerate", "launch")
    out = told.quickstart / f"smoke-{len(words)}"
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.launch", *words, f"output_dir={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    states = list((out / "checkpoint-2").glob("rng_state*.pth"))  # one a process
    assert len(states) == (2 if "--multi_gpu" in words else 1)
    assert {"model.safetensors", "README.md"} <= {path.name for path in out.iterdir()}


def train_plan(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code == 0 and BACKBONE in result.output and "GiB on each GPU" in result.output


def train_stages(line: str, told: SimpleNamespace) -> None:
    """Both stages are started, each from the folder before it; tests/test_launch.py runs them."""
    first, second = launched(line, told)
    stages = [Path(command[command.index("--config") + 1]).stem for command in (first, second)]
    assert stages == ["nyx_pretrain", "nyx_feedback"]
    assert "smoke=true" in first and "model=runs/nyx-both-smoke/nyx_pretrain" in second


def train_full(line: str, told: SimpleNamespace) -> None:
    """Too large to run: the launcher and the script both read it, and its recipe is the one run below."""
    from accelerate.commands.launch import launch_command_parser

    told.patch.setattr(launch.torch.accelerator, "is_available", lambda: True)
    told.patch.setattr(launch.torch.accelerator, "device_count", lambda: 8)
    [command] = launched(line, told)
    read = launch_command_parser().parse_args(command[3:])
    assert read.num_processes == 8 and read.config_file.endswith("zero2.yaml") and Path(read.training_script).is_file()
    run = parse_run([*read.training_script_args, "use_cpu=true"])
    assert run.model.model == BACKBONE and run.model.preset == "nyx"


def build_list(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code == 0 and [row.split()[0] for row in result.output.splitlines()[2:]] == list(BUILDERS)


def build_plan(line: str, told: SimpleNamespace) -> None:
    site()
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    assert re.search(r"^pages +15$", result.output, re.M) and "disk for the dataset" in result.output
    assert not Path("data/planned").exists()


def build_own(line: str, told: SimpleNamespace) -> None:
    site()
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    assert {"corpus", "queries", "triplets"} <= {path.name for path in Path("data/nyxqa/data").iterdir()}
    assert TripletDataset.load("data/nyxqa")[0]["negatives"]


def mine_own(line: str, told: SimpleNamespace) -> None:
    made_nyxqa(told)
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    assert Path("data/nyxqa-hard/images/scores.png").is_file()
    assert len(TripletDataset.load("data/nyxqa-hard")[0]["negative_scores"]) > 0


def export_own(line: str, told: SimpleNamespace) -> None:
    if not Path("data/nyxqa-hard").exists():
        mine_own("nyx-hf mine data/nyxqa --model runs/quickstart/model --out data/nyxqa-hard", told)
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    first = json.loads(Path("exported/train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["positive_messages"] and first["negative_messages"]


def answer_one(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code == 0 and re.match(r"\w+ \w+\n", result.stdout), result.output
    assert "test-d" in result.stdout


def feedback_own(line: str, told: SimpleNamespace) -> None:
    made_nyxqa(told)
    result = run_cli(line)
    assert result.exit_code == 0 and "windows of documents" in result.output, result.output
    assert TripletDataset.load("data/nyxqa-feedback")[0]["positives"]


def evaluate_list(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code == 0 and [row.split()[0] for row in result.output.splitlines()[2:]] == list(SUITES)


def evaluate_own(line: str, told: SimpleNamespace) -> None:
    made_nyxqa(told)
    result = run_cli(line)
    assert result.exit_code == 0 and "bm25" in result.output, result.output
    assert {"results.json", "results.md", "flows.png"} <= {path.name for path in Path("results").iterdir()}


def adapt_plan(line: str, told: SimpleNamespace) -> None:
    site()
    result = run_cli(line)
    assert result.exit_code == 0 and re.search(r"^pages +15$", result.output, re.M), result.output
    assert not Path("runs/my-site").exists()


def made_nyxqa(told: SimpleNamespace) -> None:
    """Each line may run in a process of its own."""
    if not Path("data/nyxqa").exists():
        build_own("nyx-hf build nyxqa --source html:my-site --out data/nyxqa", told)


def site() -> None:
    """The pages that the README speaks of."""
    if not Path("my-site").exists():
        manual(Path("my-site"))


def index_own(line: str, told: SimpleNamespace) -> None:
    if not Path("index").exists():
        result = run_cli(line)
        assert result.exit_code == 0, result.output
    assert Path("index/index.json").is_file()


def search_own(line: str, told: SimpleNamespace) -> None:
    index_own("nyx-hf index runs/quickstart/dataset --model runs/quickstart/model --out index", told)
    result = run_cli(line)
    assert result.exit_code == 0 and "three one four" in Path("found.html").read_text(encoding="utf-8"), result.output


def serve_own(line: str, told: SimpleNamespace) -> None:
    """It opens what tests/test_serving.py serves."""
    index_own("nyx-hf index runs/quickstart/dataset --model runs/quickstart/model --out index", told)
    served: list[Any] = []
    told.patch.setattr("nyx_hf.serving_command.run_serve", lambda *args, **kwargs: served.append((args, kwargs)))
    result = run_cli(line)
    assert result.exit_code == 0 and len(served) == 1, result.output


def train_reranker_full(line: str, told: SimpleNamespace) -> None:
    """It settles to a run; tests/test_reranker_training.py trains one."""
    words = shlex.split(line)
    run = parse_reranker_run(words[2], words[4], words[6], ["smoke=true"])
    assert run.model.model_name_or_path == BACKBONE and run.training.output_dir == "runs/reranker"


def rerank_own(line: str, told: SimpleNamespace) -> None:
    made_hard(told)
    result = run_cli(line)
    assert result.exit_code == 0 and "fused" in result.output, result.output
    assert Path("reranked/ranking.parquet").is_file()


def distill_own(line: str, told: SimpleNamespace) -> None:
    made_hard(told)
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    assert TripletDataset.load("data/nyxqa-taught")[0]["positive_recall_scores"]


def made_hard(told: SimpleNamespace) -> None:
    """Mined data, and a reranker's folder: the plain backbone, as it judges without training."""
    if not Path("data/nyxqa-hard").exists():
        mine_own("nyx-hf mine data/nyxqa --model runs/quickstart/model --out data/nyxqa-hard", told)
    if not Path("runs/reranker").exists():
        make_tiny_vlm(Path("runs/reranker"))


def import_list(line: str, told: SimpleNamespace) -> None:
    result = run_cli(line)
    assert result.exit_code == 0 and all(name in result.output for name in LAYOUTS), result.output


def push(line: str, told: SimpleNamespace) -> None:
    """It parses into what tests/test_hub.py pushes to a stand-in of the Hub; the dataset is ready to go."""
    called: list[Any] = []

    def note(*args: Any, **kwargs: Any) -> SimpleNamespace:
        called.append((args, kwargs))
        return SimpleNamespace(oid="0", commit_url="url")

    told.patch.setattr("nyx_hf.hub.push_to_hub", note)
    result = run_cli(line)
    assert result.exit_code == 0, result.output
    [((folder, repo_id), options)] = called
    words = shlex.split(line)
    assert [str(folder), repo_id] == words[2:4] and options["private"] is None
    assert options["tag"] == (words[5] if "--tag" in words else None)
    if folder.name == "dataset":
        assert check_folder(folder, repo_id).kind == "dataset"


COMMANDS: dict[str, Callable[[str, SimpleNamespace], None]] = {
    "make quickstart": make,
    "make test": make,
    "pip install git+https://github.com/your-name/nyx_hf": pip_install,
    "nyx-hf quickstart": quickstart_command,
    "nyx-hf doctor": doctor,
    "nyx-hf train digits": train_here,
    "nyx-hf train nyx_pretrain --plan": train_plan,
    "nyx-hf train nyx smoke=true": train_stages,
    "nyx-hf train nyx_pretrain -n 8": train_full,
    "accelerate launch trainer/train.py --config trainer/recipes/nyx_pretrain.yaml smoke=true": accelerate_smoke,
    "accelerate launch --multi_gpu --num_processes 2 trainer/train.py --config trainer/recipes/nyx_pretrain.yaml "
    "smoke=true": accelerate_smoke,
    "nyx-hf train nyx_pretrain datasets=my-dataset eval_dataset=my-dataset eval_split=train": train_own,
    "nyx-hf build --list": build_list,
    "nyx-hf build nyxqa --source html:my-site --plan": build_plan,
    "nyx-hf build nyxqa --source html:my-site --out data/nyxqa": build_own,
    "nyx-hf mine data/nyxqa --model runs/quickstart/model --out data/nyxqa-hard": mine_own,
    "nyx-hf export data/nyxqa-hard ms-swift --out exported": export_own,
    'nyx-hf answer runs/quickstart/dataset "Whose code is three one four?" --model runs/quickstart/model '
    "--answerer digits": answer_one,
    "nyx-hf feedback data/nyxqa --model runs/quickstart/model --answerer extractive --out data/nyxqa-feedback": (
        feedback_own
    ),
    "nyx-hf evaluate --list": evaluate_list,
    "nyx-hf evaluate urag --model runs/quickstart/model --sets own=data/nyxqa --retrievers bm25 --out results": (
        evaluate_own
    ),
    "nyx-hf adapt html:my-site --model runs/quickstart/model --out runs/my-site --plan": adapt_plan,
    "nyx-hf index runs/quickstart/dataset --model runs/quickstart/model --out index": index_own,
    'nyx-hf search index "Whose code is three one four?" -k 3 --html found.html': search_own,
    "nyx-hf serve index --port 8000": serve_own,
    f"nyx-hf train-reranker data/nyxqa-hard --base {BACKBONE} --out runs/reranker": train_reranker_full,
    "nyx-hf rerank data/nyxqa-hard --model runs/quickstart/model --reranker runs/reranker --out reranked": rerank_own,
    "nyx-hf distill data/nyxqa-hard --reranker runs/reranker --fraction 0.5 --out data/nyxqa-taught": distill_own,
    "nyx-hf import --list": import_list,
    "nyx-hf push runs/quickstart/model your-name/nyx-digits --tag v1": push,
    "nyx-hf push runs/quickstart/dataset your-name/nyx-digits": push,
}


@pytest.mark.parametrize("line", COMMANDS)
def test_command(
    line: str,
    names: dict[int, dict[str, Any]],
    quickstart: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(quickstart)
    told = SimpleNamespace(quickstart=quickstart, patch=monkeypatch)
    COMMANDS[line](line, told)


# ---------------------------------------------------------------- tables, links, pages made from code


def test_every_form_in_the_table_is_accepted(names: dict[int, dict[str, Any]]) -> None:
    rows = tables()["form"]
    assert len(rows) == 9
    found = []
    for form, *_ in rows:
        item = eval(form.strip("`"), dict(names[EMBED]))
        found.append(sorted(content_modalities(parse_content(item))))
    assert found == [
        ["text"],
        ["image"],
        ["video"],
        *[["image", "text"]] * 2,
        ["text", "video"],
        *[["image", "text"]] * 3,
    ]


def test_presets_are_the_ones_there_are() -> None:
    rows = {row[0].strip("`"): row[1:] for row in tables()["preset"]}
    assert list(rows) == list(PRESETS)
    for name, (pooling, attention, around) in rows.items():
        base = rows[name.removesuffix("-official")][0]
        assert (base if pooling.startswith("as ") else pooling).startswith(PRESETS[name].pooling)
        assert attention == PRESETS[name].attention
        assert ("sequential" in around) == (PRESETS[name].positions == "sequential")
    [without] = [row for row in tables()["door"] if row[0] == "`SentenceTransformer`"]
    plain = {name for name, settings in PRESETS.items() if not settings.needs_remote_code}
    assert set(re.findall(r"`([\w-]+)`", without[2])) == plain


def test_folders_are_the_ones_there_are() -> None:
    named = {name for row in tables()["folder"] for name in re.findall(r"`(\w+)/`", row[0])}
    assert named == {p.parent.name for p in ROOT.glob("*/*.py") if p.parent.name != "build"} | {"docs"}


@pytest.mark.parametrize("page", ["README.md", *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            known = any(f"{{{target.rpartition('/')[2]}}}" in entry for entry in CITATIONS.values())
            assert known and target.startswith("https://arxiv.org/abs/"), f"{page}: {target} is in no citation"
        else:
            assert (ROOT / page).parent.joinpath(target.partition("#")[0]).exists(), f"{page}: {target} is not there"


def test_papers_page_is_the_index() -> None:
    assert (ROOT / "docs" / "papers.md").read_text(encoding="utf-8") == paper_index_markdown()


def test_settings_page_names_every_setting() -> None:
    page = (ROOT / "docs" / "model-folder.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.M)
    assert named == list(nyx_hf.NyxSettings.__dataclass_fields__)


def test_folder_page_names_every_file(tiny_folder: Path) -> None:
    page = (ROOT / "docs" / "model-folder.md").read_text(encoding="utf-8")
    files = {path.relative_to(tiny_folder).as_posix() for path in tiny_folder.rglob("*") if path.is_file()}
    files = {name for name in files if not name.endswith("_nyx.py") and "__pycache__" not in name}
    assert files
    for name in files:
        assert f"`{name}`" in page, f"{name} is in a saved folder and not on the page"
