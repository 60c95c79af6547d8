"""One event of every kind, and recipients' events made to order."""

from __future__ import annotations

from mailqueue import events
from mailqueue.mail.decision import Decision, decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.reply import Evidence
from mailqueue.mail.schedule import History
from tests.support.leases import ACCEPTED, DEFERRED, POLICY, SILENCE, UNREACHABLE
from tests.support.rows import NOW


def decision(
    evidence: Evidence, *, on_doubt: OnDoubt = OnDoubt.RETRY, age: int = 0, attempts: int = 0
) -> Decision:
    """Decide as a delivery does, for a recipient that is ``age`` seconds old."""
    history = History(NOW - age * 1_000_000, attempts)
    return decide(Finding(evidence), history, POLICY, on_doubt=on_doubt, now=NOW, jitter=0.0)


def answered(
    found: Decision,
    *,
    recipient: str = "anna@example.net",
    relay: str = "main",
    peer: str = "192.0.2.1:25",
) -> events.RecipientAnswered:
    """Return the event of one recipient of message 4711."""
    return events.RecipientAnswered(
        4711, "<1@example.org>", "sender@example.org", recipient, relay, peer, 1.5, found
    )


ALL: tuple[events.Event, ...] = (
    answered(decision(ACCEPTED)),
    events.FencePutUp("has moved to postgresql+psycopg://db/mail"),
    events.FenceTakenAway(),
    events.RecipientExpired(1, "anna@example.net", "main"),
    events.LeaseReaped(4711, "anna@example.net", "w1", decision(SILENCE)),
    events.ResultRefused(4711, "anna@example.net", "main", decision(DEFERRED)),
    events.RelayPaused("main", UNREACHABLE, 30.0),
    events.RelayPausedElsewhere("main", "connect", "refused", 30.0),
    events.RelayResumed("main", 90.0),
    events.PipeliningSuspended("main", 3600.0),
    events.PauseBegun("main", "olga", "new address", NOW),
    events.PauseEnded("main"),
    events.RelayUnknown("typo"),
    events.DatabaseTrouble("writing", "the disk is full"),
    events.DatabaseRecovered(9.0),
    events.DiskLow(10, 100),
    events.DiskRecovered(100),
    events.LogPinned(100_000_000),
    events.PartFailed("Keeper", ZeroDivisionError("oops")),
    events.ProcessEnded("1/2", -9, 1.0),
    events.Started("w1", "sqlite:///outbox.db", ("main", "spare"), 3),
    events.Stopping("SIGTERM", 2),
    events.Stopped(),
    events.Reloaded("/etc/mailqueue.toml"),
    events.ReloadRefused("[relays.main] host is missing"),
    events.Pruned(3, 4),
)
