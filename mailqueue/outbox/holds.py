"""Who holds a recipient, and why."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from mailqueue.mail.lifecycle import Event
from mailqueue.outbox.tables import actions


@dataclass(frozen=True, slots=True)
class Hold:
    """An operator's decision to keep a recipient from being sent to."""

    actor: str
    reason: str


def holds(connection: Connection, held: Collection[int]) -> dict[int, Hold]:
    """Return the decisions that keep these recipients, all of them held, by recipient.

    Whoever is held by doubt is not among them.
    """
    rows = connection.execute(_HOLDS, {"held": [*held]}) if held else ()
    return {row.recipient_id: Hold(row.actor, row.reason) for row in rows}


_LAST = (
    select(func.max(actions.c.id))
    .where(actions.c.recipient_id.in_(bindparam("held", expanding=True)))
    .group_by(actions.c.recipient_id)
)
_HOLDS: Final = select(actions.c.recipient_id, actions.c.actor, actions.c.reason).where(
    actions.c.id.in_(_LAST), actions.c.verb == str(Event.HOLD)
)
