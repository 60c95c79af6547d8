"""The end of the demo: what SQL, the log and the promises say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailqueue.cli.demo.aftermath import DOUBTS, FAILURES, Aftermath
from mailqueue.cli.demo.promise import Account, Standing
from mailqueue.cli.demo.records import Row
from mailqueue.cli.output import one_line

WIDTH: Final = 100
"""Columns, where no terminal says how many it has."""
_FAILURE_COLUMNS: Final = ("message_id", "recipient", "state", "code", "enhanced", "text", "rule")
_WHOLE: Final = frozenset({"recipient", "rule"})
"""Columns that are never broken into lines."""
_COLOURS: Final = {
    Standing.KEPT: "green",
    Standing.BROKEN: "bold red",
    Standing.NOT_SEEN: "yellow",
}
_MOMENTS: Final = (
    "status=sent",
    "status=deferred (451",
    "status=failed (550",
    "in doubt",
    "paused at greeting",
    "paused at auth",
    "configuration reloaded",
    "resumed after",
    "status=expired",
    "ended without a result",
    "the lease had ended",
    "stopping: SIGTERM",
)
"""What a log line worth showing contains; the first of each kind is shown."""
_DATE: Final = len("2000-01-01 ")


class _Output(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, which ends quietly with the status for it."""
        raise BrokenPipeError


def open_console() -> Console:
    """Return the standard output: as wide as the terminal, else `WIDTH` columns and plain."""
    console = _Output(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def print_report(console: Console, aftermath: Aftermath, accounts: Sequence[Account]) -> None:
    """Print everything, the promises last."""
    _print_failures(console, aftermath.failures)
    _print_doubts(console, aftermath.doubts)
    _print_log(console, aftermath.chronicle.logs)
    _print_accounts(console, accounts)


def _print_failures(console: Console, failures: Sequence[Row]) -> None:
    """Print the view, and name the columns for which there is no room."""
    _head(console, f"{FAILURES};")
    _print(console, _table(failures, _FAILURE_COLUMNS))
    others = [name for row in failures[:1] for name in row if name not in _FAILURE_COLUMNS]
    _remark(console, f"{len(failures)} rows; left out for want of room: {', '.join(others)}")


def _print_doubts(console: Console, doubts: Sequence[Row]) -> None:
    _head(console, f"{DOUBTS};")
    _print(console, _table(doubts, [name for row in doubts[:1] for name in row]))
    _remark(console, f"{len(doubts)} rows")


def _print_log(console: Console, logs: Mapping[str, Sequence[str]]) -> None:
    _head(console, "The log of the daemons a, b and c: the first line of each kind")
    drawn = _columns(1)
    for daemon, line in telling(logs):
        drawn.add_row(Text(daemon), Text(one_line(line[_DATE:])))
    _print(console, drawn)


def telling(logs: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """Yield the lines worth showing with the name of their daemon, in the order of the logs."""
    wanted = list(_MOMENTS)
    for daemon, lines in logs.items():
        for line in lines:
            moment = next((one for one in wanted if one in line), None)
            if moment is not None:
                wanted.remove(moment)
                yield daemon, line


def _print_accounts(console: Console, accounts: Sequence[Account]) -> None:
    _head(console, "The promises, judged by what the outbox and the relays have on record")
    drawn = _columns(2)
    for account in accounts:
        said = Text.assemble((f"{account.name}: ", "bold"), one_line(account.text))
        standing = Text(account.standing, _COLOURS[account.standing])
        drawn.add_row(standing, Text(str(account.number)), said)
    _print(console, drawn)


# Pieces


def _columns(narrow: int) -> Table:
    """Return a table of some narrow columns and a last one that takes what is left."""
    drawn = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for _ in range(narrow):
        drawn.add_column(no_wrap=True)
    drawn.add_column(overflow="fold")
    return drawn


def _table(rows: Sequence[Row], columns: Sequence[str]) -> Table:
    drawn = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        drawn.add_column(column, overflow="fold", header_style="bold", no_wrap=column in _WHOLE)
    for row in rows:
        drawn.add_row(*(_cell(row[column]) for column in columns))
    return drawn


def _cell(value: Any) -> Text:
    """Return a value as text and never markup: what relays say stands in these tables."""
    return Text("-" if value is None else one_line(str(value)))


def _head(console: Console, text: str) -> None:
    _print(console, Text(f"\n{text}\n", "bold"))


def _remark(console: Console, text: str) -> None:
    _print(console, Text(f"\n({text})", "bright_black"))


def _print(console: Console, drawn: Table | Text) -> None:
    if console.is_terminal:
        console.print(drawn)
        return
    # Nobody wants the blanks in a file that make columns as wide as they are.
    with console.capture() as captured:
        console.print(drawn)
    for line in captured.get().splitlines():
        console.out(line.rstrip(), highlight=False)
