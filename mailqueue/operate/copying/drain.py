"""What is leased when the fence goes up is settled: by its worker, or as doubt on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event as Bell
from typing import Final

from sqlalchemy import Connection, func, select

from mailqueue.clock import Clock
from mailqueue.mail.lifecycle import Event
from mailqueue.operate.access import Access
from mailqueue.operate.copying.refusals import NotNowError
from mailqueue.outbox import reap
from mailqueue.outbox.location import opened_path
from mailqueue.outbox.locks import is_dead
from mailqueue.outbox.moment import moment
from mailqueue.outbox.states import may
from mailqueue.outbox.tables import recipients
from mailqueue.outbox.workers import known

LOOK_SECONDS: Final = 0.1
"""Between two looks at what is still leased."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for leases (seconds), and what is done for those of the dead."""

    wait: float
    policies: reap.Policies
    clock: Clock


def drain(source: Access, patience: Patience, *, waiting: Callable[[int], None]) -> None:
    """Return when nothing is leased any more.

    A living worker writes its results. The leases of one that is proven dead, and those that ran
    out, are settled as a daemon would: in doubt where the final dot may have been written.
    ``waiting`` is told how many are left. Raises `NotNowError` when the time is up.
    """
    end = patience.clock.monotonic() + patience.wait
    rest, told = Bell(), -1
    while True:
        with source.writing() as connection:
            _settle(connection, patience)
            left = leased(connection)
            who = _workers(connection) if left else []
        if not left:
            return
        if left != told:
            waiting(told := left)
        if patience.clock.monotonic() >= end:
            raise NotNowError(
                f"{left} recipients are still leased, by {', '.join(who)}: their relays have not "
                "answered, or the lease of a stalled worker has not run out. The fence stands and "
                "nothing more is claimed; run it again to go on, or lift the fence with "
                "`mailqueue db unfence`"
            )
        rest.wait(LOOK_SECONDS)


def leased(connection: Connection) -> int:
    """Return how many recipients are leased."""
    return (
        connection.scalar(select(func.count()).select_from(recipients).where(may(Event.HAND_BACK)))
        or 0
    )


def _settle(connection: Connection, patience: Patience) -> None:
    path = opened_path(connection)
    dead = [
        worker.id for worker in known(connection) if path is not None and is_dead(path, worker.id)
    ]
    clock = patience.clock
    now = moment(connection, clock)
    while reap.reap(connection, patience.policies, now=now, jitter=clock.random, dead_workers=dead):
        pass


def _workers(connection: Connection) -> list[str]:
    statement = select(recipients.c.worker).where(may(Event.HAND_BACK))
    return [worker or "nobody" for worker in connection.scalars(statement.distinct())]
