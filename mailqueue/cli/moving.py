"""`mailqueue db copy` and `db unfence`: an outbox moved to another database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import Access, checked_url, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.around import backoff
from mailqueue.cli.exits import Exit, Failure
from mailqueue.cli.grid import Grid, json_option, show, show_json
from mailqueue.cli.output import printable
from mailqueue.cli.progress import Progress

if TYPE_CHECKING:
    from mailqueue.operate.copying import Copy, Report, Survey

_CHECKSUM = 16
"""Digits of a checksum that a person is shown."""

_EPILOG = """\b
What happens, in this order:
  1. the outbox is closed: nothing comes in, nothing is claimed
  2. what is leased is settled by its worker, or is in doubt on record
  3. every row goes over, batch by batch, and both sides are read and compared
  4. the outbox stays closed, as moved, and the new one is opened

Broken off anywhere, by ctrl-C or a crash, running it again goes on from there. docs/operations.md
walks through it."""


@click.command(epilog=_EPILOG)
@takes_outbox
@click.option("--to", "target", metavar="URL", required=True, help="The database to move it to.")
@click.option(
    "--wait",
    type=DURATION,
    default="15m",
    show_default=True,
    metavar="DURATION",
    help="How long to wait for the results of what is leased.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and write nothing.")
@click.option("--undo", is_flag=True, help="Give an unfinished copy up, and open the outbox again.")
@json_option
def copy(
    access: Access, *, target: str, wait: float, dry_run: bool, undo: bool, as_json: bool
) -> None:
    """Move the outbox to another database.

    From SQLite to PostgreSQL or back, while daemons and producers run: ids, states, attempts, the
    record of decisions, contents and pauses stay what they are. Producers get an error that names
    the new place, and may try again there once the copy has ended. Exits with 69 where it cannot be
    done so, and with 75 where leases are not settled in time.
    """
    if dry_run and undo:
        raise click.UsageError("--dry-run and --undo do not go together")
    with _copy(access, checked_url(target, hint="'--to'")) as course:
        if undo:
            _undo(course)
        elif dry_run:
            _show_survey(course.survey(), as_json=as_json)
        else:
            _run(course, wait, as_json=as_json)


@click.command()
@takes_outbox
@click.option("--anyway", is_flag=True, help="Open it even where another place has its mail.")
def unfence(access: Access, anyway: bool) -> None:
    """Open an outbox that a copy has closed.

    For a copy that is given up while its target cannot be reached; otherwise `db copy --undo` is
    better, which empties the target too. One that has moved is only opened with --anyway.
    """
    from mailqueue.operate.access import Access as Reach
    from mailqueue.operate.copying import CopyError, lift
    from mailqueue.outbox.location import describe

    outbox = Reach(access.url, access.busy_timeout)
    try:
        fence = lift(outbox, access.url, anyway=anyway)
    except CopyError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None
    finally:
        outbox.close()
    click.echo(printable(f"{describe(access.url)} is open again; it {fence}"))


def _copy(access: Access, target: str) -> Copy:
    from mailqueue.mail.schedule import Backoff
    from mailqueue.operate.copying import Copy
    from mailqueue.outbox.moment import clock_for

    def policy(relay: str) -> Backoff:
        return backoff(access, relay)

    return Copy(
        access.url,
        target,
        busy_timeout=access.busy_timeout,
        clock=clock_for(access.url),
        policies=policy,
    )


def _undo(course: Copy) -> None:
    from mailqueue.operate.copying import CopyError

    try:
        removed = course.undo()
    except CopyError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None
    click.echo(f"given up: {removed} rows removed from the target, and the outbox is open again")


def _run(course: Copy, wait: float, *, as_json: bool) -> None:
    from mailqueue.operate.copying import CopyError, DifferenceError, NotNowError, UnfitRowError

    watch = _Watch()
    try:
        report = course.run(watch, wait=wait)
    except NotNowError as error:
        raise Failure(str(error), Exit.TEMPORARY) from None
    except (DifferenceError, UnfitRowError) as error:
        raise Failure(str(error), Exit.DATA) from None
    except CopyError as error:
        raise Failure(str(error), Exit.UNAVAILABLE) from None
    except KeyboardInterrupt:
        watch.close()
        click.echo(
            "broken off: the outbox stays closed. Run it again to go on, or with --undo to give it "
            "up",
            err=True,
        )
        raise
    finally:
        watch.close()
    if report is None:
        click.echo("it was copied already, and the mail is sent from there")
    else:
        _show_report(report, as_json=as_json)


def _show_survey(found: Survey, *, as_json: bool) -> None:
    begun = found.is_begun
    if as_json:
        rows = {"rows": found.rows, "there": found.there}
        standing = {"leased": found.leased, "is_begun": begun, "is_done": found.is_done}
        show_json([{"source": found.source, "target": found.target, **rows, **standing}])
        return
    show(
        Grid(
            ("TABLE", "HERE", "THERE"),
            [[name, str(count), str(found.there[name])] for name, count in found.rows.items()],
            frozenset({"HERE", "THERE"}),
        )
    )
    what = "was copied already" if found.is_done else "would be copied"
    more = " (begun, and not ended)" if begun else ""
    click.echo(printable(f"{found.source} {what} to {found.target}{more}"))
    if found.leased:
        click.echo(f"{found.leased} recipients are leased, whose results would be awaited")


def _show_report(report: Report, *, as_json: bool) -> None:
    if as_json:
        show_json([_as_object(report)])
        return
    rows = [[one.table, str(one.rows), one.checksum[:_CHECKSUM]] for one in report.tables]
    show(Grid(("TABLE", "ROWS", "SHA-256"), rows, frozenset({"ROWS"})))
    if replaced := sum(one.replaced for one in report.tables):
        click.echo(f"{replaced} rows had NUL in a text, which PostgreSQL cannot hold: now U+FFFD")
    click.echo(
        printable(
            f"the same on both sides, and {report.relays} relays with their pauses. "
            f"{report.source} is closed; let [database] url of daemons and producers be "
            f"{report.target}"
        )
    )


def _as_object(report: Report) -> dict[str, Any]:
    tables = {
        one.table: {"rows": one.rows, "sha256": one.checksum, "replaced": one.replaced}
        for one in report.tables
    }
    return {
        "source": report.source,
        "target": report.target,
        "tables": tables,
        "last_ids": report.last_ids,
        "relays": report.relays,
    }


class _Watch:
    """Says on standard error what begins, and shows a bar there as soon as rows are counted."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._count = 0

    def say(self, text: str) -> None:
        if self._bar is None:
            click.echo(text, err=True)

    def total(self, rows: int) -> None:
        self._bar = Progress(rows, "copying and comparing") if sys.stderr.isatty() else None

    def done(self, rows: int) -> None:
        self._count += rows
        if self._bar is not None:
            self._bar.show(self._count)

    def close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.__exit__(None, None, None)
