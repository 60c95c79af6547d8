"""Everything there is to judge a run by: the outbox, the relays and the chronicle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from mailqueue.cli.demo.chronicle import Chronicle
from mailqueue.cli.demo.habits import habit_of
from mailqueue.cli.demo.records import Look, Row, Standing, history, look, relays, rows
from mailqueue.cli.demo.relays import Relays

FAILURES: Final = "SELECT * FROM mailqueue_failures"
DOUBTS: Final = (
    "SELECT message_id, recipient, stage, text, on_doubt, state, doubts FROM mailqueue_in_doubt"
)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What was left when all daemons had ended. The rows of each view in their order."""

    chronicle: Chronicle
    relays: Relays
    look: Look
    history: tuple[Row, ...]
    breakers: tuple[Row, ...]
    failures: tuple[Row, ...]
    doubts: tuple[Row, ...]

    @property
    def recipients(self) -> tuple[Standing, ...]:
        """The rows of all recipients."""
        return self.look.recipients

    def with_habit(self, word: str) -> list[Standing]:
        """Return the recipients that `main` treats by this habit."""
        return [one for one in self.recipients if habit_of(one.address).word == word]

    def attempts(self, one: Standing) -> list[Row]:
        """Return what was tried for a recipient, in order."""
        return [row for row in self._history_of(one) if row["kind"] == "attempt"]

    def acts(self, one: Standing) -> list[Row]:
        """Return what operators did about a recipient, in order."""
        return [row for row in self._history_of(one) if row["kind"] == "action"]

    def deliveries(self, one: Standing) -> int:
        """Return how often a relay took mail for a recipient."""
        return self.relays.deliveries(one.address)

    def times_asked(self, one: Standing) -> int:
        """Return how often a relay was asked to take a recipient's mail, as far as RCPT.

        Where it was refused at MAIL, no RCPT came, and its sender is nobody else's.
        """
        if any(row["stage"] == "mail" for row in self.attempts(one)):
            sender = self.chronicle.by_address[one.address].sender
            return self.relays.times_asked(f"MAIL FROM:<{sender}>")
        return self.relays.times_asked(f"RCPT TO:<{one.address}>")

    def _history_of(self, one: Standing) -> list[Row]:
        return [row for row in self.history if row["recipient_id"] == one.id]


def read_aftermath(connection: Connection, chronicle: Chronicle, scripted: Relays) -> Aftermath:
    """Read from the outbox what belongs to an aftermath."""
    return Aftermath(
        chronicle,
        scripted,
        look(connection),
        history=tuple(history(connection)),
        breakers=tuple(relays(connection)),
        failures=tuple(rows(connection, FAILURES)),
        doubts=tuple(rows(connection, DOUBTS)),
    )
