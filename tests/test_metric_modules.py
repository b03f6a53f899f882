"""Evaluation modules: they load where nyx_hf is not installed, from a folder and from a Space, and give its values."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh import run_fresh
from hub_standin import Standin, standin
from huggingface_hub import SpaceCard
from test_metrics import random_case

from nyx_hf.data_builders.answer_metrics import answer_scores
from nyx_hf.data_builders.metrics import aggregate, ranking_metrics
from nyx_hf.folders import HubError
from nyx_hf.metric_modules import METRIC_MODULES, metric_module_files, push_metric_module, write_metric_module
from nyx_hf.model_cards.citations import CITATIONS

ROOT = Path(__file__).resolve().parent.parent

QA: dict[str, Any] = {
    "predictions": ["the Eiffel Tower", "ROME", "x y", "", "!", "Ünïted"],
    "references": [["Eiffel Tower in Paris", "tower"], ["Rome"], ["y z", "x"], ["Paris"], ["?"], ["ünïted", "a"]],
    "options": [None, ["Paris", "Rome"], None, ["Paris", "Rome"], ["?", "!"], None],
}

# computes each metric from its folder: as a mean, a query at a time, and again after an error
COMPUTE = """
import evaluate
folder, cases = sys.argv[1], json.loads(sys.argv[2])
found = {}
for name, arguments in cases.items():
    metric = evaluate.load(f"{folder}/{name}")
    means = metric.compute(**arguments)
    each = metric.compute(**arguments, per_query=True)
    try:
        metric.compute(predictions=arguments["predictions"][:1], references=[[]])
    except ValueError as error:
        message = str(error)
    assert metric.compute(**arguments) == means
    metric.add_batch(predictions=arguments["predictions"][:2], references=arguments["references"][:2])
    metric.add(prediction=arguments["predictions"][2], reference=arguments["references"][2])
    rest = {key: value for key, value in arguments.items() if key == "ks"}
    found[name] = {"means": means, "each": each, "message": message, "added": metric.compute(**rest),
                   "about": [metric.name, metric.module_type, metric.citation, metric.description]}
report(found=found)
"""

# the examples of a module's description, its name standing for the folder; the Space's page, with Gradio stood in for
EXAMPLES = """
import doctest, runpy, types, evaluate
folder, names = sys.argv[1], sys.argv[2:]
load, found = evaluate.load, {}
sys.modules["gradio"] = types.SimpleNamespace(
    Code=lambda value, language, label: value,
    JSON=lambda label: "json",
    Interface=lambda function, inputs, outputs, title, description: (function, inputs, title),
)
for name in names:
    runner = doctest.DocTestRunner()
    evaluate.load = lambda path: load(path.replace("your-name", folder))
    text = load(f"{folder}/{name}").inputs_description
    runner.run(doctest.DocTestParser().get_doctest(text, {}, name, None, 0))
    evaluate.load = load
    function, inputs, title = runpy.run_path(f"{folder}/{name}/app.py")["page"]
    found[name] = {"results": runner.summarize()[:2], "values": function(inputs), "title": title}
report(found=found)
"""

PUSH = """
import json, sys
from nyx_hf.folders import HubError
from nyx_hf.metric_modules import push_metric_module
for call in json.loads(sys.argv[1]):
    try:
        print(json.dumps(push_metric_module(**call).oid))
    except HubError as error:
        print(json.dumps({"error": str(error)}))
"""

LOAD = """
import json, os, sys
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"  # evaluate counts at an address of its own
import evaluate
found = {}
for space, arguments in json.loads(sys.argv[1]).items():
    found[space] = evaluate.load(space).compute(**arguments)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both modules, written."""
    root = tmp_path_factory.mktemp("modules") / "made"
    assert [write_metric_module(name, root) for name in METRIC_MODULES] == [root / name for name in METRIC_MODULES]
    assert sorted(path.name for path in root.iterdir()) == sorted(METRIC_MODULES)  # no draft is left
    return root


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
def computed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a process without nyx_hf computes; its arguments of the retrieval metric."""
    rankings, relevant = random_case(3)
    retrieval = {"predictions": rankings, "references": relevant, "ks": [1, 7]}
    cases = json.dumps({"nyx_qa": QA, "nyx_retrieval": retrieval})
    env = {"HF_HOME": str(tmp_path_factory.mktemp("home"))}
    found: dict[str, Any] = run_fresh(COMPUTE, folder, cases, env=env)["found"]
    return found | {"retrieval": retrieval}


