"""Grids on a terminal that is narrow: parted in two, or without the columns that can be missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mailqueue.cli.grid import Grid
from mailqueue.cli.output import one_line

WORDS: Final = 12
"""Columns that a word needs at least, if it is so long: what is left of it can be told apart."""
SENTENCE: Final = 24
"""The same for the last column, which has what is read."""
_GAP: Final = 2
_MOST: Final = 512
"""Wider than any terminal."""


def parted(grid: Grid, head: int, first: int) -> tuple[Grid, Grid]:
    """Return two grids, each with the first ``head`` columns: one with those up to ``first``, and
    one with the others.
    """
    kept, others = range(first), [*range(head), *range(first, len(grid.headings))]
    return _of(grid, kept), _of(grid, others)


def fitted(grid: Grid, width: int, *, dispensable: Sequence[str], sentence: str = "") -> Grid:
    """Return ``grid`` without as many of the ``dispensable`` columns, in their order, as it takes
    to fit into ``width``.

    ``sentence``: the heading of the column that is mostly read.
    """
    for heading in dispensable:
        if needs(grid, sentence=sentence) <= width:
            break
        grid = _of(grid, [n for n, one in enumerate(grid.headings) if one != heading])
    return grid


def needs(grid: Grid, *, sentence: str = "") -> int:
    """Return how many columns of a terminal ``grid`` needs to be read."""
    needed = [_column(grid, number, sentence) for number in range(len(grid.headings))]
    return sum(needed) + _GAP * (len(needed) - 1)


def widths(grid: Grid, width: int) -> list[int]:
    """Return how wide each column of ``grid`` is on a terminal of ``width`` columns.

    Where room is short it is taken from words, and there from the longest.
    """
    found = [_longest(grid, number) for number in range(len(grid.headings))]
    words = [number for number, one in enumerate(grid.headings) if not grid.is_whole(one)]
    excess = sum(found) + _GAP * (len(found) - 1) - width
    while words and excess > 0:
        widest = max(words, key=lambda number: found[number])
        if found[widest] <= 1:
            break
        found[widest] -= 1
        excess -= 1
    return found


def _column(grid: Grid, number: int, sentence: str) -> int:
    heading, whole = grid.headings[number], _longest(grid, number)
    if grid.is_whole(heading):
        return whole
    return max(len(heading), min(whole, SENTENCE if heading == sentence else WORDS))


def _longest(grid: Grid, number: int) -> int:
    cells = (one_line(row[number])[:_MOST] for row in grid.rows)
    return max(map(len, (grid.headings[number], *cells)))


def _of(grid: Grid, columns: Sequence[int]) -> Grid:
    headings = tuple(grid.headings[number] for number in columns)
    rows = [tuple(row[number] for number in columns) for row in grid.rows]
    return replace(grid, headings=headings, rows=rows)
