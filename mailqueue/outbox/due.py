"""When the next waiting recipient falls due, so that nobody needs to look before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    select,
    union_all,
)

from mailqueue.mail.priority import Priority
from mailqueue.outbox.prepared import Prepared
from mailqueue.outbox.reap import live_relays
from mailqueue.outbox.tables import recipients


def next_due(connection: Connection, queues: Sequence[str], *, now: int) -> int | None:
    """Return the earliest due time after ``now`` (epoch microseconds), or None.

    The end of a lease counts: whoever holds it may be dead by then.
    """
    times = (connection.execute(_NEXT, {"queue": queue, "now": now}).scalar() for queue in queues)
    return min((at for at in times if at is not None), default=None)


def have_due(
    connection: Connection, queues: Sequence[str], *, now: int
) -> set[tuple[str, Priority]]:
    """Return under which names and priorities somebody is due at ``now`` (epoch microseconds).

    One statement, so that on a system with little to do a claim costs two, and not one for each
    of them.
    """
    names = tuple(dict.fromkeys(queues))
    if not names:
        return set()
    pairs = [(name, priority) for name in names for priority in Priority]
    return {pairs[place] for (place,) in _have_due(len(names)).all(connection, now, *names)}


@lru_cache(maxsize=64)
def _have_due(count: int) -> Prepared:
    """Return what asks for so many names; a row is the place of a name and priority."""
    columns, names = recipients.c, [f"queue_{number}" for number in range(count)]
    pairs = [(name, priority) for name in names for priority in Priority]

    def one(place: int, name: str, priority: Priority) -> Select[Any]:
        found: Select[Any] = select(literal_column("1")).where(
            columns.relay == bindparam(name, type_=columns.relay.type),
            columns.priority == literal_column(str(int(priority))),
            columns.due_at <= bindparam("now", type_=columns.due_at.type),
        )
        return select(literal_column(str(place))).where(found.exists())

    asked = (one(place, name, priority) for place, (name, priority) in enumerate(pairs))
    return Prepared(union_all(*asked), "now", *names)


def _next(priority: Priority) -> Select[Any]:
    columns = recipients.c
    return select(func.min(columns.due_at).label("due_at")).where(
        columns.relay == bindparam("queue"),
        columns.priority == int(priority),
        columns.due_at > bindparam("now"),
    )


_UNION = union_all(*map(_next, Priority)).subquery()
_NEXT = select(func.min(_UNION.c.due_at))


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much waits, counted up to a limit, and since when (epoch microseconds)."""

    waiting: int
    is_more: bool
    oldest_due: int | None


def backlog(connection: Connection, *, now: int, most: int = 10_000) -> Backlog:
    """Count the recipients that wait, ``most`` at the most: a status line needs no more."""
    columns = recipients.c
    some = select(columns.due_at).where(columns.due_at.is_not(None)).limit(most + 1).subquery()
    oldest = func.min(case((some.c.due_at <= now, some.c.due_at)))
    count, since = connection.execute(select(func.count(), oldest).select_from(some)).one()
    return Backlog(min(count, most), count > most, since)


@dataclass(frozen=True, slots=True)
class Oldest:
    """The recipient that has been due for longest: since when, and of which message."""

    due_at: int
    message: int


def oldest(connection: Connection, *, now: int) -> Oldest | None:
    """Return who was due first, or None where nobody is due at ``now`` (epoch microseconds).

    Whatever name and priority it has, and whoever has it leased: by one seek for each name and
    priority, however many wait.
    """
    rows = (
        connection.execute(_FIRST, {"queue": queue, "priority": int(priority)}).one_or_none()
        for queue in live_relays(connection)
        for priority in Priority
    )
    found = (Oldest(row.due_at, row.message_id) for row in rows if row is not None)
    first = min(found, key=lambda one: one.due_at, default=None)
    return None if first is None or first.due_at > now else first


_FIRST = (
    select(recipients.c.due_at, recipients.c.message_id)
    .where(
        recipients.c.relay == bindparam("queue"),
        recipients.c.priority == bindparam("priority"),
        recipients.c.due_at.is_not(None),
    )
    .order_by(recipients.c.due_at)
    .limit(1)
)