def test_answers_score_as_in_nyx_hf(computed: dict[str, Any]) -> None:
    ours, found = answer_scores(QA["predictions"], QA["references"], QA["options"]), computed["nyx_qa"]
    assert found["each"] == {name: values.tolist() for name, values in ours.items()}
    assert found["means"] == aggregate(ours)
    assert found["means"] == pytest.approx({"em": 3 / 6, "f1": (2 / 3 + 1 + 2 / 3 + 0 + 1 + 1) / 6, "accuracy": 2 / 6})
    assert found["added"] == aggregate(answer_scores(QA["predictions"][:3], QA["references"][:3]))
    assert found["message"].startswith("found no right answer for query 0")


def test_rankings_score_as_in_nyx_hf_and_trec_eval(computed: dict[str, Any]) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    retrieval, found = computed["retrieval"], computed["nyx_retrieval"]
    rankings, relevant = retrieval["predictions"], retrieval["references"]
    ours = ranking_metrics(rankings, relevant, (1, 7))
    assert found["each"] == {name: values.tolist() for name, values in ours.items()}
    assert found["means"] == aggregate(ours)
    assert found["added"] == aggregate(ranking_metrics(rankings[:3], relevant[:3], (1, 7)))
    assert found["message"].startswith("found no relevant document for query 0")

    runs = {str(q): {d: 1 - rank / 100 for rank, d in enumerate(ids)} for q, ids in enumerate(rankings)}
    judged = {str(q): dict.fromkeys(ids, 1) for q, ids in enumerate(relevant)}
    names = {"recall": "recall", "ndcg": "ndcg_cut", "map": "map_cut", "hit": "success"}
    theirs = pytrec_eval.RelevanceEvaluator(judged, {f"{name}.1,7" for name in names.values()}).evaluate(runs)
    for name, trec in names.items():
        for k in (1, 7):
            expected = np.mean([values[f"{trec}_{k}"] for values in theirs.values()])
            assert 0 < expected < 1 and found["means"][f"{name}@{k}"] == pytest.approx(expected, abs=1e-6)
    # trec_eval has no cut-off for the reciprocal rank: what it ranks is cut instead
    cut = {q: dict(list(run.items())[:7]) for q, run in runs.items()}
    reciprocal = pytrec_eval.RelevanceEvaluator(judged, {"recip_rank"}).evaluate(cut)
    expected = np.mean([values["recip_rank"] for values in reciprocal.values()])
    assert found["means"]["mrr@7"] == pytest.approx(expected, abs=1e-6)


def test_modules_tell_what_they_are(computed: dict[str, Any]) -> None:
    for name in METRIC_MODULES:
        shown, kind, citation, description = computed[name]["about"]
        assert (shown, kind) == (name, "metric")
        assert CITATIONS["nyx"] in citation and "between 0 and 1" in description


def test_examples_and_pages_run(folder: Path, tmp_path: Path) -> None:
    done = run_fresh(EXAMPLES, folder, *METRIC_MODULES, env={"HF_HOME": str(tmp_path)})
    assert set(done["found"]) == set(METRIC_MODULES)
    for name, found in done["found"].items():
        assert found["results"] == [0, 4], done["output"]  # none of four failed
        assert found["title"].lower().replace(" ", "_") == name and 0 < min(found["values"].values()) < 1


