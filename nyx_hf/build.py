"""Building datasets from the command line: a builder's settings are the command's options."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pyarrow.parquet as pq
from tabulate import tabulate

from nyx_hf.data_builders.builder import CONFIGS, RetrievalBuilder, options_of
from nyx_hf.data_builders.registry import BUILDERS, find_builder


@dataclass(frozen=True)
class Built:
    """A dataset that was built: its folder, its rows by config and split, and what was left out, by reason."""

    folder: Path
    rows: dict[str, dict[str, int]]
    dropped: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """Gives it as JSON values."""
        return {"folder": str(self.folder), "rows": self.rows, "dropped": self.dropped}

    def as_text(self) -> str:
        """Gives it as two tables."""
        rows = [(config, split, f"{n:,}") for config, splits in self.rows.items() for split, n in splits.items()]
        tables = [tabulate(rows, ("config", "split", "rows"), colalign=("left", "left", "right"))]
        if self.dropped:
            lost = [(reason, f"{count:,}") for reason, count in sorted(self.dropped.items(), key=lambda one: -one[1])]
            tables.append(tabulate(lost, ("left out", "how many"), colalign=("left", "right")))
        return "\n\n".join([*tables, f"wrote {self.folder}"])


def listed_builders() -> dict[str, str]:
    """Gives what can be built: names and what each makes."""
    return {name: find_builder(name).SUMMARY for name in BUILDERS}


def list_builders() -> str:
    """Gives the table of what can be built."""
    return tabulate(list(listed_builders().items()), ("name", "what it makes"))


def make_builder(name: str, arguments: Sequence[str]) -> RetrievalBuilder:
    """Makes a builder from the options that were typed.

    Args:
        name: The builder's name.
        arguments: Its options, `--limit 10`, as typed.

    Returns:
        The builder.

    Raises:
        SystemExit: With code 2, after a line that says why, if an option is unknown or has a bad value; with code 0
            after printing them where `--help` is among them.
        ValueError: If there is no such builder, or its settings do not go together.
    """
    builder = find_builder(name)
    values = vars(_parser(builder).parse_args(list(arguments)))
    made = builder(config_name=CONFIGS[0], **values)
    made.load_searcher = _load_searcher
    return made


def build_dataset(builder: RetrievalBuilder, out: Path, command: Sequence[str], overwrite: bool = False) -> Built:
    """Builds a dataset folder.

    Args:
        builder: Out of `make_builder`.
        out: The folder to make.
        command: The words that were typed, for the card: paths are shown by their last part.
        overwrite: Whether a dataset that stands there may be replaced.

    Returns:
        What was built.
    """
    folder = builder.write(out, shown_command(command), overwrite=overwrite)
    return Built(folder, written_rows(folder), dict(builder.dropped))


def plan_text(plan: Mapping[str, Any]) -> str:
    """Gives a plan as a table."""
    return tabulate([(name, _shown(value)) for name, value in plan.items()])


def written_rows(folder: Path) -> dict[str, dict[str, int]]:
    """Counts a dataset folder's rows by config and split."""
    rows: dict[str, dict[str, int]] = {}
    for config in CONFIGS:
        for path in sorted((folder / "data" / config).glob("*.parquet")):
            split = path.name[: -len("-00000-of-00001.parquet")]
            counts = rows.setdefault(config, {})
            counts[split] = counts.get(split, 0) + pq.read_metadata(path).num_rows
    return rows


def shown_command(words: Sequence[str]) -> str:
    """Writes a command so that it names no folder of this machine.

    Args:
        words: The words as typed.

    Returns:
        One line; of every path, also behind `html:`, only the last part is left.
    """
    return shlex.join(",".join(map(_without_path, word.split(","))) for word in words)


def add_options(parser: argparse.ArgumentParser, config: Any) -> None:
    """Makes the fields of a dataclass of settings the options of a parser.

    Args:
        parser: The parser.
        config: The dataclass; what `option` makes of a field gives its help.
    """
    hints = get_type_hints(config)
    for one in options_of(config):
        default = one.default if one.default is not MISSING else one.default_factory()
        said = "required" if default == "" else f"default: {'none' if default is None else default}"
        shown = f"{one.metadata.get('help', '')} [{said}]".replace("%", "%%")
        parser.add_argument(f"--{one.name.replace('_', '-')}", help=shown.strip(), **_kind_of(hints[one.name]))


def _without_path(word: str) -> str:
    """Leaves the last part of a path that is absolute or leads up; all else stays."""
    before, colon, path = word.rpartition(":")
    option, equals, path = path.rpartition("=")
    if path.startswith(("/", "~", "..")) and not word.startswith(("http:", "https:")) and not path.startswith("//"):
        path = Path(path).expanduser().resolve().name
    return f"{before}{colon}{option}{equals}{path}"


def _parser(builder: type[RetrievalBuilder]) -> argparse.ArgumentParser:
    """Makes the parser of a builder's options from the fields of its config."""
    parser = argparse.ArgumentParser(
        prog=f"nyx-hf build {builder.NAME}",
        usage=f"nyx-hf build {builder.NAME} [OPTIONS] --out DIR",
        description=builder.SUMMARY,
        epilog="Options of every build: --out DIR, --plan, --overwrite, --json. See nyx-hf build --help.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    add_options(parser, builder.BUILDER_CONFIG_CLASS)
    return parser


def _kind_of(hint: Any) -> dict[str, Any]:
    """Says how argparse reads a value of a type: bool, int, float, str, a Literal, a list of such, or None besides."""
    if get_origin(hint) in (UnionType, None) and NoneType in get_args(hint):
        [hint] = [one for one in get_args(hint) if one is not NoneType]
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(hint) is Literal:
        return {"choices": get_args(hint)}
    if get_origin(hint) in (list, tuple):
        kind = next(one for one in get_args(hint) if one is not Ellipsis)
        return {"nargs": "+", "type": kind, "metavar": kind.__name__.upper()}
    return {"type": hint, "metavar": hint.__name__.upper()}


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:,}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _load_searcher(name: str) -> Any:
    """Opens a retriever; what loads models is imported only then."""
    from nyx_hf.retrievers import load_searcher

    return load_searcher(name)
