"""Recipients as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from io import StringIO
from typing import Final

from rich.console import Console
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
_COLUMNS: Final = ("ID", "State", "Due", "Tries", "Relay", "From", "To", "Reason")


def table(rows: Iterable[Listed], around: Surroundings, *, width: int, colour: bool) -> str:
    """Return ``rows`` as a table for a terminal of ``width`` columns; instants as seen from now.

    Cells are text and never markup: a relay that says ``[red]`` says just that.
    """
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in _COLUMNS:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*_cells(row, around))
    written = StringIO()
    console = Console(
        file=written,
        width=width,
        force_terminal=True,
        color_system="standard" if colour else None,
        legacy_windows=False,
    )
    console.print(drawn)
    return written.getvalue()


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
