"""What holds each recipient of a message, and when it will go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from mailqueue.cli.access import Access
from mailqueue.cli.around import backoff, surroundings
from mailqueue.cli.gatewords import Told, advice, words
from mailqueue.cli.output import iso, one_line
from mailqueue.cli.selection import message_number
from mailqueue.cli.waiting import Surroundings, in_order
from mailqueue.mail.lifecycle import WAITING
from mailqueue.mail.schedule import Backoff, History
from mailqueue.mail.timetable import left
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.allotment import allotments
from mailqueue.outbox.gate import House, Standing, Way, gates, goes_at
from mailqueue.outbox.location import opened_path
from mailqueue.outbox.pulse import Pulse, beating, pulses
from mailqueue.outbox.relays import RelayRow, named
from mailqueue.outbox.standing import Facts, ahead, facts, under_way
from mailqueue.outbox.story import Attempt, RecipientStory, Story, story


@dataclass(frozen=True, slots=True)
class Held:
    """A message with what holds each of its recipients, and what was known besides."""

    story: Story
    recipients: tuple[Told, ...]
    around: Surroundings


def look(access: Access, named: str) -> Held:
    """Return what holds the message that is ``named`` by number or Message-ID.

    Raises `UnknownMessageError`, or `Failure` where no message has the Message-ID.
    """
    with access.reading() as connection:
        told = story(connection, message_number(connection, named))
        around = surroundings(connection, access)
        view = _View(connection, access, around)
        rows = facts(connection, told.id)
        each = tuple(view.told(one, rows[one.status.id]) for one in told.recipients)
    return Held(told, each, around)


class _View:
    """The daemon's side of it, as it can be seen from here."""

    def __init__(self, connection: Connection, access: Access, around: Surroundings) -> None:
        self._connection = connection
        self._access = access
        self._around = around
        self._pulses = pulses(connection, now=around.now, patience=_patience(access))
        self._allotments = allotments(connection, now=around.now)
        has_daemon = beating(self._pulses) is not None
        self._house = House(around.now, has_daemon, _disk_is_low(connection, access))

    def told(self, of: RecipientStory, row: Facts) -> Told:
        policy = backoff(self._access, row.relay)
        history = History(row.lifetime_from, of.status.attempts, of.status.expires_at)
        deadline = history.deadline(policy)
        way = self._way(row.relay)
        standing = Standing(of.status.state, row.due_at, deadline, _is_doubtful(of))
        closed = gates(standing, way, self._house)
        is_waiting = of.status.state in WAITING
        return Told(
            of,
            row,
            closed,
            way,
            worker=self._worker(of),
            goes_at=goes_at(closed, now=self._around.now) if is_waiting else None,
            gives_up_at=deadline if is_waiting else None,
            attempts_left=self._left(history, policy, row) if is_waiting else None,
            ahead=self._ahead(row) if is_waiting else 0,
        )

    def _left(self, history: History, policy: Backoff, row: Facts) -> int:
        """Count the attempt that is next, and those that the schedule has after it."""
        begins = max(self._around.now, row.due_at or 0)
        after = History(history.enqueued_at, history.attempts + 1, history.expires_at)
        return 1 + left(after, policy, now=begins)

    def _ahead(self, row: Facts) -> int:
        if row.due_at is None or row.due_at > self._around.now:
            return 0
        return ahead(self._connection, row, now=self._around.now, most=MOST_AHEAD)

    def _way(self, name: str) -> Way:
        around, config = self._around, self._access.config
        row, relay = around.relay(name), around.relay_name(name)
        names = named(relay, around.default_relay)
        rate = self._rate(relay)
        if config is None:
            known = around.is_configured(name)
            return Way(row, known, None, under_way(self._connection, names), **rate)
        settings = config.relays.get(relay)
        if settings is None:
            return Way(row, is_configured=False)
        from mailqueue.daemon.routing import PER_SESSION

        return Way(
            row,
            is_configured=True,
            stand_in=_stand_in(settings.fallback, around.relays),
            under_way=under_way(self._connection, names),
            room=min(PER_SESSION * settings.connections, config.daemon.deliveries),
            **rate,
        )

    def _rate(self, relay: str) -> dict[str, Any]:
        found = self._allotments.get(relay)
        return {} if found is None else {"rate": found.rate, "rate_free_at": found.next_at}

    def _worker(self, of: RecipientStory) -> Pulse | None:
        found = (pulse for pulse in self._pulses if pulse.worker.id == of.status.worker)
        return next(found, None)


