"""The command that brings other projects' retrievers in: `import`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(
    "import",
    epilog=examples(
        "nyx-hf import --list",
        "nyx-hf import SnowNation/Nyx-3B-Feedback --plan     # what it is, and its habits; no weights are fetched",
        "nyx-hf import code-kunkun/LamRA-Ret --out models/lamra",
        "nyx-hf import runs/their-adapter --layout nyx --base Qwen/Qwen2.5-VL-3B-Instruct --out models/nyx",
    ),
)
@errors_in_one_line
def import_model(
    source: Annotated[
        str | None, typer.Argument(metavar="REPO", help="A published model or adapter: Hub name or folder.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write.")] = None,
    layout: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which project's it is, where it cannot be told; see --list.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the Hub.")] = None,
    base: Annotated[str | None, typer.Option(metavar="MODEL", help="An adapter's base: Hub name or folder.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Write nothing: print what it is and what is kept.")] = False,
    show_list: Annotated[bool, typer.Option("--list", help="List the layouts that are known.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Make a folder of ours of a published retriever, its own habits kept.

    Pooling, prompts, end token, positions, attention and pixel limits are those of its makers' code. No code of theirs
    is run.
    """
    if show_list:
        from nyx_hf.checkpoint_layouts import LAYOUTS

        titles = {layout.name: layout.title for layout in LAYOUTS.values()}
        width = max(map(len, titles)) + 2
        lines = "\n".join(f"{name:<{width}}{title}" for name, title in titles.items())
        typer.echo(json.dumps(titles) if as_json else lines)
        return
    if source is None:
        raise typer.BadParameter("name what to import; --list shows what is known", param_hint="REPO")
    if out is None and not plan:
        raise typer.BadParameter("name the folder to write, or look at --plan first", param_hint="--out")
    from nyx_hf.import_checkpoint import import_checkpoint, plan_import

    if out is None or plan:
        done = plan_import(source, layout=layout, revision=revision, base=base)
        typer.echo(json.dumps(done.as_json()) if as_json else done.as_text())
        return
    done = import_checkpoint(source, out, layout=layout, revision=revision, base=base)
    result = {**done.as_json(), "folder": str(out)}
    typer.echo(json.dumps(result) if as_json else f"{done.as_text()}\n\nwrote {out}")
