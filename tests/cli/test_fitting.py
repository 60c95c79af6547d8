"""`top` on terminals of every width: what is shown can be read, and no number is cut."""

from __future__ import annotations

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from mailqueue.cli.fitting import fitted, needs, parted, widths
from mailqueue.cli.grid import Grid, table
from mailqueue.cli.grid import drawn as drawn_table
from mailqueue.cli.top import Look, fitting

RELAYS = Grid(
    ("Relay", "Breaker", "Sent", "A minute", "Put off", "Failed", "In doubt",
     "Queued", "Deferred", "Sending", "Held", "Due", "Oldest due"),
    [("newsletter-relay", "closed", "1234567", "20.5", "12", "3", "1",
      "309", "12345", "20", "308", "309", "1107d 16h")],
    numbers=frozenset({"Sent", "A minute", "Put off", "Failed", "In doubt", "Queued", "Deferred",
                       "Sending", "Held", "Due", "Oldest due"}),
)  # fmt: skip
REASONS = Grid(
    ("Count", "Recipients", "Outcome", "Relay", "Stage", "Reply", "Reason", "Last", "Message"),
    [("309", "309", "in-doubt", "newsletter-relay", "end-of-data", "451 4.7.1",
      "greylisted, try again in # seconds, and see https://example.org/help",
      "2026-11-26T15:04:51Z", "1234")],
    numbers=frozenset({"Count", "Recipients", "Message"}),
    whole=frozenset({"Last"}),
)  # fmt: skip
LOOK = Look("no daemon is running", RELAYS, REASONS)


def drawn(grid: Grid, width: int) -> list[str]:
    """Return the lines of ``grid`` on a terminal of ``width`` columns."""
    written = StringIO()
    console = Console(file=written, width=width, force_terminal=True, color_system=None)
    console.print(table(grid, widths=widths(grid, width), is_cut=True))
    return written.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 132, 200])
def test_nothing_that_counts_is_cut(width: int) -> None:
    """On any usual terminal headings and numbers are whole, and a row is a line."""
    for grid in fitting(LOOK, width):
        heading, row = drawn(grid, width)
        assert max(len(heading), len(row)) <= width
        assert heading.split() == " ".join(grid.headings).split()
        for name, cell in zip(grid.headings, grid.rows[0], strict=True):
            assert cell in row or not grid.is_whole(name)


@pytest.mark.parametrize(
    ("width", "grids"), [(79, 3), (80, 3), (needs(RELAYS) - 1, 3), (needs(RELAYS), 2)]
)
def test_what_was_and_what_is_are_parted_where_room_is_short(width: int, grids: int) -> None:
    """Each part names the relays, and what waits is shown however narrow it is."""
    found = [*fitting(LOOK, width)]
    assert len(found) == grids
    assert all("Relay" in grid.headings for grid in found)
    for heading in ("Sent", "Failed", "In doubt", "Queued", "Held", "Due", "Oldest due", "Reply"):
        assert any(heading in grid.headings for grid in found)


@pytest.mark.parametrize("grid", [RELAYS, REASONS], ids=["relays", "reasons"])
@pytest.mark.parametrize("width", range(40, 200, 7))
def test_no_table_cuts_a_number(grid: Grid, width: int) -> None:
    """Where there is not the room for it a row becomes a list, which has all of it."""
    shown = drawn_table(grid, width=width, colour=False).splitlines()
    for name, cell in zip(grid.headings, grid.rows[0], strict=True):
        assert any(name in line for line in shown)
        assert any(cell in line for line in shown) or not grid.is_whole(name)


def test_what_can_be_missed_goes_in_its_order() -> None:
    """No more of it than it takes."""
    width = needs(REASONS, sentence="Reason")
    left = ("Recipients", "Last")
    assert fitted(REASONS, width, dispensable=left, sentence="Reason") == REASONS
    assert (
        "Recipients" not in fitted(REASONS, width - 1, dispensable=left, sentence="Reason").headings
    )
    assert "Last" in fitted(REASONS, width - 1, dispensable=left, sentence="Reason").headings


def test_parted_grids_have_all_of_it() -> None:
    """Both have the head, and the rest stands in one of them."""
    one, two = parted(RELAYS, 1, 7)
    assert one.headings + two.headings[1:] == RELAYS.headings
    assert (*one.rows[0], *two.rows[0][1:]) == RELAYS.rows[0]


@given(width=st.integers(1, 200), words=st.lists(st.text(max_size=30), min_size=1, max_size=3))
def test_any_cells_fit_any_width(width: int, words: list[str]) -> None:
    """Whatever relays say and however narrow it is, columns never fall below one."""
    grid = Grid(("One", "Number"), [(word, "7") for word in words], numbers=frozenset({"Number"}))
    found = widths(grid, width)
    assert min(found) >= 1
    assert sum(found) + 2 <= width or found[0] == 1