MOST_AHEAD: Final = 10_000
"""How far the line before a recipient is counted."""


def _stand_in(fallbacks: Sequence[str], rows: dict[str, RelayRow] | Any) -> str | None:
    closed = (name for name in fallbacks if name in rows and rows[name].breaker == "closed")
    return next(closed, None)


def _is_doubtful(of: RecipientStory) -> bool:
    last = in_order(of)[-1:]
    return bool(last) and isinstance(last[0], Attempt) and last[0].verdict == Outcome.IN_DOUBT


def _patience(access: Access) -> float:
    from mailqueue.outbox.pulse import SILENT_AFTER

    return SILENT_AFTER if access.config is None else access.config.daemon.lease


def _disk_is_low(connection: Connection, access: Access) -> bool:
    """Whether the daemon claims nothing for want of room, as far as the limit is known."""
    path = opened_path(connection)
    if path is None or access.config is None:
        return False
    from mailqueue.daemon.janitor import DiskFloor, floor_of

    free = DiskFloor(path.parent, floor_of(access.config.limits.free_disk)).free()
    return free is not None and free < floor_of(access.config.limits.free_disk)


def tell(held: Held) -> Iterator[str]:
    """Yield what holds the message as lines, each recipient with a paragraph of its own."""
    yield one_line(f"message {held.story.id}  {held.story.message_id}")
    for told in held.recipients:
        yield ""
        yield from map(one_line, _recipient(told, held))


def _recipient(told: Told, held: Held) -> Iterator[str]:
    around = held.around
    first, *others = told.gates
    yield f"{told.story.status.address}: {told.story.status.state}"
    yield f"  {words(first, told, around)}"
    for gate in others:
        yield f"  and then: {words(gate, told, around)}"
    if told.gives_up_at is not None:
        yield f"  goes: {_goes(told, around)}"
        yield f"  {_gives_up(told, around)}"
    for sentence in advice(told, held.story):
        yield f"  {sentence}"


def _goes(told: Told, around: Surroundings) -> str:
    if told.goes_at is None:
        return "nobody can tell before that has changed"
    if told.goes_at <= around.now:
        return "now, or as soon as there is room"
    return f"{around.when(told.goes_at)} at the earliest"


def _gives_up(told: Told, around: Surroundings) -> str:
    number = told.story.status.attempts + 1
    left_over = "the last" if told.attempts_left == 1 else f"{told.attempts_left} are left"
    last = around.when(told.gives_up_at or around.now)
    return f"that is attempt {number} of the schedule, {left_over}; it is given up {last}"


def as_object(told: Told, held: Held) -> dict[str, Any]:
    """Return what holds one recipient for JSON; instants as the views have them."""
    status = told.story.status
    return {
        "message": held.story.id,
        "message_id": held.story.message_id,
        "address": status.address,
        "state": str(status.state),
        "relay": held.around.relay_name(status.relay),
        "gate": str(told.gates[0].hold),
        "gates": [
            {
                "gate": str(gate.hold),
                "opens_at": iso(gate.opens_at),
                "text": one_line(words(gate, told, held.around)),
            }
            for gate in told.gates
        ],
        "worker": status.worker,
        "attempts": status.attempts,
        "attempts_left": told.attempts_left,
        "ahead": told.ahead,
        "goes_at": iso(told.goes_at),
        "gives_up_at": iso(told.gives_up_at),
    }
