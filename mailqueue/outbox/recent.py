"""Where the recent attempts begin, found without an index of their times."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from mailqueue.clock import MICROSECONDS
from mailqueue.outbox.tables import attempts

SLACK: Final = 600 * MICROSECONDS
"""How much later than it ended an attempt may have been written, behind others that ended later:
a result waits for the database, and two daemons do not wait together."""


def first_since(connection: Connection, since: int) -> int:
    """Return the id from which on attempts ended at ``since`` (epoch microseconds) or later.

    Attempts are numbered in the order in which they are written, which is that of their ends
    but for `SLACK`, so halving finds the place in some twenty seeks. Some of those that follow it
    are older: compare ``ended_at`` besides. Where a clock was set back by more than `SLACK`,
    attempts from before that may be missed.
    """
    low, high = 0, 1 + (connection.scalar(_LAST) or 0)
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_NEXT, {"id": middle}).one_or_none()
        if row is None or row.ended_at >= since - SLACK:
            high = middle
        else:
            low = row.id + 1
    return low


_LAST: Final = select(func.max(attempts.c.id))
_NEXT: Final = (
    select(attempts.c.id, attempts.c.ended_at)
    .where(attempts.c.id >= bindparam("id"))
    .order_by(attempts.c.id)
    .limit(1)
)
