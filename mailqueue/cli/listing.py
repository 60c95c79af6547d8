"""`mailqueue list`: what is in the queue."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.filters import EPILOG, made, takes_filter
from mailqueue.mail.lifecycle import State

if TYPE_CHECKING:
    from mailqueue.cli.waiting import Surroundings
    from mailqueue.outbox.lookup import Listed

PAGE = 500
"""Recipients read at a time: while somebody reads the output, no transaction is open."""
SCREENFUL = 100
"""How many a table for a terminal shows if nobody says otherwise."""
UNFINISHED = tuple(state for state in State if not state.is_final)


@click.command("list", epilog=EPILOG)
@takes_outbox
@click.option(
    "--state",
    "states",
    type=click.Choice([*map(str, State), "any"]),
    multiple=True,
    help="Only recipients in this state; may be repeated. By default all that are not final.",
)
@takes_filter()
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="At most so many recipients. By default all, and 100 on a terminal.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object per message, as `postqueue -j`."
)
def list_(access: Access, as_json: bool, limit: int | None, **wanted: Any) -> None:
    """List what waits, and why.

    One line per recipient, oldest first: on a terminal a table, otherwise plain columns with
    "-" for nothing. DUE is when the next attempt is due, REASON the last reply, or who holds it,
    or that the relay is paused or not configured. With --json, instants are ISO-8601 text in
    UTC, apart from arrival_time, which is in seconds as with Postfix.
    """
    is_table = sys.stdout.isatty() and not as_json
    # One more than is shown tells whether there are more.
    most = limit or (SCREENFUL + 1 if is_table else None)
    around = _surroundings(access)
    found = _begun(_recipients(access, around, most, **wanted))
    if is_table:
        _show_table([*found], around, most=limit or SCREENFUL)
        return
    from mailqueue.cli.rows import HEADER, json_lines, plain

    rows = (plain(listed, around) for listed in found)
    for line in json_lines(found, around) if as_json else chain([HEADER], rows):
        click.echo(line)


def _surroundings(access: Access) -> Surroundings:
    from mailqueue.cli.around import surroundings

    with access.reading() as connection:
        return surroundings(connection, access)


def _begun(found: Iterator[Listed]) -> Iterator[Listed]:
    """Read the first page, so that an outbox that cannot be read gets no heading."""
    return chain([*islice(found, 1)], found)


def _recipients(
    access: Access,
    around: Surroundings,
    most: int | None,
    *,
    states: tuple[str, ...],
    wanted: dict[str, Any],
) -> Iterator[Listed]:
    """Yield recipients page by page, with no transaction open in between."""
    from mailqueue.outbox.filter import condition
    from mailqueue.outbox.holds import holds
    from mailqueue.outbox.lookup import listing

    chosen = _chosen(states)
    where = condition(made(wanted), now=around.now, default_relay=around.default_relay)
    after, left = 0, most
    while left is None or left > 0:
        most_now = PAGE if left is None else min(PAGE, left)
        with access.reading() as connection:
            page = [*listing(connection, states=chosen, where=where, limit=most_now, after=after)]
            held = [one.recipient.id for one in page if one.recipient.state is State.HELD]
            around.holds.update(holds(connection, held))
        yield from page
        if len(page) < most_now:
            return
        after = page[-1].recipient.id
        left = None if left is None else left - len(page)


def _chosen(states: tuple[str, ...]) -> tuple[State, ...]:
    if "any" in states:
        return ()
    return tuple(map(State, states)) or UNFINISHED


def _show_table(rows: list[Listed], around: Surroundings, *, most: int) -> None:
    from mailqueue.cli.table import table

    if not rows:
        click.echo("nothing is in the queue")
        return
    width, colour = shutil.get_terminal_size().columns, not os.environ.get("NO_COLOR")
    click.echo(table(rows[:most], around, width=width, colour=colour), nl=False)
    if len(rows) > most:
        click.echo(f"the first {most}; --limit shows more, and a pipe gets all")
