"""What relays have said lately, alike reasons together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, bindparam, func, select

from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.recent import first_since
from mailqueue.outbox.tables import attempts, recipients


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, with how often it was given and to whom last. Instants in epoch microseconds.

    ``text`` has addresses and numbers masked; ``example`` is the last such reply as it came.
    """

    count: int
    recipients: int
    relay: str
    verdict: str
    stage: str
    code: int | None
    enhanced: str | None
    text: str
    first_at: int
    last_at: int
    message: int
    address: str
    example: str


def reasons(
    connection: Connection,
    *,
    since: int,
    outcomes: Collection[Outcome] = (),
    limit: int = 20,
) -> list[Reason]:
    """Return the ``limit`` most frequent reasons of attempts that ended at ``since`` or later.

    ``outcomes`` (none: all that are not sent) chooses among them. Reads the attempts of that
    time and no others.
    """
    wanted = outcomes or [outcome for outcome in Outcome if outcome is not Outcome.SENT]
    given = {
        "first": first_since(connection, since),
        "since": since,
        "verdicts": [str(outcome) for outcome in wanted],
        "most": limit,
    }
    return [Reason(*row) for row in connection.execute(_REASONS, given)]


def _statement() -> Select[*tuple[Any, ...]]:
    columns = attempts.c
    kind = (columns.relay, columns.verdict, columns.stage, columns.code, columns.enhanced)
    alike = (*kind, columns.reason)
    count = func.count().label("count")
    grouped = (
        select(
            count,
            func.count(columns.recipient_id.distinct()).label("recipients"),
            *alike,
            func.min(columns.ended_at).label("first_at"),
            func.max(columns.ended_at).label("last_at"),
            func.max(columns.id).label("last_id"),
        )
        .where(
            columns.id >= bindparam("first"),
            columns.ended_at >= bindparam("since"),
            columns.verdict.in_(bindparam("verdicts", expanding=True)),
        )
        .group_by(*alike)
        .order_by(count.desc(), func.max(columns.id).desc())
        .limit(bindparam("most", type_=columns.id.type))
        .subquery()
    )
    last = attempts.alias("last")
    return (
        select(
            *(column for column in grouped.c if column.name != "last_id"),
            recipients.c.message_id,
            recipients.c.address,
            last.c.text,
        )
        .join_from(grouped, last, last.c.id == grouped.c.last_id)
        .join(recipients, recipients.c.id == last.c.recipient_id)
        .order_by(grouped.c.count.desc(), grouped.c.last_id.desc())
    )


_REASONS: Final = _statement()
