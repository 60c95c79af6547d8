"""The mails of a torture: the number of one says all about it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mailqueue.mail.doubt import OnDoubt

SENDER = "sender@example.org"
REFUSED = "refused-*"
"""Whom the relay refuses for good."""
_LARGE = 100_000
"""Octets that need more than one block on the wire."""


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail. Whoever makes it again from its number gets the same octets."""

    number: int

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"mail-{self.number}"

    @property
    def message_id(self) -> str:
        """Its Message-ID."""
        return f"<{self.number}@example.org>"

    @property
    def on_doubt(self) -> OnDoubt:
        """What is to be done where nobody knows whether it was accepted."""
        return OnDoubt.HOLD if self.number % 3 == 0 else OnDoubt.RETRY

    @property
    def recipients(self) -> tuple[str, ...]:
        """One to three; the only one of each tenth mail is refused."""
        if self.number % 10 == 4:
            return (f"refused-{self.number}@example.net",)
        return tuple(f"r{self.number}-{one}@example.net" for one in range(1 + self.number % 3))

    @property
    def raw(self) -> bytes:
        """Its octets as they go on the wire: complete, so that nothing is added to them."""
        header = (
            f"From: {SENDER}\r\nTo: {', '.join(self.recipients)}\r\nSubject: {self.number}\r\n"
            f"Message-ID: {self.message_id}\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\n"
        )
        lines = _LARGE // 80 if self.number % 7 == 0 else 3
        return header.encode() + b".a line that begins with a dot, " * 2 + b"\r\n" * lines

    @property
    def digest(self) -> str:
        """SHA-256 of its octets, in hexadecimal."""
        return hashlib.sha256(self.raw).hexdigest()
