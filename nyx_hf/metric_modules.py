"""Metrics as modules of Hugging Face `evaluate`: written as folders that need no nyx_hf, and pushed as Spaces."""

import ast
import inspect
import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from string import Template
from types import ModuleType

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi, SpaceCard, SpaceCardData, get_token

from nyx_hf._version import __version__
from nyx_hf.folders import HubError
from nyx_hf.hub import in_one_line, open_repo
from nyx_hf.model_cards.blocks import TEMPLATES, code_block, fill_repo_id


@dataclass(frozen=True)
class _Module:
    """A module of ours: the file with its class, its title, the function that computes it, and arguments to try."""

    script: str
    title: str
    function: str
    example: Mapping[str, object]


_MODULES = {
    "nyx_qa": _Module(
        "nyx_hf.metric_qa",
        "Nyx QA",
        "answer_scores",
        {
            "predictions": ["the Eiffel Tower", "rome"],
            "references": [["Eiffel Tower in Paris", "La tour Eiffel"], ["Rome"]],
            "options": [None, ["Paris", "Rome"]],
        },
    ),
    "nyx_retrieval": _Module(
        "nyx_hf.metric_retrieval",
        "Nyx retrieval",
        "ranking_metrics",
        {"predictions": [["d3", "d1", "d7"], ["d2", "d5"]], "references": [["d1", "d4"], ["d2"]], "ks": [1, 2]},
    ),
}
METRIC_MODULES = tuple(_MODULES)

_OURS = re.compile(r"^from nyx_hf\.data_builders\.(\w+) import", re.M)
_REQUIREMENTS = "datasets>=4.0\nevaluate>=0.4.5\nnumpy>=1.26\n"
_GRADIO = "6.31.0"
# not evaluate's own widget: up to 0.4.6 it calls gr.inputs, which Gradio 4 took away
_APP = Template('''\
"""The Space's page: the metric's arguments in, as JSON, and its values out."""

import json
from pathlib import Path

import evaluate
import gradio as gr

EXAMPLE = """\\
$example
"""

metric = evaluate.load(str(Path(__file__).resolve().with_name("$name.py")))


def compute(arguments):
    """Computes the metric."""
    return metric.compute(**json.loads(arguments))


page = gr.Interface(
    compute,
    gr.Code(EXAMPLE, language="json", label="arguments"),
    gr.JSON(label="values"),
    title="$title",
    description=metric.description,
)

if __name__ == "__main__":
    page.launch(show_error=True)
''')


def metric_module_files(name: str) -> dict[str, str]:
    """Makes the files of a metric's module.

    The code is that of nyx_hf at this moment: the file with the metric's class, and beside it each file that it
    imports from, in which in turn the functions imported from elsewhere in nyx_hf stand written out.

    Args:
        name: One of `METRIC_MODULES`.

    Returns:
        Text by file name: `<name>.py` and what it imports, README.md (a Space's card), requirements.txt, app.py.

    Raises:
        ValueError: If there is no such metric.
    """
    if name not in _MODULES:
        raise ValueError(f"found no metric {name!r}, expected one of {', '.join(METRIC_MODULES)}")
    about = _MODULES[name]
    script = import_module(about.script)
    source = inspect.getsource(script)
    beside = {one: import_module(f"nyx_hf.data_builders.{one}") for one in _OURS.findall(source)}
    example = json.dumps(about.example, indent=2)
    return {
        f"{name}.py": _OURS.sub(r"from .\1 import", source),
        **{f"{one}.py": _self_contained(module) for one, module in beside.items()},
        "README.md": _card(about, script),
        "requirements.txt": _REQUIREMENTS,
        "app.py": _APP.substitute(name=name, title=about.title, example=example),
    }


