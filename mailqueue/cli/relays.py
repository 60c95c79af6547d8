"""`mailqueue relays`, `pause` and `resume`: how the relays stand, and who may be sent to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mailqueue.cli.access import Access, takes_outbox
from mailqueue.cli.filters import Lasting
from mailqueue.cli.output import instant, iso, one_line, relative
from mailqueue.outbox.moment import present

if TYPE_CHECKING:
    from mailqueue.operate import RelayStanding
    from mailqueue.outbox.allotment import Allotment
    from mailqueue.outbox.relays import RelayRow


@click.command()
@takes_outbox
@click.option("--json", "as_json", is_flag=True, help="One JSON object per relay.")
def relays(access: Access, as_json: bool) -> None:
    """Show how each relay stands.

    Whether its breaker lets mail through, who paused it, how much mail is for it, and when it was
    last well and last not.
    """
    with access.reading() as connection:
        now = present(connection)
    with access.operator() as operator:
        found = operator.relays()
    for standing in found:
        if as_json:
            click.echo(json.dumps(_fields(standing, now)))
        else:
            click.echo("\n  ".join(map(one_line, _told(standing, now))))
    if not found and not as_json:
        click.echo("no relay is known: no daemon has run here, and no configuration is read")


@click.command()
@takes_outbox
@click.argument("relay", metavar="RELAY")
@click.option(
    "--for", "lasting", type=Lasting(), metavar="TIME", help="Ends by itself after 30m, 2h, 1d."
)
@click.option("--reason", metavar="TEXT", default="", help="Why, for the record.")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def pause(
    access: Access, relay: str, lasting: timedelta | None, reason: str, as_json: bool
) -> None:
    """Let nothing more go to a relay.

    Within a second no delivery begins there any more, whatever its breaker says, until `mailqueue
    resume`; what is under way finishes. Its mail waits, and goes to no fallback. It works without a
    daemon too, and outlives its restart. A second pause takes the place of the first.
    """
    if lasting is not None and not lasting:
        raise click.BadParameter("a pause lasts longer than 0", param_hint="'--for'")
    with access.operator() as operator:
        decided = operator.pause(relay, lasting=lasting, reason=reason)
    name = _meant(access, relay)
    if as_json:
        fields = {"relay": name, "paused_at": iso(decided.at), "until": iso(decided.until)}
        click.echo(json.dumps({**fields, "by": decided.by, "reason": decided.reason}))
        return
    until = "it is resumed" if decided.until is None else instant(decided.until)
    click.echo(f"{one_line(name)}: paused until {until}; its mail waits")


@click.command()
@takes_outbox
@click.argument("relay", metavar="RELAY")
@click.option("--json", "as_json", is_flag=True, help="As a JSON object.")
def resume(access: Access, relay: str, as_json: bool) -> None:
    """Let mail go to a paused relay again.

    Exits with 0 too if nobody had paused it. A breaker that is open stays so: it closes when the
    relay is well.
    """
    with access.operator() as operator:
        was_paused = operator.resume(relay)
    name = _meant(access, relay)
    if as_json:
        click.echo(json.dumps({"relay": name, "was_paused": was_paused}))
        return
    click.echo(f"{one_line(name)}: {'resumed' if was_paused else 'was not paused'}")


def _meant(access: Access, relay: str) -> str:
    """Return what the relay is called: "default" is another one's second name."""
    from mailqueue.cli.around import surroundings

    with access.reading() as connection:
        return surroundings(connection, access).relay_name(relay)


