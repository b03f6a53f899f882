"""`nyx-hf adapt` from end to end on a small site: data, hard negatives, training, verdict; stopped, gone on with."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset, load_dataset
from test_nyxqa import manual
from typer.testing import CliRunner

from nyx_hf import adapt, adapt_training, load_adapter
from nyx_hf.adapt_rankings import IMAGES, LOGGED, TEXT, Questions
from nyx_hf.adapt_report import SYSTEMS, verdict
from nyx_hf.adapt_settings import AdaptError, AdaptSettings
from nyx_hf.adapt_training import Training
from nyx_hf.cli import app
from nyx_hf.data_builders.metrics import ranking_metrics
from nyx_hf.data_builders.significance import McNemar, bootstrap_interval, mcnemar, paired_difference
from nyx_hf.folders import check_folder
from nyx_hf.modeling.modeling_nyx import NyxModel
from nyx_hf.query_log import read_query_log
from nyx_hf.trainer.launch import Launch, train_command
from nyx_hf.trainer.recipe_files import RecipeError

SHARES = "0.6,0.2,0.2"
LOG = [
    {"query": "where are the waves", "document": "ripple.html#0"},
    {"query": "how do I get tiles", "document": "mosaic.html"},
    {"query": "a picture that looks cut out of paper", "document": "Cubism Filter creates blocks in the active layer"},
    {"query": "something with stars", "document": "sparkle.html"},
    {"query": "soft light", "document": "softglow.html"},
    {"query": "an old thing", "document": "gone.html"},
    {"query": "ripple or emboss", "document": "ripple.html"},
    {"query": "ripple or emboss", "document": "emboss.html"},
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manual(tmp_path_factory.mktemp("site") / "my-manual")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "asked.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in LOG), encoding="utf-8")
    return path


def run(*words: object) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        command = ["adapt", *map(str, words)]
        patch.setattr(sys, "argv", ["nyx-hf", *command])
        return CliRunner().invoke(app, command)


@pytest.fixture(scope="module")
def finished(site: Path, log: Path, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A whole run with a query log, by the command line; training is a process of its own."""
    out = tmp_path_factory.mktemp("runs") / "manual"
    done = run(
        *(f"html:{site}", "--model", tiny_folder, "--out", out, "--shares", SHARES, "--queries", log),
        *("--license", "gfdl", "--json", "--device", "cpu", "smoke=true", "learning_rate=3e-3", "max_steps=4"),
    )
    assert done.exit_code == 0, done.output
    yield out, done


def rankings(folder: Path) -> dict[str, dict[str, list[str]]]:
    return {
        path.stem: {row["query_id"]: row["documents"] for row in map(json.loads, path.read_text().strip().split("\n"))}
        for path in folder.glob("*.jsonl")
    }


