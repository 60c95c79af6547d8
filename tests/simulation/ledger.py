"""What the simulated relays took, and what they refused for good: the truth to measure against."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

Key = tuple[str, str]
"""A message, by its Message-ID, and one of its recipients."""


@dataclass(slots=True)
class Ledger:
    """Kept by all relays together. An acceptance is entered before its reply is sent."""

    delivered: Counter[Key] = field(default_factory=Counter)
    digests: dict[str, set[bytes]] = field(default_factory=dict)
    """Of what arrived between DATA and the final dot, by Message-ID."""
    refused: set[Key] = field(default_factory=set)
    """Who was answered with a 5xx."""

    def accept(self, message_id: str, recipients: list[str], digest: bytes) -> None:
        """Enter a message that a relay takes responsibility for."""
        self.delivered.update((message_id, recipient) for recipient in recipients)
        self.digests.setdefault(message_id, set()).add(digest)

    def refuse(self, message_id: str, recipients: list[str]) -> None:
        """Enter a refusal for good."""
        self.refused.update((message_id, recipient) for recipient in recipients)

    @property
    def duplicates(self) -> int:
        """How many recipients got a message more than once."""
        return sum(count > 1 for count in self.delivered.values())