def write_metric_module(name: str, folder: str | Path) -> Path:
    """Writes a metric's module, for `evaluate.load(path)` without a network and without nyx_hf.

    Args:
        name: One of `METRIC_MODULES`: `nyx_qa` (exact match, F1 and accuracy of answers) or `nyx_retrieval` (recall,
            nDCG, MRR, hit rate and MAP of rankings).
        folder: Where its folder is made.

    Returns:
        `folder/<name>`.

    Raises:
        FileExistsError: If that is there already.
        ValueError: If there is no such metric.
    """
    files = metric_module_files(name)
    target = Path(folder) / name
    if target.exists():
        raise FileExistsError(f"found {target} there already, expected a new folder: remove it, or name another")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as beside:
        draft = Path(beside) / name
        draft.mkdir()
        for file, text in files.items():
            (draft / file).write_text(text, encoding="utf-8")
        draft.rename(target)
    return target


def push_metric_module(
    name: str,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> CommitInfo:
    """Pushes a metric's module to the Hub as a Space, in one commit: `evaluate.load(repo_id)` loads it from there.

    Args:
        name: One of `METRIC_MODULES`.
        repo_id: Where it goes: `owner/<name>`, since `evaluate` looks for the file that is called as the Space is.
        private: Visibility of a Space that is made now: True unless told otherwise, False where others are to load
            it. None leaves one that exists as it is.
        token: Hub token; the logged-in user's where it is left out.
        commit_message: Message of the commit.

    Returns:
        The commit, with its `oid` and `commit_url`.

    Raises:
        HubError: If the name does not fit, there is no token, or the Hub refuses or is out of reach.
        ValueError: If there is no such metric.
    """
    files = metric_module_files(name)
    owner, _, space = repo_id.partition("/")
    if not owner or space != name:
        raise HubError(f"{repo_id!r} is no name for the Space of {name}: push it to owner/{name}")
    token = token or get_token()
    if not token:
        raise HubError("there is no Hub token: run `hf auth login`, or set HF_TOKEN")
    api = HfApi(token=token, library_name="nyx_hf", library_version=__version__)
    with in_one_line(repo_id, token):
        if not api.repo_exists(repo_id, repo_type="space"):
            api.create_repo(repo_id, repo_type="space", space_sdk="gradio", private=private is not False)
        open_repo(api, repo_id, "space", private, create=False)
        return api.create_commit(
            repo_id,
            [CommitOperationAdd(file, fill_repo_id(text, repo_id).encode()) for file, text in files.items()],
            commit_message=commit_message or f"Upload metric with nyx_hf {__version__}",
            repo_type="space",
        )


def _self_contained(module: ModuleType) -> str:
    """Gives a module's text, the functions that it imports from nyx_hf written out in place of their import."""
    source = inspect.getsource(module)
    lines = source.splitlines(keepends=True)
    for node in reversed(ast.parse(source).body):  # from the end, so that line numbers stay true
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("nyx_hf."):
            functions = [inspect.getsource(getattr(module, alias.name)) for alias in node.names]
            lines[node.lineno - 1 : node.end_lineno] = [f"\n{function}\n" for function in functions]
    return "".join(lines)


def _card(about: _Module, script: ModuleType) -> str:
    """Writes the Space's README.md: what Spaces and `evaluate` read of it, how it is called, how it is computed."""
    function = getattr(script, about.function)
    metadata = SpaceCardData(
        title=about.title,
        emoji="🧭",
        colorFrom="indigo",
        colorTo="blue",
        sdk="gradio",
        sdk_version=_GRADIO,
        python_version="3.11",
        app_file="app.py",
        pinned=False,
        license="apache-2.0",
        tags=["evaluate", "metric"],
        description=" ".join(script.DESCRIPTION.split()),
    )
    card: SpaceCard = SpaceCard.from_template(
        metadata,
        template_path=str(TEMPLATES / "metric.md"),
        inputs=code_block(inspect.cleandoc(script.INPUTS), "text"),
        formulas=code_block((inspect.getdoc(function) or "").partition("\nArgs:")[0], "text"),
        version=__version__,
        bibtex=code_block(script.CITATION, "bibtex"),
    )
    return str(card)
