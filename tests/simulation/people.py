"""Who fills the simulated outbox, and who meddles with it: producers and operators."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine

from mailqueue.clock import Clock, microseconds
from mailqueue.errors import OutboxError
from mailqueue.mail.content import freeze
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Envelope
from mailqueue.mail.priority import Priority
from mailqueue.operate import Operator
from mailqueue.outbox.acts import Act
from mailqueue.outbox.enqueue import Draft, Options, Receipt, enqueue
from tests.simulation.database import Disk, transact
from tests.simulation.pace import HOUR

_KINDS = ("ok",) * 8 + ("grey", "grey", "gone", "never", "full")
_BODIES = (b"hello\r\n", b".\r\n..two\r\n.\r\n", b"", b"x" * 70 + b"\r\n")


class _ChangeOfMindError(Exception):
    """The application rolls its transaction back."""


@dataclass(slots=True)
class Producer:
    """Enqueues as applications do, and remembers what it was promised."""

    engine: Engine
    disk: Disk
    clock: Clock
    chance: random.Random
    receipts: dict[int, str] = field(default_factory=dict)
    """Of what `enqueue` has returned: message number to Message-ID."""
    withdrawn: set[str] = field(default_factory=set)
    """Message-IDs whose transaction was rolled back."""
    digests: dict[str, bytes] = field(default_factory=dict)
    _count: int = 0
    _last: Draft | None = None

    def draft(self, recipients: tuple[str, ...] | None = None, **options: Any) -> Draft:
        """Return a message of some kind, to recipients of some kinds unless they are given."""
        chance = self.chance
        self._count += 1
        message_id = f"<{self._count}@example.org>"
        body = chance.choice(_BODIES) * chance.choice((1, 1, 1, 3, 3000))
        raw = b"Message-ID: %s\r\nSubject: hello\r\n\r\n%s" % (message_id.encode(), body)
        content, digest = freeze(raw, make_message_id=str, date="Mon, 1 Jan 2024 00:00:00 +0000")
        self.digests[message_id] = hashlib.sha256(content.raw).digest()
        recipients = recipients or tuple(
            f"{chance.choice(_KINDS)}-{number}@example.net"
            for number in range(chance.choice((1, 1, 2, 4, 7)))
        )
        kind = "spam" if chance.random() < 0.05 else "from"
        sender = f"{kind}+{self._count}@example.org"
        return Draft(Envelope(sender, recipients), content, digest, Options(**options))

    def options(self) -> dict[str, Any]:
        """Return what some application might ask for."""
        chance, now = self.chance, self.clock.now()
        soon = now + microseconds(chance.uniform(0, HOUR))
        later = now + microseconds(chance.uniform(60, 5 * HOUR))
        return {
            "relay": chance.choice(("default", "default", "main", "smart")),
            "priority": chance.choice(tuple(Priority)),
            "on_doubt": chance.choice((OnDoubt.RETRY, OnDoubt.HOLD)),
            "send_at": soon if chance.random() < 0.1 else None,
            "expires_at": later if chance.random() < 0.1 else None,
            "idempotency_key": f"key {self._count}" if chance.random() < 0.3 else None,
        }

    def enqueue(self, draft: Draft | None = None) -> Receipt | None:
        """Enqueue one message; returns None where it could not, or changed its mind."""
        if draft is None and self._last is not None and self.chance.random() < 0.1:
            draft = self._last if self._last.options.idempotency_key else None
        draft = draft or self.draft(**self.options())
        try:
            (receipt,) = transact(self.engine, self.disk, lambda to: self._store(to, draft))
        except OutboxError:
            return None
        except _ChangeOfMindError:
            self.withdrawn.add(draft.content.message_id)
            return None
        self._last = draft
        self.receipts[receipt.id] = receipt.message_id
        return receipt

    def _store(self, connection: Connection, draft: Draft) -> list[Receipt]:
        receipts = enqueue(connection, [draft], now=self.clock.now())
        if self.chance.random() < 0.05 and draft is not self._last:
            raise _ChangeOfMindError
        return receipts


@dataclass(slots=True)
class Meddler:
    """An operator who decides this and that."""

    operator: Operator
    chance: random.Random

    def decide(self, messages: list[int]) -> list[Act]:
        """Do something to one of ``messages``."""
        if not messages:
            return []
        verbs = self.operator
        verb = self.chance.choice((verbs.hold, verbs.release, verbs.cancel, verbs.retry))
        return verb(self.chance.choice(messages))

    def release(self, message: int) -> list[Act]:
        """Let a message go on."""
        return self.operator.release(message)
