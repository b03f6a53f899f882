"""Results as text: tables for a screen, and `results.md`, which has every published line."""

from collections.abc import Mapping, Sequence

from tabulate import tabulate

from nyx_hf.model_cards.blocks import table as markdown_table
from nyx_hf.results import Line, Mean, Missing, Section, SetScore, SuiteReport, Table

_LEGEND = (
    "Percent. `(3/10)`: over 3 of its 10 sets. `*`: a set in it lacks queries or documents that the benchmark has. "
    "Published figures are copied from the papers named, not measured here."
)

_BREAK = "<br>"
Grid = tuple[list[str], list[list[str]]]


def report_text(report: SuiteReport) -> str:
    """Gives a report for a screen.

    Args:
        report: What a suite found.

    Returns:
        Tables of ours beside the papers' own models, scores of the sets, and what is missing.
    """
    left_out = sum(not line.own for table in report.tables for line in table.lines)
    more = [f"{left_out} more published lines stand in results.md (--out DIR)."] if left_out else []
    return "\n\n".join(
        [
            f"{report.title}: {_how(report)}",
            *(f"!!! {reason}: not the benchmark's own numbers" for reason in report.partial),
            *(f"{table.title}\n\n{_plain(*_grid(_shown(table)))}" for table in report.tables),
            "\n".join([_LEGEND.replace("`", ""), *more]),
            *(_section(one, _plain(one.columns, one.rows)) for one in report.sections),
            _plain(*_sets(report)),
            *_missing(report),
            *report.notes,
        ]
    )


def report_markdown(report: SuiteReport, picture: str | None = None, pictures: Mapping[str, str] | None = None) -> str:
    """Gives a report as a Markdown page.

    Args:
        report: What a suite found.
        picture: File name of its picture, beside the page.
        pictures: File names of its sections' pictures, by key.

    Returns:
        The page.
    """
    sections = [f"# {report.title}", f"{_how(report)}."]
    sections += [f"> **{reason}: not the benchmark's own numbers.**" for reason in report.partial]
    sections += [] if picture is None else [f"![{report.title}: ours beside published figures]({picture})"]
    sections += [f"## {table.title}\n\n{markdown_table(*_grid(table))}" for table in report.tables]
    shown = {key: f"\n\n![{key}]({file})" for key, file in (pictures or {}).items()}
    sections += [_LEGEND]
    sections += [
        f"## {_section(one, markdown_table(one.columns, one.rows))}{shown.get(one.key, '')}" for one in report.sections
    ]
    sections += [f"## Sets\n\n{markdown_table(*_sets(report))}"]
    if report.missing:
        rows = [(one.name, one.group, one.reason, f"`{one.command}`") for one in report.missing]
        sections.append(f"## Missing sets\n\n{markdown_table(('set', 'group', 'why', 'what builds it'), rows)}")
    sections += [f"## How\n\n{_provenance(report)}", *report.notes]
    return "\n\n".join(sections) + "\n"


def cell(mean: Mean | None) -> str:
    """Writes an average with what it is over, where that is not everything."""
    if mean is None or mean.value is None:
        return "–"
    over = f" ({mean.counted}/{mean.of})" if mean.counted < mean.of else ""
    return f"{mean.value:.1f}{'*' if mean.short else ''}{over}"


def line_name(line: Line) -> str:
    """Names a line with its width."""
    return line.name if line.dim is None else f"{line.name}, {line.dim} dims"


def _shown(table: Table) -> Table:
    """Keeps what fits a screen: ours, and the papers' own models."""
    return Table(table.key, table.title, table.figures, [line for line in table.lines if line.own])


def _grid(table: Table) -> Grid:
    """Lays a table out, the longer of figures and models downwards."""
    lines = table.lines
    cells = [[cell(line.values.get(figure)) for figure in table.figures] for line in lines]
    if len(table.figures) > len(lines):
        header = ["", *(f"{line_name(line)}{_BREAK}{line.source or 'this run'}" for line in lines)]
        return header, [[title, *column] for title, *column in zip(table.figures.values(), *cells, strict=True)]
    header = ["model", "from", *table.figures.values()]
    return header, [[line_name(line), line.source or "this run", *row] for line, row in zip(lines, cells, strict=True)]


def _sets(report: SuiteReport) -> Grid:
    """Lists the sets with their score at every width."""
    dims = list(dict.fromkeys(score.dim for score in report.scores))
    by_set: dict[tuple[str, str], dict[int | None, SetScore]] = {}
    for score in report.scores:
        by_set.setdefault((score.part, score.name), {})[score.dim] = score
    rows = []
    for (part, name), scores in by_set.items():
        one = next(iter(scores.values()))
        remarks = "; ".join([*(["held out"] if one.held_out else []), *one.partial, *one.notes])
        values = [f"{100 * scores[dim].value:.1f}" for dim in dims]
        rows.append([name, part, one.metric, *values, f"{one.queries:,}", f"{one.documents:,}", remarks])
    widths = ["score" if dim is None else f"{dim} dims" for dim in dims]
    return ["set", "part", "metric", *widths, "queries", "documents", "remarks"], rows


def _section(section: Section, grid: str) -> str:
    """Puts a suite's own table between its title and how it is read."""
    return "\n\n".join(filter(None, [section.title, grid, section.remark]))


def _plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lays a grid out for a screen: columns of figures to the right."""
    figures = [all(row[column][:1].isdigit() or row[column] == "–" for row in rows) for column in range(len(header))]
    align = ["right" if of_figures else "left" for of_figures in figures]
    titles = [title.replace(_BREAK, "\n") for title in header]
    return tabulate(rows, titles, colalign=align, disable_numparse=True)


def _missing(report: SuiteReport) -> list[str]:
    """Names missing sets by why they are, with one command for each reason."""
    by_reason: dict[str, list[Missing]] = {}
    for one in report.missing:
        by_reason.setdefault(one.reason, []).append(one)
    return [
        f"Missing ({len(some)}): {', '.join(one.name for one in some)}\n  {some[0].name} {reason}; "
        f"run: {some[0].command}\n  or build all that are missing: --build"
        for reason, some in by_reason.items()
    ]


def _how(report: SuiteReport) -> str:
    run = report.run
    revision = "" if run.model_revision is None else f" at {run.model_revision}"
    return f"{run.model}{revision}, {run.date}, seed {run.seed}, nyx_hf {run.nyx_hf}"


def _provenance(report: SuiteReport) -> str:
    """Lists the data's revisions, and the command."""
    rows = [(score.name, *one) for score in report.scores for one in score.revisions.items()]
    table = markdown_table(("set", "data", "revision"), list(dict.fromkeys(rows)))
    command = [] if report.run.command is None else [f"    {report.run.command}"]
    return "\n\n".join([*command, table])
