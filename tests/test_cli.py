"""The command line: help, wrong arguments, errors in one line, the doctor's findings."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from nyx_hf import __version__, cli, doctor
from nyx_hf.doctor import Finding
from nyx_hf.folders import HubError
from nyx_hf.model_cards.licences import LicenceError

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = sorted(
    command.name or command.callback.__name__.replace("_", "-")
    for command in cli.app.registered_commands
    if command.callback
)


def run(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(cli.app, list(arguments), prog_name="nyx-hf", **options)


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Puts a module in the place of a heavy one."""
    fake = ModuleType(module)
    vars(fake).update(functions)
    monkeypatch.setitem(sys.modules, module, fake)


def test_help_imports_nothing_heavy() -> None:
    """A process of its own: `python -m nyx_hf --help`, and what it loaded."""
    code = (
        "import runpy, sys; sys.argv = ['nyx-hf', '--help']\n"
        "try: runpy.run_module('nyx_hf', run_name='__main__')\n"
        "except SystemExit as end: print('code', end.code)\n"
        "print('loaded', sorted({'torch', 'transformers', 'datasets', 'huggingface_hub', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.endswith("code 0\nloaded []\n")
    for command in COMMANDS:
        assert re.search(rf"^  {command} +\w", done.stdout, flags=re.M)
    assert done.stderr == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example_that_parses(command: str) -> None:
    shown = run(command, "--help")
    assert shown.exit_code == 0 and f"Usage: nyx-hf {command}" in shown.output
    examples = re.findall(rf"^ +nyx-hf {command}(.*)$", shown.output, flags=re.M)
    assert examples
    for example in examples:  # `--help` is eager: the other arguments are parsed, nothing is run
        assert run(command, *shlex.split(example, comments=True), "--help").exit_code == 0


def test_version() -> None:
    assert run("--version").output == f"nyx-hf {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["push"], "Missing argument 'DIR'"),
        (["push", "x"], "Missing argument 'REPO_ID'"),
        (["quickstart", "--steps", "0"], "greater than or equal to 1"),
        (["quickstart", "--seed", "one"], "--seed"),
        (["train", "recipe.yaml", "learning_rate"], "'learning_rate' is not KEY=VALUE, such as learning_rate=2e-5"),
        (["train", "recipe.yaml", "-n", "0"], "greater than or equal to 1"),
        (["doctor", "--jsn"], "--json"),
    ],
)
def test_wrong_arguments_end_with_2_and_say_what_is_right(arguments: list[str], hint: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2 and hint in result.output and "Traceback" not in result.output


class QuickstartError(RuntimeError):
    """As nyx_hf.quickstart raises it."""


QuickstartError.__module__ = "nyx_hf.quickstart"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HubError("no token"), "error: no token"),
        (LicenceError("too lax"), "error: too lax"),
        (QuickstartError("made with\nanother seed"), "error: made with another seed"),
        (FileNotFoundError(2, "No such file or directory", "a.yaml"), "error: a.yaml: No such file or directory"),
        (
            ValueError("pooling is 'max'; it is one of last | mean"),
            "error: pooling is 'max'; it is one of last | mean",
        ),
        (RuntimeError("shapes differ"), "error: RuntimeError: shapes differ (NYX_DEBUG=1 shows where)"),
        (KeyError("x"), "error: KeyError: 'x' (NYX_DEBUG=1 shows where)"),
        (AssertionError(), "error: AssertionError: no message (NYX_DEBUG=1 shows where)"),
    ],
)
def test_errors_are_one_line_unless_debugging(monkeypatch: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    def fail(*_: Any) -> None:
        raise error

    stand_in(monkeypatch, "nyx_hf.quickstart", run_quickstart=fail)
    monkeypatch.delenv(cli.DEBUG, raising=False)
    result = run("quickstart")
    assert (result.exit_code, result.output) == (1, f"{line}\n")
    monkeypatch.setenv(cli.DEBUG, "1")
    assert run("quickstart").exception is error


def test_debug_option_reaches_the_processes_that_a_command_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cli.DEBUG, "")
    seen: list[str | None] = []
    stand_in(monkeypatch, "nyx_hf.quickstart", run_quickstart=lambda *_: seen.append(os.environ.get(cli.DEBUG)))
    assert run("quickstart").exit_code == run("--debug", "quickstart").exit_code == 0
    assert seen == ["", "1"]


def test_quickstart_and_train_pass_their_arguments_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def record(*arguments: Any) -> int:
        calls.append(arguments)
        return 3

    stand_in(monkeypatch, "nyx_hf.quickstart", run_quickstart=record)
    stand_in(monkeypatch, "nyx_hf.trainer.launch", train_command=record)
    assert run("quickstart").exit_code == 0
    assert run("quickstart", "--out", "x", "--seed", "7", "--steps", "5").exit_code == 0
    assert run("train", "r.yaml", "a=1", "b.c=-2e-5", "-n", "2").exit_code == 3  # the trainer's own exit code
    assert run("train", "r.yaml", "--launch", "zero2").exit_code == 3
    assert calls == [
        (Path("runs/quickstart"), 0, None),
        (Path("x"), 7, 5),
        ("r.yaml", ["a=1", "b.c=-2e-5"], 2, None),
        ("r.yaml", [], None, "zero2"),
    ]


