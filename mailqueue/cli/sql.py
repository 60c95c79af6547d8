"""`mailqueue sql`: a question in SQL, and its answer."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.grid import Grid, show, show_json
from mailqueue.cli.output import one_line

if TYPE_CHECKING:
    from mailqueue.outbox.question import Answer


@click.command()
@takes_outbox
@click.argument("statement", metavar="SQL")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per row.")
@click.option("--csv", "as_csv", is_flag=True, help="Comma-separated, with a line of names.")
@click.option(
    "--timeout",
    type=DURATION,
    default="1m",
    show_default=True,
    metavar="DURATION",
    help="How long it may take.",
)
def sql(access: Access, statement: str, as_json: bool, as_csv: bool, timeout: float) -> None:
    """Ask the outbox in SQL, and change nothing.

    SQL is one statement, or - for standard input. The views mailqueue_backlog,
    mailqueue_failures, mailqueue_in_doubt, mailqueue_history and mailqueue_reasons are what to
    ask: docs/sql.md has their columns, and recipes. It works beside a running daemon. Exits
    with 77 for a statement that would change something, and 65 for one that cannot be answered.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv: only one of them can be had")
    text = sys.stdin.read() if statement == "-" else statement
    found = _answer(access, text.strip().rstrip(";"), timeout)
    if as_json:
        show_json(
            {name: _value(cell) for name, cell in zip(found.columns, row, strict=True)}
            for row in found.rows
        )
    elif as_csv:
        click.echo(_csv(found), nl=False)
    else:
        rows = [[_text(cell) for cell in row] for row in found.rows]
        show(Grid(found.columns, rows, _numbers(found)), empty="no rows")


def _answer(access: Access, statement: str, timeout: float) -> Answer:
    from mailqueue.clock import SystemClock
    from mailqueue.outbox.question import QuestionError, WritingError, answer

    if not statement:
        raise click.BadParameter("there is no statement", param_hint="'SQL'")
    clock = SystemClock()
    until = clock.monotonic() + timeout
    try:
        with access.reading() as connection:
            return answer(connection, statement, expired=lambda: clock.monotonic() > until)
    except WritingError as error:
        raise Failure(str(error), Exit.NO_PERMISSION) from None
    except QuestionError as error:
        raise Failure(str(error), Exit.DATA) from None


def _numbers(found: Answer) -> frozenset[str]:
    """Return the columns that hold numbers and nothing else."""
    columns = zip(found.columns, zip(*found.rows, strict=True), strict=False)
    return frozenset(
        name for name, cells in columns if all(isinstance(cell, int | float) for cell in cells)
    )


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return _value(cell) if isinstance(cell, bytes | str) else str(cell)


def _value(cell: Any) -> Any:
    """Return what JSON can hold: octets as hexadecimal digits."""
    return bytes(cell).hex() if isinstance(cell, bytes | memoryview) else cell


def _csv(found: Answer) -> str:
    written = StringIO()
    lines: Sequence[Sequence[Any]] = [found.columns, *found.rows]
    writer = csv.writer(written, lineterminator="\n")
    writer.writerows([one_line(_text(cell)) for cell in line] for line in lines)
    return written.getvalue()
