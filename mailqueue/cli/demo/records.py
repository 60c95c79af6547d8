"""What the outbox says, read as anybody with SQL would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from mailqueue.mail.lifecycle import State

Row = Mapping[str, Any]

_RECIPIENTS = """
SELECT r.id, r.message_id, r.address, r.relay, r.state, r.attempts, r.doubts, r.due_at,
       r.finished_at, r.last_code, r.last_text, m.on_doubt
FROM mailqueue_recipients AS r JOIN mailqueue_messages AS m ON m.id = r.message_id
ORDER BY r.id
"""
_HISTORY = "SELECT * FROM mailqueue_history ORDER BY at"
_RELAYS = "SELECT * FROM mailqueue_relays ORDER BY name"


@dataclass(frozen=True, slots=True)
class Standing:
    """A recipient as its row has it. Instants in epoch microseconds."""

    id: int
    message_id: int
    address: str
    relay: str
    state: State
    attempts: int
    doubts: int
    due_at: int | None
    finished_at: int | None
    last_code: int | None
    last_text: str | None
    on_doubt: str

    @property
    def is_coherent(self) -> bool:
        """Whether what stands beside the state agrees with it."""
        is_finished, is_due = self.finished_at is not None, self.due_at is not None
        return is_finished == self.state.is_final and is_due != self.is_settled

    @property
    def is_settled(self) -> bool:
        """Whether the daemon has done with it: it is final, or an operator's."""
        return self.state.is_final or self.state is State.HELD


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the outbox: all recipients, and the breakers of the relays."""

    recipients: tuple[Standing, ...]
    breakers: Mapping[str, str]

    @property
    def counts(self) -> Counter[State]:
        """How many recipients are in each state."""
        return Counter(one.state for one in self.recipients)

    def of(self, address: str) -> Standing:
        """Return the recipient with this address. Raises KeyError if there is none."""
        for one in self.recipients:
            if one.address == address:
                return one
        raise KeyError(address)

    def are_settled(self, addresses: Sequence[str]) -> bool:
        """Whether the daemon has done with all of these."""
        waiting = {one.address for one in self.recipients if not one.is_settled}
        return waiting.isdisjoint(addresses)


def look(connection: Connection) -> Look:
    """Read how everything stands."""
    found = connection.execute(text(_RECIPIENTS)).mappings()
    return Look(
        tuple(Standing(**{**row, "state": State(row["state"])}) for row in found),
        {row["name"]: row["breaker"] for row in relays(connection)},
    )


def history(connection: Connection) -> list[Row]:
    """Read every attempt and every act of an operator, in their order."""
    return rows(connection, _HISTORY)


def relays(connection: Connection) -> list[Row]:
    """Read what is noted about the relays."""
    return rows(connection, _RELAYS)


def rows(connection: Connection, query: str) -> list[Row]:
    """Return what ``query`` finds."""
    return [dict(row) for row in connection.execute(text(query)).mappings()]
