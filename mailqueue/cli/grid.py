"""Rows under headings: a table for a terminal, aligned columns for a pipe, lines of JSON."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.output import one_line

if TYPE_CHECKING:
    from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")


MOST = 1024
"""Characters of a cell that a terminal gets: as many as of any reply are kept."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of text under ``headings``, those in ``numbers`` to the right.

    ``whole``: columns besides the numbers that mean nothing when they are cut.
    The cells may hold anything: what is not printable is made so when they are shown.
    """

    headings: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def is_whole(self, heading: str) -> bool:
        """Whether nothing may be left out of this column."""
        return heading in self.numbers or heading in self.whole


def show(grid: Grid, *, empty: str = "nothing to show") -> None:
    """Write ``grid`` to standard output; a terminal gets ``empty`` where there are no rows."""
    if not sys.stdout.isatty():
        for line in plain(grid):
            click.echo(line)
    elif grid.rows:
        width = shutil.get_terminal_size().columns
        click.echo(drawn(grid, width=width, colour=has_colour()), nl=False)
    else:
        click.echo(empty)


def show_json(objects: Iterable[Mapping[str, Any]]) -> None:
    """Write each object as a line of pure ASCII: what would act on a terminal is escaped."""
    for one in objects:
        click.echo(json.dumps(one))


def has_colour() -> bool:
    """Whether colours are wanted (no-color.org)."""
    return not os.environ.get("NO_COLOR")


def plain(grid: Grid) -> Iterator[str]:
    """Yield the headings and each row as columns; nothing is cut, and "-" stands for nothing."""
    lines = [[heading.upper() for heading in grid.headings]]
    lines += [[one_line(cell) or "-" for cell in row] for row in grid.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    right = [heading in grid.numbers for heading in grid.headings]
    for line in lines:
        cells = zip(line, widths, right, strict=True)
        yield "  ".join(_padded(*cell) for cell in cells).rstrip()


def _padded(cell: str, width: int, is_number: bool) -> str:
    return cell.rjust(width) if is_number else cell.ljust(width)


def drawn(grid: Grid, *, width: int, colour: bool) -> str:
    """Return ``grid`` as a table for a terminal of ``width`` columns.

    Where headings, numbers and the beginnings of words do not fit, each row is written as a list
    of its own.
    """
    from mailqueue.cli.fitting import needs, widths

    if needs(grid) > width:
        return "\n".join(_listed(grid))
    from rich.console import Console

    written = StringIO()
    console = Console(
        file=written,
        width=width,
        force_terminal=True,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    console.print(table(grid, widths=widths(grid, width)))
    return written.getvalue()


def _listed(grid: Grid) -> Iterator[str]:
    names = [one_line(heading) for heading in grid.headings]
    width = max(map(len, names))
    for row in grid.rows:
        yield from (
            f"{name:<{width}}  {_shortened(cell)}" for name, cell in zip(names, row, strict=True)
        )
        yield ""


def _shortened(cell: str) -> str:
    text = one_line(cell)
    return text if len(text) <= MOST else f"{text[:MOST]}..."


def table(grid: Grid, *, widths: Sequence[int], is_cut: bool = False) -> Table:
    """Return ``grid`` as rich draws it. Cells are text and never markup: ``[red]`` stays so.

    ``widths``: how wide each column is. ``is_cut``: each row is one line, and what does not fit
    into its column is left out.
    """
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for heading, width in zip(grid.headings, widths, strict=True):
        made.add_column(
            Text(one_line(heading)),
            overflow="ellipsis" if is_cut else "fold",
            no_wrap=is_cut,
            width=width,
            justify="right" if heading in grid.numbers else "left",
        )
    for row in grid.rows:
        made.add_row(*(Text(_shortened(cell)) for cell in row))
    return made
