"""What all commands of `nyx-hf` share: the application, errors in one line, examples on help pages."""

import os
from collections.abc import Callable
from functools import wraps
from typing import Annotated, ParamSpec, TypeVar

import typer

from nyx_hf._version import __version__

P = ParamSpec("P")
R = TypeVar("R")

DEBUG = "NYX_DEBUG"  # an environment variable, so that the processes a command starts see it too

app = typer.Typer(
    name="nyx-hf",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def one_line(error: Exception) -> str:
    """Says what went wrong in one line.

    Args:
        error: What was raised. Our own errors, bad values and file errors speak for themselves; anything else is
            named, since nobody foresaw it.

    Returns:
        The line, without a full stop.
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    message = " ".join(str(error).split()) or "no message"
    if isinstance(error, OSError | ValueError) or type(error).__module__.startswith("nyx_hf."):
        return message
    return f"{type(error).__name__}: {message} ({DEBUG}=1 shows where)"


def errors_in_one_line(command: Callable[P, R]) -> Callable[P, R]:
    """Ends a command that raises with one line and exit code 1; a traceback only if it was asked for."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            typer.echo(f"error: {one_line(error)}", err=True)
            raise typer.Exit(1) from error

    return run


def examples(*lines: str) -> str:
    """Lays examples out for the end of a help page; the first character keeps their lines apart."""
    return "\b\n" + "\n".join(["Examples:" if len(lines) > 1 else "Example:", *(f"  {line}" for line in lines)])


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nyx-hf {__version__}")
        raise typer.Exit


@app.callback(
    epilog=examples(
        "nyx-hf quickstart    # start here: a retriever from scratch, in minutes",
        "nyx-hf doctor        # what is installed, and what is missing",
    )
)
def nyx_hf(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help=f"Show tracebacks ({DEBUG}=1 does the same).")] = False,
) -> None:
    """Train, publish and use retrievers for any ordered mix of text, images and video."""
    if debug:
        os.environ[DEBUG] = "1"
