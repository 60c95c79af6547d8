"""An operator's pause of a relay: a decision that stands in its row, beside the breaker.

It outlives whatever the breaker does and every restart of the daemon, and ends by itself where it
was given an end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, or_, select, update

from mailqueue.outbox.relays import change
from mailqueue.outbox.tables import relays


@dataclass(frozen=True, slots=True)
class Pause:
    """Who paused a relay, since when and until when (epoch microseconds; None: until resumed)."""

    at: int
    until: int | None
    by: str
    reason: str = ""

    def lasts(self, *, now: int) -> bool:
        """Whether it is still in force at ``now``."""
        return self.until is None or now < self.until


def pause(connection: Connection, relay: str, decided: Pause) -> None:
    """Pause ``relay``, in place of the pause that it may have already.

    The row is made where no daemon has run with this relay yet.
    """
    values = {
        "paused_at": decided.at,
        "paused_until": decided.until,
        "paused_by": decided.by,
        "pause_reason": decided.reason,
    }
    change(connection, relay, values, since=decided.at)


def resume(connection: Connection, relay: str, *, now: int) -> bool:
    """End the pause of ``relay``; returns whether one was in force."""
    was_paused = relay in pauses(connection, now=now)
    statement = update(relays).where(relays.c.name == relay)
    connection.execute(
        statement.values(paused_at=None, paused_until=None, paused_by=None, pause_reason=None)
    )
    return was_paused


def pauses(connection: Connection, *, now: int) -> Mapping[str, Pause]:
    """Return the pauses that are in force, by the relay's name."""
    columns = relays.c
    statement = select(
        columns.name,
        columns.paused_at,
        columns.paused_until,
        columns.paused_by,
        columns.pause_reason,
    ).where(
        columns.paused_at.is_not(None),
        or_(columns.paused_until.is_(None), columns.paused_until > now),
    )
    return {
        name: Pause(at, until, by or "", reason or "")
        for name, at, until, by, reason in connection.execute(statement)
    }
