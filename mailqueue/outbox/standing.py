"""What the gates ask of the database: deadlines, leases, and the place in the line."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select, text

from mailqueue.outbox.tables import recipients


@dataclass(frozen=True, slots=True)
class Facts:
    """What a recipient's row says besides its status. Instants in epoch microseconds.

    ``relay`` is the name it carries; ``dot_at``: when its final dot was announced, where that
    is noted (for messages whose doubt is held).
    """

    relay: str
    priority: int
    due_at: int | None
    lifetime_from: int
    dot_at: int | None


def facts(connection: Connection, message: int) -> dict[int, Facts]:
    """Return the facts of every recipient of ``message``, by recipient."""
    rows = connection.execute(_FACTS, {"message": message})
    return {number: Facts(*values) for number, *values in rows}


def under_way(connection: Connection, names: Collection[str]) -> int:
    """Return how many messages are leased whose mail carries one of ``names``."""
    return connection.scalar(_UNDER_WAY, {"names": [*names]}) or 0


def ahead(connection: Connection, of: Facts, *, now: int, most: int = 10_000) -> int:
    """Return how many recipients are due before this one, counted up to ``most``.

    Among those of its own name: the more urgent ones, then those that have been due for longer.
    """
    given = {"relay": of.relay, "priority": of.priority, "due_at": of.due_at, "now": now}
    return connection.scalar(_AHEAD, {**given, "most": most}) or 0


_COLUMNS = recipients.c
_FACTS: Final = select(
    _COLUMNS.id,
    _COLUMNS.relay,
    _COLUMNS.priority,
    _COLUMNS.due_at,
    _COLUMNS.lifetime_from,
    _COLUMNS.dot_at,
).where(_COLUMNS.message_id == bindparam("message"))
_UNDER_WAY: Final = select(func.count(_COLUMNS.message_id.distinct())).where(
    # Words of the index of leases, which is as short as there are leases.
    text("state = 'sending'"),
    _COLUMNS.relay.in_(bindparam("names", expanding=True)),
)
_BEFORE = or_(
    (_COLUMNS.priority < bindparam("priority")) & (_COLUMNS.due_at <= bindparam("now")),
    (_COLUMNS.priority == bindparam("priority")) & (_COLUMNS.due_at < bindparam("due_at")),
)
_SOME = (
    select(_COLUMNS.id)
    .where(_COLUMNS.relay == bindparam("relay"), text("due_at IS NOT NULL"), _BEFORE)
    .limit(bindparam("most", type_=_COLUMNS.id.type))
    .subquery()
)
_AHEAD: Final = select(func.count()).select_from(_SOME)
