"""What holds for every outbox at any time, asked in SQL."""

from __future__ import annotations

from mailqueue.testing import ScriptedRelay
from tests.support.daemon import PlainOutbox

NEVER = {
    "a recipient is finished exactly when its state is final": (
        "SELECT * FROM mailqueue_recipients WHERE (finished_at IS NOT NULL)"
        " != (state IN ('sent', 'failed', 'expired', 'cancelled'))"
    ),
    "a recipient is due exactly when a daemon is to look at it": (
        "SELECT * FROM mailqueue_recipients WHERE (due_at IS NOT NULL)"
        " != (state IN ('queued', 'deferred', 'sending'))"
    ),
    "only a leased recipient has a worker": (
        "SELECT * FROM mailqueue_recipients WHERE worker IS NOT NULL AND state != 'sending'"
    ),
    "each charged attempt since the last retry by hand is on record": (
        "SELECT * FROM mailqueue_recipients r WHERE attempts != (SELECT count(*)"
        " FROM mailqueue_attempts a WHERE a.recipient_id = r.id AND a.charged"
        " AND a.ended_at > COALESCE((SELECT max(at) FROM mailqueue_actions"
        " WHERE recipient_id = r.id AND verb = 'retry'), 0))"
    ),
    "each doubt is on record": (
        "SELECT * FROM mailqueue_recipients r WHERE doubts != (SELECT count(*)"
        " FROM mailqueue_attempts a WHERE a.recipient_id = r.id AND a.verdict = 'in-doubt')"
    ),
    "a recipient is sent by exactly one attempt, which is its last": (
        "SELECT * FROM mailqueue_recipients r WHERE (state = 'sent') != COALESCE((SELECT"
        " verdict = 'sent' FROM mailqueue_attempts a WHERE a.recipient_id = r.id"
        " ORDER BY id DESC LIMIT 1), false) OR 1 < (SELECT count(*) FROM mailqueue_attempts a"
        " WHERE a.recipient_id = r.id AND a.verdict = 'sent')"
    ),
    "a recipient is failed by exactly one attempt, which is its last": (
        "SELECT * FROM mailqueue_recipients r WHERE (state = 'failed') != COALESCE((SELECT"
        " verdict = 'fail' FROM mailqueue_attempts a WHERE a.recipient_id = r.id"
        " ORDER BY id DESC LIMIT 1), false)"
    ),
}


def assert_sound(outbox: PlainOutbox) -> None:
    """Assert what no state of an outbox may contradict."""
    for rule, exceptions in NEVER.items():
        assert [tuple(row) for row in outbox.query(exceptions)] == [], rule
    if outbox.is_file:
        assert outbox.value("PRAGMA integrity_check") == "ok"


def assert_doubts_cover_duplicates(outbox: PlainOutbox, relay: ScriptedRelay) -> None:
    """Assert that nobody got a mail once more than there are doubts of it on record."""
    rows = outbox.query(
        "SELECT m.header_message_id, r.address, r.doubts FROM mailqueue_recipients r"
        " JOIN mailqueue_messages m ON m.id = r.message_id"
    )
    for message_id, address, doubts in rows:
        received = relay.ledger.deliveries(address, message_id=message_id)
        assert received <= 1 + doubts, (message_id, address)