def test_train_plans_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    report = lambda *arguments, **options: calls.append((arguments, options)) or "the plan"  # noqa: E731
    stand_in(monkeypatch, "nyx_hf.trainer.plan_report", plan_report=report)
    assert run("train", "r", "a=1", "--plan", "-n", "8", "--launch", "zero3").output == "the plan\n"
    assert run("train", "r", "--plan", "--json").exit_code == 0
    assert calls == [(("r", ["a=1"], 8, "zero3"), {"as_json": False}), (("r", [], None, None), {"as_json": True})]
    refused = run("train", "r", "--json")
    assert refused.exit_code == 2 and "add --plan" in refused.output


@pytest.mark.parametrize(("flags", "private"), [([], None), (["--private"], True), (["--public"], False)])
def test_push_passes_its_arguments_on(monkeypatch: pytest.MonkeyPatch, flags: list[str], private: bool | None) -> None:
    seen: list[Any] = []

    class Commit:
        oid, commit_url = "abc", "http://hub/me/x/commit/abc"

    def push_to_hub(*arguments: Any, **options: Any) -> type[Commit]:
        seen.extend([arguments, options])
        return Commit

    stand_in(monkeypatch, "nyx_hf.hub", push_to_hub=push_to_hub)
    result = run("push", "d", "me/x", "--tag", "v1", "--message", "m", "--no-create", *flags)
    assert result.output == "pushed d to me/x, tagged v1: http://hub/me/x/commit/abc\n"
    assert seen[0] == (Path("d"), "me/x")
    assert seen[1] == {
        "private": private,
        "tag": "v1",
        "revision": None,
        "commit_message": "m",
        "create": False,
    }
    told = json.loads(run("push", "d", "me/x", "--json").output)
    assert told == {"repo_id": "me/x", "commit": "abc", "url": Commit.commit_url, "tag": None}


def test_push_says_what_a_folder_lacks(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    result = run("push", str(tmp_path), "me/x")
    assert result.exit_code == 1 and result.output.endswith(f"it holds model: push {tmp_path / 'model'}\n")
    assert "has no card" in run("push", str(tmp_path / "model"), "me/x").output


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_doctor_finds_everything_that_pyproject_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_very_secret")
    result = run("doctor", "--json")
    told = json.loads(result.output)
    assert result.exit_code == (0 if told["ok"] else 1) and "secret" not in result.output
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {finding["name"] for finding in told["findings"]}
    assert {Requirement(line).name for line in project["dependencies"]} <= names
    assert set(project["optional-dependencies"]) - {"dev"} <= names
    assert {"python", "device", "bfloat16", "torchvision", "endpoint", "login"} <= names
    login = next(finding for finding in told["findings"] if finding["name"] == "login")
    assert login["status"] == "ok" and "--online" in login["detail"]
    assert all(finding["remedy"] for finding in told["findings"] if finding["status"] == "broken")


def test_doctor_text_has_a_heading_for_each_group() -> None:
    findings = [
        Finding("packages", "torch", "ok", "2.13"),
        Finding("packages", "peft", "broken", "not installed", "pip install peft"),
        Finding("extras", "pdf", "missing", "pypdfium2 not installed", "pip install 'nyx-hf[pdf]'"),
    ]
    assert doctor.as_text(findings).splitlines() == [
        "packages",
        "  ok      torch  2.13",
        "  broken  peft   not installed  →  pip install peft",
        "",
        "extras",
        "  missing pdf    pypdfium2 not installed  →  pip install 'nyx-hf[pdf]'",
        "",
        "broken: peft",
    ]
    assert not doctor.is_well(findings) and doctor.is_well(findings[::2])
    assert doctor.as_text(findings[::2]).endswith("\nall is well")


def test_doctor_and_wrong_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"peft": "0.1", "torchvision": "0.28.0", "av": "18.1"}

    def version(name: str) -> str:
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    def broken_import(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist\nand a long story")

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor, "import_module", broken_import)
    old, gone = doctor._package("packages", Requirement("peft>=0.18")), doctor._package("packages", Requirement("trl"))
    assert (old.status, old.detail) == ("broken", "0.1, but >=0.18 is needed") and "'peft>=0.18'" in old.remedy
    assert (gone.status, gone.detail, gone.remedy) == ("broken", "not installed", "pip install 'trl'")
    found = doctor._torchvision()
    assert found.status == "broken" and "uninstall torchvision" in found.remedy
    assert found.detail == "0.28.0 does not load (RuntimeError: operator torchvision::nms does not exist)"
    versions.pop("torchvision")
    assert doctor._torchvision().status == "missing"
    assert doctor._extra("video", [Requirement("av>=14")]).status == "ok"
    lacking = doctor._extra("web", [Requirement("fastapi"), Requirement("av>=14")])
    assert (lacking.status, lacking.remedy) == ("missing", "pip install 'nyx-hf[web]'") and "fastapi" in lacking.detail


def test_doctor_without_a_checkout_reads_the_installed_metadata(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout_needs, checkout_extras = doctor._requirements()
    lines = [str(requirement) for requirement in checkout_needs]
    lines += [f'{requirement}; extra == "{name}"' for name, group in checkout_extras.items() for requirement in group]
    monkeypatch.setattr(doctor, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(doctor, "requires", lambda name: lines)
    needs, extras = doctor._requirements()
    assert [str(need) for need in needs] == [str(need) for need in checkout_needs]
    assert {name: [r.name for r in group] for name, group in extras.items()} == {
        name: [r.name for r in group] for name, group in checkout_extras.items()
    }


def test_doctor_ends_with_1_when_something_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        doctor, "examine", lambda online: [Finding("hub", "login", "broken", "refused", "hf auth login")]
    )
    result = run("doctor", "--online")
    assert result.exit_code == 1 and result.output.endswith("broken: login\n")
