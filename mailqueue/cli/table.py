"""Recipients as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mailqueue.cli.output import one_line, relative
from mailqueue.cli.rows import due_at, obstacle, sender
from mailqueue.cli.waiting import Surroundings
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.lookup import Listed

STATE_COLOURS: Final = {
    State.QUEUED: "cyan",
    State.DEFERRED: "yellow",
    State.SENDING: "blue",
    State.HELD: "magenta",
    State.SENT: "green",
    State.FAILED: "red",
    State.EXPIRED: "red",
    State.CANCELLED: "bright_black",
}
WIDE: Final = 100
"""Columns of a terminal from which on a recipient has one line."""
_COLUMNS: Final = ("ID", "State", "Due", "Tries", "Relay", "From", "To", "Reason")


def table(rows: Iterable[Listed], around: Surroundings, *, width: int, colour: bool) -> str:
    """Return ``rows`` as a table for a terminal of ``width`` columns; instants as seen from now.

    On a narrow one each recipient has two lines, who it is and why it waits. Cells are text and
    never markup: a relay that says ``[red]`` says just that.
    """
    cells = [_cells(row, around) for row in rows]
    written = StringIO()
    console = Console(
        file=written,
        width=width,
        force_terminal=True,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    if width >= WIDE:
        console.print(_in_columns(cells))
    else:
        console.print(*_in_pairs(cells), sep="\n")
    return written.getvalue()


def _in_columns(rows: Iterable[list[Text]]) -> Table:
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        drawn.add_column(column, overflow="fold")
    for cells in rows:
        drawn.add_row(*cells)
    return drawn


def _in_pairs(rows: Sequence[list[Text]]) -> Iterator[RenderableType]:
    """Yield for each recipient a line of who it is, and one of where it goes and what it met."""
    indent = max((len(cells[0]) for cells in rows), default=0) + 2
    for number, state, due, tries, relay, whom, to, why in rows:
        number.pad_right(indent - len(number))
        tried = f"{tries} {'try' if str(tries) == '1' else 'tries'}"
        first = [part for part in (state, due, Text(tried), to) if part]
        yield number + Text("  ").join(first)
        second = [part for part in (relay + Text(", from ") + whom, why) if part]
        yield Padding(Text(": ").join(second), (0, 0, 0, indent))


def _cells(listed: Listed, around: Surroundings) -> list[Text]:
    recipient = listed.recipient
    at = due_at(recipient)
    return [
        Text(str(listed.message)),
        Text(recipient.state, STATE_COLOURS[recipient.state]),
        Text("" if at is None else relative(at, around.now)),
        Text(str(recipient.attempts)),
        Text(one_line(around.relay_name(recipient.relay))),
        Text(one_line(sender(listed))),
        Text(one_line(recipient.address)),
        Text(obstacle(listed, around)),
    ]