@pytest.mark.e2e
class TestTheWholeWay:
    def test_every_stage_says_a_line_and_the_last_line_is_the_verdict(self, finished: Any) -> None:
        out, done = finished
        report = json.loads(done.stdout)
        lines = [line for line in done.stderr.replace("\r", "\n").split("\n") if line.startswith("[")]
        stages = [line for line in lines if line[1:2].isdigit() and line[2:5] == "/5]"]
        assert [line[:5] for line in stages] == [f"[{number}/5]" for number in range(1, 6)]
        assert report["verdict"] in done.stderr and "was not checked" in done.stderr
        assert f"nyx-hf push {out / 'model'} your-name/tiny-nyx-adapted" in done.stderr
        kept = json.loads((out / "report.json").read_text())
        assert {**kept, "folder": str(out)} == report and kept["general"] is None

    def test_the_folder_holds_data_model_and_report_and_no_leftovers(self, finished: Any, site: Path) -> None:
        out, _ = finished
        names = {"adapt.json", "data", "hard", "model", "rankings", "report.json", "report.md"}
        assert {path.name for path in out.iterdir()} == names | {"recall.png", "gallery.png"}
        page = (out / "report.md").read_text()
        assert "](recall.png)" in page and "](gallery.png)" in page and "was not checked" in page
        assert str(site.parent) not in page and str(out.parent) not in page.replace(f"nyx-hf push {out}", "")
        assert min(path.stat().st_size for path in out.glob("*.png")) > 10_000

    def test_model_and_data_are_ready_for_the_hub_and_name_no_place(self, finished: Any, tiny_folder: Path) -> None:
        out, _ = finished
        for name, kind in (("model", "model"), ("data", "dataset"), ("hard", "dataset")):
            ready = check_folder(out / name, "your-name/manual")
            assert ready.kind == kind and ready.own_pages == (kind == "dataset")
            assert str(out.parent) not in ready.card and str(tiny_folder.parent) not in ready.card
            assert "gfdl" in ready.card
        assert not list((out / "model").glob("checkpoint-*")) and "# tiny-nyx-adapted" in ready_text(out / "model")
        assert str(tiny_folder.parent) not in (out / "model" / "recipe.yaml").read_text()
        before, after = (
            NyxModel.from_pretrained(folder).encode_query(["waves"]) for folder in (tiny_folder, out / "model")
        )
        assert np.abs(before - after).max() > 1e-3  # it was trained, and the adapter is merged in

    def test_hard_negatives_are_the_bases(self, finished: Any) -> None:
        out, _ = finished
        triplets = load_dataset(str(out / "hard"), "triplets", split="train", cache_dir=str(out.parent / "hf-hard"))
        assert set(triplets["scorer"]) == {"tiny-nyx"} and set(map(len, triplets["negative_ids"])) == {5}

    def test_figures_are_those_of_the_saved_rankings(self, finished: Any) -> None:
        out, done = finished
        report, found = json.loads(done.stdout), rankings(out / "rankings" / "test")
        cache = str(out.parent / "hf-data")
        corpus = load_dataset(str(out / "data"), "corpus", split="corpus", cache_dir=cache)["id"]
        links = load_dataset(str(out / "data"), "triplets", split="test", cache_dir=cache)
        right = dict(zip(links["query_id"], links["positive_ids"], strict=True))
        rows = {row["id"]: row for row in load_dataset(str(out / "data"), "queries", split="test", cache_dir=cache)}
        assert report["documents"] == len(corpus) == 15 and set(found) == set(SYSTEMS)
        first = {}
        for system, by_query in found.items():
            assert by_query.keys() == right.keys()  # of the test split alone
            seen = {one for ids in by_query.values() for one in ids}
            assert seen - {one for ids in right.values() for one in ids}  # train documents are searched, too
            names = list(right)
            metrics = ranking_metrics([by_query[name] for name in names], [right[name] for name in names], (1, 5, 10))
            figures = report["systems"][system]["all"]
            first[system] = metrics["hit@1"]
            assert figures["passage@1"]["mean"] == pytest.approx(metrics["hit@1"].mean())
            assert figures["passage@5"]["mean"] == pytest.approx(metrics["hit@5"].mean())
            assert figures["ndcg@10"]["mean"] == pytest.approx(metrics["ndcg@10"].mean())
            assert figures["passage@1"]["interval"] == pytest.approx(bootstrap_interval(metrics["hit@1"]))
            assert f"{100 * metrics['hit@1'].mean():.1f} %" in report["verdict"]
            pages = [by_query[name][0].split("#")[0] in {one.split("#")[0] for one in right[name]} for name in names]
            assert figures["page@1"]["mean"] == pytest.approx(np.mean(pages))
            kinds = np.array([kind_of(rows[name]) for name in names])
            assert set(kinds) == {TEXT, IMAGES, LOGGED} == set(report["questions"]) - {"all"}
            for kind in set(kinds):
                by_kind = report["systems"][system][kind]["passage@1"]["mean"]
                assert by_kind == pytest.approx(metrics["hit@1"][kinds == kind].mean())
        tests = {name: mcnemar(first[name], first["tuned"]) for name in ("base", "bm25")}
        assert report["mcnemar of the right passage first"] == {name: vars(test) for name, test in tests.items()}
        assert report["verdict"] == verdict({name: float(hits.mean()) for name, hits in first.items()}, tests)

    def test_logged_queries_go_where_their_pages_are(self, finished: Any) -> None:
        out, _ = finished
        splits: dict[str, set[str]] = {}
        logged: dict[str, tuple[str, Sequence[str]]] = {}
        for split in ("train", "validation", "test"):
            tables = [
                load_dataset(str(out / "data"), config, split=split, cache_dir=str(out.parent / "hf-log"))
                for config in ("queries", "triplets")
            ]
            texts = {row["id"]: row["content"][0]["text"] for row in tables[0] if row["task"] == "query log"}
            for row in tables[1]:
                splits.setdefault(split, set()).update(one.split("#")[0] for one in row["positive_ids"])
                if row["query_id"] in texts:
                    logged[texts[row["query_id"]]] = split, row["positive_ids"]
        pages = list(splits.values())
        assert not pages[0] & pages[1] and not pages[0] & pages[2] and not pages[1] & pages[2]
        assert logged["a picture that looks cut out of paper"][1] == ["cubism.html#0"]
        assert logged["how do I get tiles"][1] == ["mosaic.html#0"] and "an old thing" not in logged
        assert logged["something with stars"][0] == "test" and logged["where are the waves"][0] == "train"
        card = (out / "data" / "README.md").read_text()
        assert "ripple or emboss" not in logged and "query log: documents of several splits" in card
        assert "query log: no such document" in card and "questions, from a query log" in card

    def test_a_finished_run_is_only_shown_and_another_is_refused(
        self, finished: Any, site: Path, log: Path, tiny_folder: Path
    ) -> None:
        out, done = finished
        before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
        words = [f"html:{site}", "--model", tiny_folder, "--out", out, "--queries", log, "--license", "gfdl"]
        rest = ["smoke=true", "learning_rate=3e-3", "max_steps=4"]
        again = run(*words, "--shares", SHARES, *rest)
        assert again.exit_code == 0 and json.loads(done.stdout)["verdict"] in again.output
        assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
        for changed, said in (
            (["--shares", "0.5,0.3,0.2", *rest], "shares '0.6,0.2,0.2' → '0.5,0.3,0.2'"),
            (["--shares", SHARES, "--seed", "3", *rest], "seed 0 → 3"),
            (["--shares", SHARES, "smoke=true"], "overrides ['smoke=true', 'learning_rate=3e-3', 'max_steps=4'] → "),
        ):
            refused = run(*words, *changed)
            assert refused.exit_code == 1 and said in refused.output.replace("\n", " "), refused.output
            assert "Traceback" not in refused.output and "--out" in refused.output

    def test_a_general_set_can_be_checked_later(
        self, finished: Any, site: Path, log: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out = tmp_path / "manual"
        shutil.copytree(finished[0], out)
        built = CliRunner().invoke(app, ["build", "digits", "--train-documents", "12", "--test-documents", "10",
                                         "--out", str(tmp_path / "digits")])  # fmt: skip
        assert built.exit_code == 0, built.output
        never(monkeypatch, adapt, "mine_dataset")
        never(monkeypatch, adapt_training, "train_command")
        done = run(
            *(f"html:{site}", "--model", tiny_folder, "--out", out, "--shares", SHARES, "--queries", log),
            *("--license", "gfdl", "--general", tmp_path / "digits", "--json", "smoke=true", "learning_rate=3e-3"),
            "max_steps=4",
        )
        assert done.exit_code == 0, done.output
        general = json.loads(done.stdout)["general"]
        [place] = [path for path in (out / "rankings").iterdir() if path.name != "test"]
        links = load_dataset(str(tmp_path / "digits"), "triplets", split="test", cache_dir=str(tmp_path / "hf"))
        right = dict(zip(links["query_id"], links["positive_ids"], strict=True))
        values = {
            name: ranking_metrics([of[one] for one in right], list(right.values()))["ndcg@10"]
            for name, of in rankings(place).items()
        }
        lost = paired_difference(values["base"], values["tuned"])
        assert general["questions"] == len(right) and general["documents"] == 10
        assert general["difference of ndcg@10"] == pytest.approx(vars(lost))
        assert general["verdict"].startswith("on digits (test)") and f"{lost.mean:+.4f}" in general["verdict"]
        assert "was not checked" not in (out / "report.md").read_text()


def ready_text(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def kind_of(row: Any) -> str:
    if row["task"] == "query log":
        return LOGGED
    return IMAGES if any(part["image"] is not None for part in row["content"]) else TEXT


def never(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    def called(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{name} was called again")

    monkeypatch.setattr(module, name, called)


class PowerCut(BaseException):
    """What ends a process between two stages."""


@pytest.mark.e2e
def test_a_killed_run_goes_on_after_the_last_finished_stage(
    site: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    settings = AdaptSettings(
        f"html:{site}",
        str(tiny_folder),
        shares="0.6,0,0.4",  # without a validation split nothing is watched
        overrides=("smoke=true", "max_steps=4", "eval_steps=2", "save_steps=2"),
    )
    told: list[str] = []
    calls: dict[str, int] = {}

    def counted(module: Any, name: str) -> None:
        real = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, call)

    for module, name in ((adapt, "write_dataset"), (adapt, "mine_dataset")):
        counted(module, name)

    def go() -> dict[str, Any]:
        told.clear()
        return adapt.run_adapt(settings, out, device="cpu", tell=told.append)

    # between data and hard negatives
    monkeypatch.setattr(Training, "base", power_cut)
    with pytest.raises(PowerCut):
        go()
    assert {path.name for path in out.iterdir()} == {"adapt.json", "data"} and len(told) == 1
    monkeypatch.undo()
    for module, name in ((adapt, "write_dataset"), (adapt, "mine_dataset")):
        counted(module, name)

    # inside training, after its first checkpoint
    monkeypatch.setattr(adapt_training, "train_command", killed_at_a_checkpoint)
    with pytest.raises(AdaptError, match="training ended with -9 .* goes on from its last checkpoint"):
        go()
    assert calls == {"write_dataset": 1, "mine_dataset": 1} and (out / "hard").is_dir()
    assert told[0].endswith("(done before)") and not (out / "model").exists()
    checkpoint = out / "training" / "tiny-nyx-adapted" / "checkpoint-2"
    written = (checkpoint / "run.json").stat().st_mtime_ns

    def resumed(recipe: str, words: Sequence[str]) -> int:
        code = train_command(recipe, words)
        assert (checkpoint / "run.json").stat().st_mtime_ns == written  # not trained again to there
        assert (
            json.loads((checkpoint.with_name("checkpoint-4") / "trainer_state.json").read_text())["global_step"] == 4
        )
        return code

    monkeypatch.setattr(adapt_training, "train_command", resumed)
    monkeypatch.setattr(Training, "tuned", power_cut)  # and again between training and search
    with pytest.raises(PowerCut):
        go()
    assert (out / "model" / "config.json").is_file() and not (out / "training").exists()
    assert calls == {"write_dataset": 1, "mine_dataset": 1}
    monkeypatch.undo()

    never(monkeypatch, adapt, "mine_dataset")
    never(monkeypatch, adapt_training, "train_command")
    never(monkeypatch, Training, "base")  # what it found is kept
    report = go()
    assert [line.endswith("(done before)") for line in told[:5]] == [True, True, True, False, False]
    assert report["questions"]["all"] > 0 and (out / "report.json").is_file()


def power_cut(*args: Any, **kwargs: Any) -> Any:
    raise PowerCut


def killed_at_a_checkpoint(recipe: str, words: Sequence[str]) -> int:
    """Trains as `train_command` does, and kills the processes when the first checkpoint is whole."""
    script = str(Path(adapt_training.__file__).resolve().parent.parent / "trainer" / "train.py")
    command = [*Launch().words(), script, "--config", recipe, *words]
    [folder] = [Path(word.partition("=")[2]) for word in words if word.startswith("output_dir=")]
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoint-2" / "run.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, "it ended before its first checkpoint"
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def test_a_plan_spends_nothing(site: Path, log: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    never(monkeypatch, adapt_training, "load_model")
    words = [f"html:{site}", "--model", tiny_folder, "--out", tmp_path / "run", "--queries", log, "--plan"]
    plan = run(*words, "--json", "smoke=true")
    assert plan.exit_code == 0, plan.output
    said = json.loads(plan.stdout)
    assert (said["pages"], said["chunks in the corpus"], said["queries in the log"]) == (15, 15, 7)
    assert said["parameters"] > said["parameters trained"] > 0 and said["what is trained"].startswith("LoRA")
    assert not (tmp_path / "run").exists()
    asked = json.loads(run(*words, "--json", "--generator", "endpoint:http://localhost:1/v1#m", "--tokenizer", "words",
                           "smoke=true").stdout)  # fmt: skip
    assert asked["requests, at most"] == 15 + 2 * 5 * 15 and asked["tokens read, about"] > 0
    assert "GiB on each GPU" in run(*words, "smoke=true").output


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"source": "html:nowhere"}, "html:nowhere: there is no such folder or file"),
        ({"source": "my-site"}, "found the source 'my-site', expected one of html:…"),
        ({"model": "nowhere"}, "found no model at nowhere that can be fine-tuned"),
        ({"model": "bm25"}, "found no model at bm25 that can be fine-tuned"),
        ({"overrides": ("learning_rat=1",)}, "unknown setting 'learning_rat'; did you mean learning_rate"),
        ({"overrides": ("model=x",)}, "found the setting model, expected none that --model decides"),
        ({"overrides": ("fast",)}, "'fast' is no setting; write key=value"),
        ({"queries": Path("nowhere.jsonl")}, "found no file at nowhere.jsonl"),
        ({"shares": "0.9,0.2,0"}, "expected three numbers that sum to 1"),
        ({"shares": "0.5,0.5,0"}, "found no question to test with"),
    ],
)
def test_bad_input_is_refused_in_a_line(
    changed: dict[str, Any], said: str, site: Path, tiny_folder: Path, work_dir: Path
) -> None:
    settings = replace(AdaptSettings(f"html:{site}", str(tiny_folder)), **changed)
    with pytest.raises((ValueError, AdaptError)) as raised:
        adapt.run_adapt(settings, work_dir / "run", device="cpu")
    assert said in str(raised.value) and "\n" not in str(raised.value)
    assert not (work_dir / "run" / "data").exists()


def test_settings_may_change_until_there_are_data(
    site: Path, tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = AdaptSettings(f"html:{site}", str(tiny_folder), shares="0.5,0.5,0")
    with pytest.raises(AdaptError, match="found no question to test with"):
        adapt.run_adapt(settings, tmp_path / "run", device="cpu")
    monkeypatch.setattr(Training, "base", power_cut)
    with pytest.raises(PowerCut):
        adapt.run_adapt(replace(settings, shares=SHARES), tmp_path / "run", device="cpu")
    with pytest.raises(AdaptError, match=r"other settings \(shares '0.6,0.2,0.2' → '0.5,0.5,0'\)"):
        adapt.run_adapt(settings, tmp_path / "run", device="cpu")


def test_a_model_of_another_kind_is_refused(site: Path, work_dir: Path) -> None:
    (work_dir / "bert").mkdir()
    (work_dir / "bert" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(
        ValueError, match="found no model at bert that can be fine-tuned .*bert.*cannot be a retriever"
    ):
        adapt.run_adapt(AdaptSettings(f"html:{site}", "bert"), work_dir / "run", device="cpu")


def test_a_folder_with_other_things_is_left_alone(site: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(AdaptError, match="is no folder of nyx-hf adapt"):
        adapt.run_adapt(AdaptSettings(f"html:{site}", str(tiny_folder)), tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: found no JSON"),
        ('["a", "b"]', 'line 1: found ["a", "b"], expected {"query": …, "document": …}'),
        ('{"query": "a"}', 'line 1: found {"query": "a"}, expected'),
        ('{"query": " ", "document": "b"}', "line 1: found"),
        ("", "found no line in"),
    ],
)
def test_a_bad_log_is_refused(line: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(line)
    with pytest.raises(ValueError) as raised:
        read_query_log(tmp_path / "log.jsonl")
    assert said in str(raised.value)


def test_a_log_of_other_pages_is_refused(site: Path, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"query": "a", "document": "elsewhere.html"}')
    settings = AdaptSettings(f"html:{site}", str(tiny_folder), queries=tmp_path / "log.jsonl", shares=SHARES)
    with pytest.raises(ValueError, match="found no query of the log that can be used .*expected documents .*html#0"):
        adapt.run_adapt(settings, tmp_path / "run", device="cpu")


def counts(only_base: int, only_tuned: int) -> McNemar:
    first = np.r_[np.ones(only_base), np.zeros(only_tuned), np.ones(5)]
    return mcnemar(first, np.r_[np.zeros(only_base), np.ones(only_tuned), np.ones(5)])


@pytest.mark.parametrize(
    ("base", "bm25", "ends"),
    [
        (counts(2, 40), counts(1, 41), ": better than both (p<0.0001)"),
        (counts(10, 32), counts(11, 31), ": better than both (p≤0.0029)"),
        (counts(20, 22), counts(21, 21), ": no difference told apart from either (p≥0.88)"),
        (counts(40, 2), counts(41, 1), ": worse than both (p<0.0001)"),
        (counts(2, 40), counts(20, 22),
         ": better than the base (p<0.0001), no difference told apart from BM25 (p=0.88)"),
        (counts(2, 40), counts(41, 1), ": better than the base (p<0.0001), worse than BM25 (p<0.0001)"),
    ],
)  # fmt: skip
def test_the_verdict_claims_what_the_tests_say(base: McNemar, bm25: McNemar, ends: str) -> None:
    line = verdict({"tuned": 0.712, "base": 0.481, "bm25": 0.4906}, {"base": base, "bm25": bm25})
    shares = "tuned finds the right passage first for 71.2 % of 47 questions, the base for 48.1 %, BM25 for 49.1 %"
    assert line == shares + ends


def test_the_right_page_may_come_first_by_another_passage() -> None:
    content = [{"type": "text", "text": "a"}]
    queries = Dataset.from_list([{"id": name, "content": content, "task": None} for name in ("q1", "q2", "q3")])
    corpus = Dataset.from_list(
        [{"id": name, "content": content} for name in ("a.pdf#page-1#0", "a.pdf#page-1#1", "b#0")]
    )
    questions = Questions(queries, corpus, {"q1": ["a.pdf#page-1#1"], "q2": ["b#0"], "q3": ["b#0"]})
    orders = {"q1": [0, 2, 1], "q2": [2, 1, 0], "q3": [0, 1, 2]}
    values = questions.values({name: [corpus["id"][at] for at in order] for name, order in orders.items()})
    assert values["passage@1"].tolist() == [0, 1, 0] and values["page@1"].tolist() == [1, 1, 0]
    assert values["passage@5"].tolist() == [1, 1, 1] and values["ndcg@10"].tolist() == pytest.approx([0.5, 1, 0.5])


def test_the_docs_tell_of_every_option_and_their_examples_parse() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "adapt.md").read_text(encoding="utf-8")
    shown = run("--help").output
    options = set(re.findall(r"--[a-z][a-z-]*", shown)) - {"--help", "--json"}
    assert options >= {"--queries", "--general-split", "--plan"}
    assert {one for one in options if one not in page} == set()
    assert set(re.findall(r"--[a-z][a-z-]*", page)) - options == set()
    for line in re.findall(r"^nyx-hf adapt (.*)$", page, re.M):
        assert run(*shlex.split(line), "--help").exit_code == 0


class TestTraining:
    def test_an_adapter_of_a_folder_is_merged_and_one_of_the_hub_is_not(self, tiny_folder: Path) -> None:
        assert "merge_lora=true" in Training(str(tiny_folder), 0, "cpu").words()
        assert "merge_lora=true" not in Training(str(tiny_folder), 0, "cpu", ("use_lora=false",)).words()
        assert "merge_lora=true" not in Training("owner/name", 0, "cpu").words()

    def test_what_is_typed_wins_over_what_a_cpu_asks_for(self) -> None:
        words = Training("owner/name", 0, "cpu", ("dtype=bfloat16",)).words()
        assert words.index("dtype=bfloat16") > words.index("dtype=float32")
        assert not any(word.startswith("use_cpu") for word in Training("owner/name", 0, "cuda").words())

    def test_half_precision_on_a_gpu_is_planned_and_opened(self, tiny_folder: Path, tmp_path: Path) -> None:
        plan = Training(str(tiny_folder), 0, "cuda").plan()
        assert plan.rows == 64 and plan.count.trained_bytes < plan.count.bytes
        opened = Training(str(tiny_folder), 0, "cpu", ("dtype=bfloat16",)).base(tmp_path).encoder
        vectors = opened.encode([[{"type": "text", "text": "waves"}]], "query", None)
        assert vectors.dtype == np.float32 and np.linalg.norm(vectors) == pytest.approx(1, abs=1e-2)

    def test_settings_that_options_decide_are_refused(self) -> None:
        with pytest.raises(RecipeError, match="--seed decides"):
            Training("owner/name", 0, "cpu", ("seed=3",))


@pytest.mark.e2e
def test_an_adapter_that_training_left_is_searched_with(tiny_folder: Path, tmp_path: Path) -> None:
    """As of a base on the Hub: the folder holds an adapter, and its vectors are not the base's."""
    training = Training(str(tiny_folder), 0, "cpu", ("smoke=true",))
    code = train_command("adapt", ["smoke=true", f"model={tiny_folder}", "learning_rate=0.01", "lora_dropout=0.5",
                                   f"output_dir={tmp_path / 'adapter'}"])  # fmt: skip
    assert code == 0 and (tmp_path / "adapter" / "adapter_config.json").is_file()
    content = [[{"type": "text", "text": "the waves of the ripple filter"}]]
    opened = training.tuned(tmp_path / "adapter", tmp_path / "vectors").encoder.encode(content, "document", None)
    expected = load_adapter(tmp_path / "adapter").encode_document(["the waves of the ripple filter"])
    base = training.base(tmp_path / "vectors").encoder.encode(content, "document", None)
    assert opened == pytest.approx(expected, abs=1e-5) and np.abs(opened - base).max() > 1e-3
