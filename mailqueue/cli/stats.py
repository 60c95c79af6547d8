"""`mailqueue stats`: how much is sent, put off and refused, and what waits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.amounts import DURATION
from mailqueue.cli.grid import Grid, json_option, show, show_json
from mailqueue.cli.output import duration, iso
from mailqueue.clock import microseconds

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mailqueue.cli.waiting import Surroundings
    from mailqueue.outbox.allotment import Allotment
    from mailqueue.outbox.traffic import By, Traffic, Waiting

_LATELY: Final = ("Sent", "A minute", "Put off", "Failed", "Expired", "In doubt")
_NOW: Final = ("Queued", "Deferred", "Sending", "Held", "Due", "Oldest due")


@dataclass(frozen=True, slots=True)
class Line:
    """What is told of one relay or domain, or of all together."""

    name: str
    lately: Traffic
    waiting: Waiting
    is_total: bool = False


@click.command()
@takes_outbox
@click.option(
    "--by",
    type=click.Choice(["relay", "domain"]),
    default="relay",
    show_default=True,
    help="One line for each.",
)
@click.option(
    "--since",
    type=DURATION,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How far back to look, such as 15m or 2d.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Lines, at most."
)
@json_option
def stats(access: Access, by: str, since: float, limit: int, as_json: bool) -> None:
    """Count what was sent, put off and refused, and what waits.

    From SENT to DOUBT it is recipients by what came of each attempt since then, PUT OFF being
    those that are tried again. From QUEUED on it is how they stand now; DUE are those that
    should have been taken up by now. The last line is the sum of all, also of those not shown.
    Below it stands where due mail waits for a relay's rate.
    """
    from mailqueue.outbox.allotment import allotments
    from mailqueue.outbox.traffic import By

    with access.reading() as connection:
        lines, around = counted(connection, access, since=since, by=By(by))
        allotted = allotments(connection, now=around.now) if by == By.RELAY else {}
    busiest = sorted(lines, key=_size, reverse=True)[:limit]
    shown = [*sorted(busiest, key=lambda line: line.name), total(lines)]
    if as_json:
        show_json(
            _object(line, by, since, around) | _rate_fields(line, allotted.get(line.name), around)
            for line in shown
        )
        return
    rows = [(line.name, *cells(line, since, around)) for line in shown]
    show(Grid((by.title(), *_LATELY, *_NOW), rows, numbers=frozenset((*_LATELY, *_NOW))))
    for line in shown:
        rate = _rate_fields(line, allotted.get(line.name), around)
        if rate["waits_for_rate"]:
            click.echo(f"{line.name}: due mail waits for the rate, {rate['rate']}")


def _rate_fields(line: Line, found: Allotment | None, around: Surroundings) -> dict[str, Any]:
    if found is None or line.is_total:
        return {"rate": None, "waits_for_rate": False}
    waits = bool(line.waiting.due) and found.is_used_up(now=around.now)
    return {"rate": found.rate, "waits_for_rate": waits}


def counted(
    connection: Connection, access: Access, *, since: float, by: By, walks: bool = True
) -> tuple[list[Line], Surroundings]:
    """Return a line for each relay or domain that anything is to be told of.

    ``since``: how many seconds back; ``walks``: count also what expired while it waited, which
    walks the whole outbox.
    """
    from mailqueue.cli.around import surroundings
    from mailqueue.outbox.traffic import By, Traffic, Waiting, expired, traffic, waiting

    around = surroundings(connection, access)
    from_then_on = around.now - microseconds(since)
    lines: dict[str, Line] = {}

    def line(name: str) -> Line:
        known = around.relay_name(name) if by is By.RELAY else name
        return lines.setdefault(known, Line(known, Traffic(), Waiting()))

    for name, lately in traffic(connection, since=from_then_on, by=by).items():
        line(name).lately.add(lately)
    for name, number in expired(connection, since=from_then_on, by=by).items() if walks else ():
        line(name).lately.expired += number
    for name, part in waiting(connection, now=around.now, by=by).items():
        line(name).waiting.add(part)
    return [*lines.values()], around


def total(lines: list[Line]) -> Line:
    """Return the sum of ``lines``, named ``total``."""
    from mailqueue.outbox.traffic import Traffic, Waiting

    whole = Line("total", Traffic(), Waiting(), is_total=True)
    for line in lines:
        whole.lately.add(line.lately)
        whole.waiting.add(line.waiting)
    return whole


def _size(line: Line) -> int:
    return line.lately.ended + line.lately.deferred + line.lately.in_doubt + line.waiting.total


def cells(line: Line, since: float, around: Surroundings) -> Iterator[str]:
    """Yield what is told of ``line`` as text, in the order of the headings."""
    lately, waiting = line.lately, line.waiting
    yield str(lately.sent)
    yield f"{_rate(line, since) * 60:.1f}"
    for number in (lately.deferred, lately.failed, lately.expired, lately.in_doubt):
        yield str(number)
    for number in (waiting.queued, waiting.deferred, waiting.sending, waiting.held, waiting.due):
        yield str(number)
    yield duration(_age(line, around)) if waiting.due else ""


def _object(line: Line, by: str, since: float, around: Surroundings) -> dict[str, Any]:
    lately, waiting = line.lately, line.waiting
    return {
        by: None if line.is_total else line.name,
        "seconds": since,
        "sent": lately.sent,
        "sent_per_second": round(_rate(line, since), 3),
        "put_off": lately.deferred,
        "failed": lately.failed,
        "expired": lately.expired,
        "in_doubt": lately.in_doubt,
        "queued": waiting.queued,
        "deferred": waiting.deferred,
        "sending": waiting.sending,
        "held": waiting.held,
        "due": waiting.due,
        "oldest_due_at": iso(waiting.oldest_due),
        "oldest_due_seconds": round(_age(line, around)) if waiting.due else None,
    }


def _rate(line: Line, since: float) -> float:
    return line.lately.sent / since if since else 0.0


def _age(line: Line, around: Surroundings) -> float:
    return (around.now - (line.waiting.oldest_due or around.now)) / 1e6
