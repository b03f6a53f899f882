"""The command line, `nyx-hf`. What a command needs is imported inside it, so that `--help` is quick."""

from importlib import import_module

from nyx_hf.cli_app import DEBUG, app, errors_in_one_line, one_line

__all__ = ["DEBUG", "app", "errors_in_one_line", "main", "one_line"]

# in the order of the help page
for _name in ("start", "data", "training", "import", "search", "reranking", "distill", "answers", "serve"):
    import_module(f"nyx_hf.cli_{_name}")


def main() -> None:
    """Runs the command line."""
    app()
