"""What waits for each relay."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, case, func, select

from mailqueue.mail.lifecycle import Event, State
from mailqueue.outbox.states import may
from mailqueue.outbox.tables import recipients


@dataclass(frozen=True, slots=True)
class Queue:
    """How many unfinished recipients there are in each state, and when the first that waits is or
    was due (epoch microseconds; None where nobody waits).
    """

    queued: int = 0
    deferred: int = 0
    sending: int = 0
    held: int = 0
    oldest_due: int | None = None

    def __add__(self, other: Queue) -> Queue:
        """Return both as one queue."""
        dues = [due for due in (self.oldest_due, other.oldest_due) if due is not None]
        return Queue(
            self.queued + other.queued,
            self.deferred + other.deferred,
            self.sending + other.sending,
            self.held + other.held,
            min(dues, default=None),
        )


def queues(connection: Connection) -> dict[str, Queue]:
    """Return the queue of each relay name that unfinished recipients carry."""
    rows = connection.execute(_QUEUES).all()
    return {row.relay: Queue(*row[1:]) for row in rows}


def _number_in(state: State) -> ColumnElement[int]:
    return func.sum(case((recipients.c.state == str(state), 1), else_=0))


_QUEUES = (
    select(
        recipients.c.relay,
        *map(_number_in, (State.QUEUED, State.DEFERRED, State.SENDING, State.HELD)),
        func.min(case((may(Event.CLAIM), recipients.c.due_at))),
    )
    .where(recipients.c.finished_at.is_(None))
    .group_by(recipients.c.relay)
)
