"""Who was refused or given up lately, and has not been tried anew since."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, and_, bindparam, case, distinct, func, or_, select

from mailqueue.mail.lifecycle import State
from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.recent import first_since
from mailqueue.outbox.tables import attempts, recipients


@dataclass(frozen=True, slots=True)
class Refused:
    """Recipients whom an attempt failed or gave up.

    ``failed``: those who are failed or expired now; ``mended``: those who are not any more,
    because somebody has let them begin anew.
    """

    failed: int
    mended: int


def refused(connection: Connection, *, since: int) -> Refused:
    """Count those whom an attempt failed or gave up at ``since`` (epoch microseconds) or later.

    Reads the attempts of that time, and a row for each of those among them that failed.
    """
    given = {"first": first_since(connection, since), "since": since}
    all_, failed = connection.execute(_REFUSED, given).one()
    return Refused(failed, all_ - failed)


_IS_FAILED = recipients.c.state.in_([str(State.FAILED), str(State.EXPIRED)])
_REFUSED: Final = (
    select(
        func.count(distinct(recipients.c.id)),
        func.count(distinct(case((_IS_FAILED, recipients.c.id)))),
    )
    .join_from(attempts, recipients)
    .where(
        attempts.c.id >= bindparam("first"),
        attempts.c.ended_at >= bindparam("since"),
        # Nothing follows it: a refusal, or the last attempt that the deadline left room for.
        or_(
            attempts.c.verdict == str(Outcome.FAIL),
            and_(attempts.c.verdict == str(Outcome.DEFER), attempts.c.due_at.is_(None)),
        ),
    )
)