def _told(standing: RelayStanding, now: int) -> Iterator[str]:
    row, queue = standing.row, standing.queue
    names = f"{standing.name}{' (default)' if standing.is_default else ''}"
    yield f"{names}: {_position(standing, now)}"
    if row is not None and row.is_paused(now=now):
        yield _pause(row, now)
    waits = f"{queue.queued} queued, {queue.deferred} deferred, {queue.sending} sending"
    due = "" if queue.oldest_due is None else f"; the first due {_when(queue.oldest_due, now)}"
    yield f"{waits}, {queue.held} held{due}"
    if standing.allotment is not None:
        yield from _allotted(standing.allotment, now)
    if row is None:
        return
    if row.last_trouble_at is not None:
        said = " ".join(filter(None, (str(row.code or ""), row.enhanced, row.text)))
        yield f"last trouble {_when(row.last_trouble_at, now)}, at {row.stage}: {said}"
    if row.last_success_at is not None:
        yield f"last success {_when(row.last_success_at, now)}"


def _allotted(allotment: Allotment, now: int) -> Iterator[str]:
    """Yield what its limits are: connections where several share them, and a rate."""
    granted, differ = allotment.granted, set(allotment.configured)
    if len(granted) > 1:
        few = "connection" if allotment.connections == 1 else "connections"
        parts = f"{len(granted)} daemons have {_list(granted)}"
        said = f"{allotment.connections} {few} at most, of which {parts}"
        if len(differ) > 1:
            said += f"; they are configured with {_list(sorted(differ))}, and the smallest holds"
        yield said
    if allotment.rate is not None:
        used = ", all of it used just now" if allotment.is_used_up(now=now) else ""
        yield f"rate {allotment.rate}, counted in recipients{used}"


def _list(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}"


def _position(standing: RelayStanding, now: int) -> str:
    row = standing.row
    if row is None:
        return "no daemon has used it yet" if standing.is_known else "not configured"
    since = f"breaker {row.breaker} since {_when(row.since, now)}"
    if row.breaker == "open" and row.probe_at is not None:
        return f"{since}, next probe {_when(row.probe_at, now)}"
    return since


def _pause(row: RelayRow, now: int) -> str:
    until = "resumed" if row.paused_until is None else _when(row.paused_until, now)
    since = "" if row.paused_at is None else f" {_when(row.paused_at, now)}"
    why = f": {row.pause_reason}" if row.pause_reason else ""
    return f"paused by {row.paused_by}{since} until {until}{why}"


def _when(at: int, now: int) -> str:
    return f"{instant(at)} ({relative(at, now)})"


def _fields(standing: RelayStanding, now: int) -> dict[str, Any]:
    row, queue = standing.row, standing.queue
    fields = {
        "relay": standing.name,
        "is_default": standing.is_default,
        "is_known": standing.is_known,
        "queued": queue.queued,
        "deferred": queue.deferred,
        "sending": queue.sending,
        "held": queue.held,
        "oldest_due": iso(queue.oldest_due),
        "breaker": None,
        "pause": None,
        **_allotment_fields(standing.allotment, now),
    }
    return fields if row is None else fields | _row_fields(row, now)


def _allotment_fields(allotment: Allotment | None, now: int) -> dict[str, Any]:
    if allotment is None:
        return {"connections": None, "granted": [], "rate": None, "rate_free_at": None}
    free_at = allotment.next_at if allotment.is_used_up(now=now) else None
    return {
        "connections": allotment.connections,
        "granted": list(allotment.granted),
        "rate": allotment.rate,
        "rate_free_at": iso(free_at),
    }


def _row_fields(row: RelayRow, now: int) -> dict[str, Any]:
    is_paused = row.is_paused(now=now)
    return {
        "breaker": row.breaker,
        "since": iso(row.since),
        "probe_at": iso(row.probe_at),
        "troubles": row.troubles,
        "last_trouble": {
            "at": iso(row.last_trouble_at),
            "stage": row.stage,
            "code": row.code,
            "enhanced": row.enhanced,
            "text": row.text,
        },
        "last_success_at": iso(row.last_success_at),
        "pause": {
            "at": iso(row.paused_at),
            "until": iso(row.paused_until),
            "by": row.paused_by,
            "reason": row.pause_reason,
        }
        if is_paused
        else None,
    }
