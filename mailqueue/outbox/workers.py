"""The daemons on this outbox, and when each was last heard of."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, delete, exists, insert, select, update

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.shares import leave
from mailqueue.outbox.tables import recipients, workers


@dataclass(frozen=True, slots=True)
class Worker:
    """One daemon process. Instants in epoch microseconds."""

    id: str
    host: str
    pid: int
    version: str
    started_at: int
    heartbeat_at: int


def register(connection: Connection, worker: Worker) -> None:
    """Note that ``worker`` runs; doing it again changes nothing."""
    remove(connection, worker.id)
    connection.execute(
        insert(workers).values(
            id=worker.id,
            host=worker.host,
            pid=worker.pid,
            version=worker.version,
            started_at=worker.started_at,
            heartbeat_at=worker.heartbeat_at,
        ),
    )


def beat(connection: Connection, worker: str, *, now: int) -> None:
    """Note that ``worker`` is still heard of at ``now``."""
    connection.execute(update(workers).where(workers.c.id == worker).values(heartbeat_at=now))


def remove(connection: Connection, worker: str) -> None:
    """Forget a worker that has ended."""
    connection.execute(delete(workers).where(workers.c.id == worker))


def bury(connection: Connection, worker: str) -> None:
    """Forget a worker that has died, and free its share of every limit."""
    remove(connection, worker)
    leave(connection, worker)


def forget(connection: Connection, worker: str, *, silent_since: int) -> None:
    """Remove ``worker`` if nothing was heard of it since then and it holds no lease.

    A lease keeps it: when that runs out, the doubt is recorded with the worker's name.
    """
    holds = exists().where(
        recipients.c.state == State.SENDING,
        recipients.c.due_at.is_not(None),
        recipients.c.worker == worker,
    )
    silent = workers.c.heartbeat_at < silent_since
    connection.execute(delete(workers).where(workers.c.id == worker, silent, ~holds))


def known(connection: Connection) -> list[Worker]:
    """Return all workers that have not been removed, the living and the dead."""
    return [Worker(*row) for row in connection.execute(select(workers))]