def test_the_code_is_ours_word_for_word(folder: Path) -> None:
    """Nothing differs from the package but the imports from it, so there is no second copy to keep."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "data_builders").glob("*.py")}
    sources |= {
        f"nyx_{path.stem[7:]}.py": path.read_text(encoding="utf-8") for path in ROOT.glob("nyx_hf/metric_*.py")
    }
    for name in METRIC_MODULES:
        files = {path.name: path.read_text(encoding="utf-8") for path in (folder / name).iterdir()}
        assert files == metric_module_files(name)
        beside = {"nyx_qa": {"answer_metrics.py", "metrics.py"}, "nyx_retrieval": {"metrics.py"}}[name]
        assert set(files) == {f"{name}.py", *beside, "README.md", "app.py", "requirements.txt"}
        for file in {f"{name}.py", *beside}:
            assert not re.search(r"^\s*(from|import) nyx_hf", files[file], re.M)
            new, old = files[file].splitlines(), sources[file].splitlines()
            kept = [line for line in old if not line.startswith("from nyx_hf.")]
            assert [line for line in new if line in kept and line] == [line for line in kept if line]
            imports = {line.split()[1] for line in new if re.match(r"(from|import) ", line)}
            tops = {module.split(".")[0] for module in imports if not module.startswith(".")}
            assert tops - sys.stdlib_module_names <= set(re.findall(r"^\w+", files["requirements.txt"], re.M))


def test_the_card_is_a_metric_space_s(folder: Path) -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for name in METRIC_MODULES:
        card = SpaceCard.load(folder / name / "README.md")
        data = card.data.to_dict()
        assert data["tags"] == ["evaluate", "metric"] and data["license"] == "apache-2.0" and data["title"]
        assert (data["sdk"], data["app_file"], data["pinned"]) == ("gradio", "app.py", False)
        assert f"\ngradio=={data['sdk_version']}\n" in pins  # the version that the page was seen to run with
        assert f'evaluate.load("your-name/{name}")' in card.text and CITATIONS["nyx"] in card.text
        assert "@k" in card.text if name == "nyx_retrieval" else "squad_words" in card.text


def test_nothing_is_overwritten_and_names_are_known(folder: Path, tmp_path: Path) -> None:
    before = (folder / "nyx_qa" / "README.md").stat().st_mtime_ns
    with pytest.raises(FileExistsError, match="nyx_qa there already.*remove it, or name another"):
        write_metric_module("nyx_qa", folder)
    assert (folder / "nyx_qa" / "README.md").stat().st_mtime_ns == before
    with pytest.raises(ValueError, match="no metric 'squad', expected one of nyx_qa, nyx_retrieval"):
        write_metric_module("squad", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("repo_id", ["nyx_qa", "/nyx_qa", "tester/nyx-qa", "tester/nyx_retrieval", "a/b/nyx_qa"])
def test_a_space_is_called_as_its_module(repo_id: str) -> None:
    with pytest.raises(HubError, match="push it to owner/nyx_qa"):
        push_metric_module("nyx_qa", repo_id, token="hf_test")


@pytest.mark.e2e
def test_spaces_are_pushed_and_loaded(hub: Standin, tmp_path: Path) -> None:
    """The real clients: huggingface_hub pushes, `evaluate` loads, also a private one, without nyx_hf."""
    calls = [
        {"name": "nyx_qa", "repo_id": "tester/nyx_qa"},
        {"name": "nyx_retrieval", "repo_id": "tester/nyx_retrieval", "private": False, "commit_message": "metrics"},
        {"name": "nyx_retrieval", "repo_id": "tester/nyx_retrieval"},
    ]
    commits = push(hub, tmp_path / "maker", *calls)
    assert all(isinstance(commit, str) for commit in commits), commits
    spaces = {name: hub.repos["space", f"tester/{name}"] for name in METRIC_MODULES}
    assert [space.private for space in spaces.values()] == [True, False]
    assert [message for _, message in spaces["nyx_retrieval"].log[1:2]] == ["metrics"]
    assert spaces["nyx_qa"].log[1][1].startswith("Upload metric with nyx_hf")
    for name in METRIC_MODULES:
        pushed = hub.files(f"tester/{name}", "space")
        made = {file: text.replace("your-name/", "tester/") for file, text in metric_module_files(name).items()}
        assert {file: text.decode() for file, text in pushed.items() if file != ".gitattributes"} == made
        assert f'evaluate.load("tester/{name}")'.encode() in pushed[f"{name}.py"]

    rankings = {"predictions": [["a", "b"]], "references": [["b"]], "ks": [2]}
    cases = json.dumps({"tester/nyx_qa": QA, "tester/nyx_retrieval": rankings})
    done = hub.python(LOAD, tmp_path / "user", cases, nyx_hf=False)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["tester/nyx_qa"] == aggregate(answer_scores(QA["predictions"], QA["references"], QA["options"]))
    assert found["tester/nyx_retrieval"] == aggregate(ranking_metrics([["a", "b"]], [["b"]], [2]))


def test_a_push_that_fails_says_why(hub: Standin, tmp_path: Path) -> None:
    call = {"name": "nyx_qa", "repo_id": "someone/nyx_qa"}
    hub.fail("POST", "/api/spaces/someone/nyx_qa/commit/", 503)
    reads_only = call | {"token": "hf_test_read"}
    reader, failed, retried, public = push(hub, tmp_path, reads_only, call, call, call | {"private": False})
    assert "may not write to someone/nyx_qa" in reader["error"] and "hf_test_read" not in reader["error"]
    assert "the Hub answered 503 for someone/nyx_qa" in failed["error"] and isinstance(retried, str)
    assert "is private already and public was asked for" in public["error"]
    assert len(hub.repos["space", "someone/nyx_qa"].log) == 2


def test_a_push_needs_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nyx_hf.metric_modules.get_token", lambda: None)
    with pytest.raises(HubError, match="no Hub token: run `hf auth login`"):
        push_metric_module("nyx_qa", "someone/nyx_qa")
