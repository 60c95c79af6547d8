"""Leases as a worker takes them, and results as it brings them back."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.reply import EnhancedStatus, Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.schedule import Backoff
from mailqueue.mail.stage import Stage
from mailqueue.outbox.claim import Claim, claim
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.record import Result, Trial
from mailqueue.outbox.tables import attempts, recipients
from tests.support.rows import NOW, SECOND

LEASE = 120 * SECOND
WORKER = "w1"
POLICY = Backoff(initial=300.0, factor=2.0, maximum=14_400.0, jitter=0.2, give_up=432_000.0)

ACCEPTED = Evidence(Stage.END_OF_DATA, Reply(250, "queued as 4711", EnhancedStatus(2, 0, 0)), ".")
DEFERRED = Evidence(Stage.RCPT, Reply(450, "mailbox busy, id 12", EnhancedStatus(4, 2, 1)), "RCPT")
REFUSED = Evidence(Stage.RCPT, Reply(550, "no such user", EnhancedStatus(5, 1, 1)), "RCPT")
SILENCE = Evidence(Stage.END_OF_DATA, NoReply(NoReplyKind.TIMEOUT, "600 s"), ".")
CUT_OFF = Evidence(Stage.DATA, NoReply(NoReplyKind.LOST, "reset"), "DATA")
UNREACHABLE = Evidence(Stage.CONNECT, NoReply(NoReplyKind.REFUSED, "connection refused"))
OVERLOADED = Evidence(Stage.MAIL, Reply(421, "too busy", EnhancedStatus(4, 3, 2)), "MAIL")
SHUTDOWN = Evidence(Stage.DATA, NoReply(NoReplyKind.ABANDONED, "shutdown"))


def take(connection: Connection, **changes: Any) -> list[LeasedMessage]:
    """Claim at ``NOW`` with room for a hundred messages, unless ``changes`` say otherwise."""
    now = changes.get("now", NOW)
    wanted: dict[str, Any] = {
        "relay": "default",
        "worker": WORKER,
        "messages": 100,
        "octets": 1_000_000,
        "now": now,
        "until": now + LEASE,
        "born_after": now - round(POLICY.give_up) * SECOND,
    }
    return claim(connection, Claim(**wanted | changes))


def take_one(connection: Connection, **changes: Any) -> Lease:
    """Claim the only recipient that is due."""
    (message,) = take(connection, **changes)
    (lease,) = message.leases
    return lease


def result_of(
    lease: Lease,
    evidence: Evidence,
    *,
    worker: str = WORKER,
    on_doubt: OnDoubt = OnDoubt.RETRY,
    now: int = NOW,
    rcpt: Reply | None = None,
) -> Result:
    """Return what ``worker`` brings back for ``lease`` where ``evidence`` decided."""
    finding = Finding(evidence, rcpt)
    decision = decide(finding, lease.history, POLICY, on_doubt=on_doubt, now=now, jitter=0.0)
    trial = Trial(worker, "main", now - SECOND, now, "s1", "192.0.2.1:25", "TLSv1.3")
    return Result(lease, decision, trial)


def row_of(connection: Connection, recipient: int) -> Any:
    """Return the row of a recipient as it stands."""
    return connection.execute(select(recipients).where(recipients.c.id == recipient)).one()


def attempts_of(connection: Connection, recipient: int) -> list[Any]:
    """Return the attempts for a recipient in their order."""
    found = select(attempts).where(attempts.c.recipient_id == recipient).order_by(attempts.c.id)
    return list(connection.execute(found))
