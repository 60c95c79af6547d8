"""What was acknowledged, what the relay took and what the rows say, held against each other."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import Ledger
from tests.acceptance.invariants import assert_sound
from tests.support.daemon import OutboxFile
from tests.torture.mails import Mail

_ROWS = """
SELECT m.id, m.idempotency_key, r.address, r.state, r.doubts, r.worker,
       (SELECT verdict FROM mailqueue_attempts a WHERE a.recipient_id = r.id
        ORDER BY a.id DESC LIMIT 1) AS last_verdict
FROM mailqueue_messages m JOIN mailqueue_recipients r ON r.message_id = m.id
ORDER BY r.id
"""
_VERDICTS = {"sent": "sent", "failed": "fail", "held": "in-doubt"}
"""The only ways to settle here, and the attempt that each must end with."""


@dataclass(frozen=True, slots=True)
class Audit:
    """``recipients``: how many there were; ``losses``: what was acknowledged and is gone."""

    recipients: int
    duplicates: int
    doubts: int
    losses: tuple[str, ...]


def audit(outbox: OutboxFile, acknowledged: Sequence[int], ledger: Ledger) -> Audit:
    """Compare the three after a clean end.

    Raises AssertionError where the rows contradict themselves or the ledger; losses are
    returned, so that they can be counted.
    """
    assert_sound(outbox)
    assert not outbox.query("PRAGMA foreign_key_check")
    assert not outbox.query("SELECT * FROM mailqueue_workers"), "a dead worker is still listed"
    rows = outbox.query(_ROWS)
    received = [_check(row, ledger) for row in rows]
    _check_offers(ledger, {row["idempotency_key"] for row in rows})
    return Audit(
        recipients=len(rows),
        duplicates=sum(count > 1 for count in received),
        doubts=sum(row["doubts"] for row in rows),
        losses=tuple(_losses(rows, acknowledged, ledger)),
    )


def _check(row: sqlite3.Row, ledger: Ledger) -> int:
    """Check one recipient against the ledger; returns how often it was accepted."""
    mail, told = _mail(row["idempotency_key"]), dict(row)
    count = ledger.deliveries(row["address"], message_id=mail.message_id)
    assert count <= 1 + row["doubts"], f"accepted {count} times with too little doubt: {told}"
    if mail.on_doubt is OnDoubt.HOLD:
        assert count <= 1, f"accepted {count} times where doubt is held: {told}"
    assert row["worker"] is None, told
    assert _VERDICTS.get(row["state"]) == row["last_verdict"], told
    if row["state"] == "held":
        assert mail.on_doubt is OnDoubt.HOLD, f"held where doubt is retried: {told}"
    if row["state"] == "failed":
        assert row["address"].startswith("refused-"), f"failed without a 5xx: {told}"
    return count


def _check_offers(ledger: Ledger, keys: set[str]) -> None:
    for offer in ledger.offered:
        assert offer.message_id is not None
        mail = Mail(int(offer.message_id.strip("<>").partition("@")[0]))
        assert mail.key in keys, f"{offer.message_id} was sent and is not in the outbox"
        assert offer.digest == mail.digest, f"{offer.message_id} arrived changed"


def _losses(rows: list[sqlite3.Row], acknowledged: Sequence[int], ledger: Ledger) -> list[str]:
    """Name every recipient of an acknowledged mail who has no row, or a row that is not true."""
    there = {(row["id"], row["idempotency_key"], row["address"]): row["state"] for row in rows}
    losses = []
    for number, message in enumerate(acknowledged, start=1):
        mail = Mail(number)
        for address in mail.recipients:
            state = there.get((message, mail.key, address))
            taken = ledger.deliveries(address, message_id=mail.message_id)
            if state is None:
                losses.append(f"{address} of mail {number} was acknowledged and is gone")
            elif state == "sent" and not taken:
                losses.append(f"{address} of mail {number} is sent, and no relay took it")
    return losses


def _mail(key: str) -> Mail:
    return Mail(int(key.removeprefix("mail-")))
