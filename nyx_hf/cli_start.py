"""Commands to begin with: `quickstart` and `doctor`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from nyx_hf.cli_app import app, errors_in_one_line, examples


@app.command(epilog=examples("nyx-hf quickstart --out runs/quickstart --seed 0"))
@errors_in_one_line
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for the model, the dataset and the report.")] = Path(
        "runs/quickstart"
    ),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps; the built-in number if left out.")] = None,
) -> None:
    """Build data, train a small retriever, show what it finds.

    Everything from scratch: minutes on two CPU cores, no network. Run again, it goes on where it stopped; on a
    finished folder it prints its table.
    """
    from nyx_hf.quickstart import run_quickstart

    run_quickstart(out, seed, steps)


@app.command(epilog=examples("nyx-hf doctor --json"))
@errors_in_one_line
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Also ask the Hub whose token it is.")] = False,
) -> None:
    """Show what is installed, missing or broken.

    Package versions, the torch backend, the Hub's address and login, optional extras. Ends with exit code 0 if nothing
    is broken, 1 otherwise; what is optional may be missing.
    """
    from nyx_hf import doctor as examination

    findings = examination.examine(online)
    if as_json:
        typer.echo(json.dumps(examination.as_json(findings), indent=2, ensure_ascii=False))
    else:
        typer.echo(examination.as_text(findings))
    raise typer.Exit(0 if examination.is_well(findings) else 1)
