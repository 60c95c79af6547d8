"""How old the mail is that waits, by where it goes: Postfix's qshape."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sqlalchemy import Connection, select, text

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.tables import messages, recipients

MINUTES: Final = (5, 10, 20, 40, 80, 160, 320, 640, 1280)
"""The ends of the columns, as qshape has them: each but the first is twice the one before."""


class Side(StrEnum):
    """What the rows of a shape are."""

    DOMAIN = "domain"
    SENDER = "sender"
    """The domain of the envelope's sender; ``<>`` for the null sender."""
    RELAY = "relay"


@dataclass(slots=True)
class Ages:
    """Recipients by how long they have waited: up to each of `MINUTES`, and beyond the last.

    ``later``: those whose time has not begun, because they are to be sent later.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(MINUTES) + 1))
    later: int = 0

    @property
    def total(self) -> int:
        """How many there are."""
        return sum(self.counts) + self.later

    def note(self, age: int) -> None:
        """Count one more that is ``age`` microseconds old."""
        if age < 0:
            self.later += 1
        else:
            self.counts[bisect_right(_ENDS, age)] += 1

    def add(self, other: Ages) -> None:
        """Count those of ``other`` among these."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.later += other.later


def shape(
    connection: Connection, *, now: int, side: Side = Side.DOMAIN, states: Collection[State] = ()
) -> dict[str, Ages]:
    """Return the ages of what is unfinished, by name; of those in ``states``, if any are named.

    Age counts from when the mail was to be sent: when it was enqueued, its ``send_at``, or when
    an operator began anew. Costs about four seconds for a million that wait.
    """
    column = {
        Side.DOMAIN: recipients.c.address,
        Side.SENDER: messages.c.sender,
        Side.RELAY: recipients.c.relay,
    }[side]
    statement = select(column, recipients.c.lifetime_from).where(text("finished_at IS NULL"))
    if side is Side.SENDER:
        statement = statement.join_from(recipients, messages)
    if states:
        statement = statement.where(recipients.c.state.in_([str(state) for state in states]))
    found: defaultdict[str, Ages] = defaultdict(Ages)
    for name, since in connection.execute(statement):
        found[_named(name, side)].note(now - since)
    return dict(found)


def _named(name: str, side: Side) -> str:
    if side is Side.RELAY:
        return name
    return name.rpartition("@")[2].lower() or "<>"


_ENDS: Final = tuple(minutes * 60_000_000 for minutes in MINUTES)
