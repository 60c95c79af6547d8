"""What proves that a transaction of a daemon's was committed: something that it alone writes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select

from mailqueue.outbox.lease import Lease
from mailqueue.outbox.outcome import wait_at_most
from mailqueue.outbox.record import Result
from mailqueue.outbox.tables import attempts, recipients

WAIT_SECONDS: Final = 5.0
"""How long to wait for a COMMIT that may still be under way, before asking again."""


def was_claimed(
    connection: Connection, lease: Lease, *, until: int, wait: float = WAIT_SECONDS
) -> bool:
    """Return whether the claim that was to give ``lease``, up to ``until``, is in force."""
    return _held_until(connection, lease.recipient, wait) == (lease.token, until)


def was_recorded(connection: Connection, result: Result, *, wait: float = WAIT_SECONDS) -> bool:
    """Return whether ``result`` is on record; of one that is not, the lease may have gone since."""
    recipient, trial = result.lease.recipient, result.trial
    held = _held_until(connection, recipient, wait)
    if not result.decision.is_recorded:
        return held == (result.lease.token, result.decision.due_at)
    columns = attempts.c
    statement = select(columns.id).where(
        columns.recipient_id == recipient,
        columns.worker == trial.worker,
        columns.started_at == trial.started_at,
        columns.ended_at == trial.ended_at,
    )
    return connection.execute(statement.limit(1)).first() is not None


def _held_until(connection: Connection, recipient: int, wait: float) -> tuple[int, int] | None:
    """Return a recipient's token and due time once no other transaction is about to change it."""
    wait_at_most(connection, wait)
    columns = recipients.c
    statement = select(columns.lease, columns.due_at).where(columns.id == recipient)
    row = connection.execute(statement.with_for_update()).first()
    return None if row is None else (row.lease, row.due_at)
