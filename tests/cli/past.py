"""A past for an outbox, made by the functions that make it in earnest: enqueue, claim, record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from email.message import EmailMessage
from functools import partial
from itertools import chain
from typing import Any

from sqlalchemy import Engine

from mailqueue import Outbox
from mailqueue.clock import MICROSECONDS, Clock
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.priority import Priority
from mailqueue.mail.reply import EnhancedStatus, Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.record import Result, Trial, record

SENT = Finding(
    Evidence(Stage.END_OF_DATA, Reply(250, "accepted as 1", EnhancedStatus(2, 0, 0)), "."),
    rcpt=Reply(250, "recipient ok", EnhancedStatus(2, 1, 5)),
)
GREYLISTED = Finding(
    Evidence(
        Stage.RCPT,
        Reply(451, "greylisted [red]\ntry later", EnhancedStatus(4, 7, 1)),
        "RCPT TO:<carl@example.net>",
    )
)
REFUSED = Finding(
    Evidence(
        Stage.RCPT,
        Reply(550, "no such user", EnhancedStatus(5, 1, 1)),
        "RCPT TO:<nobody@example.net>",
    )
)
SILENT = Finding(Evidence(Stage.END_OF_DATA, NoReply(NoReplyKind.TIMEOUT, "600 s"), "."))


def message(subject: str = "hello") -> EmailMessage:
    """Return a message without an envelope."""
    written = EmailMessage()
    written["From"] = "shop@example.org"
    written["Subject"] = subject
    written["Message-ID"] = "<order-42@example.org>"
    written.set_content("Grüße\n")
    return written


class Past:
    """Makes things happen in the outbox of ``engine``, at the times of ``clock``."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.outbox = Outbox(engine, clock=clock)

    def enqueued(self, *recipients: str, **wishes: Any) -> int:
        """Enqueue a message and return its number."""
        return self.outbox.enqueue(message(), recipients=recipients, **wishes).id

    def claimed(self, *, worker: str = "w1", relay: str = "default") -> list[LeasedMessage]:
        """Lease everything that is due."""
        now = self.clock.now()
        wanted = Claim(relay, worker, 100, 10**9, now, now + 120 * MICROSECONDS, 0)
        with self.engine.begin() as connection:
            each = (claim(connection, replace(wanted, priority=one)) for one in Priority)
            return [*chain.from_iterable(each)]

    def tried(self, findings: Mapping[str, Finding]) -> None:
        """Claim what is due and record for each address the finding it is given here."""
        results = []
        for leased in self.claimed():
            judged = partial(decide, on_doubt=leased.on_doubt, now=self.clock.now(), jitter=0.0)
            results += [
                Result(
                    lease, judged(findings[lease.address], lease.history, Backoff()), self._trial()
                )
                for lease in leased.leases
            ]
        with self.engine.begin() as connection:
            assert record(connection, results) == []

    def _trial(self) -> Trial:
        now = self.clock.now()
        return Trial(
            "w1",
            "main",
            now - 350_000,
            now,
            session="ab12",
            peer="192.0.2.1:587",
            tls="TLSv1.3",
        )
