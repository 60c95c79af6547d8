"""Which daemon is on its way to see whether a paused relay is well again: one at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, select, update

from mailqueue.outbox.relays import RelayRow
from mailqueue.outbox.shares import lock
from mailqueue.outbox.tables import limits, relays


def probers(connection: Connection) -> Mapping[str, str]:
    """Return the worker that probes, by the relay's name."""
    found = connection.execute(
        select(limits.c.relay, limits.c.prober).where(limits.c.prober.is_not(None))
    )
    return {row.relay: row.prober for row in found}


def claim(connection: Connection, worker: str, *, seen: RelayRow, living: Collection[str]) -> bool:
    """Let ``worker`` be the one that probes; returns whether it is.

    Not where one of the ``living`` does, and not where the relay's row is no longer as it was
    ``seen``: somebody has probed since, and the answer is there.
    """
    lock(connection, seen.name)
    prober = connection.scalar(select(limits.c.prober).where(limits.c.relay == seen.name))
    if prober is not None and prober != worker and prober in living:
        return False
    columns = (relays.c.breaker, relays.c.probe_at, relays.c.troubles)
    row = connection.execute(select(*columns).where(relays.c.name == seen.name)).one_or_none()
    if row is None or tuple(row) != (seen.breaker, seen.probe_at, seen.troubles):
        return False
    connection.execute(update(limits).where(limits.c.relay == seen.name).values(prober=worker))
    return True


def release(connection: Connection, worker: str, relay: str) -> None:
    """Let others probe, if ``worker`` is the one that does."""
    mine = (limits.c.relay == relay) & (limits.c.prober == worker)
    connection.execute(update(limits).where(mine).values(prober=None))
