"""The audit on PostgreSQL: producers' notes, the relay's ledger and the rows against each other."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, Row, create_engine, text

from mailqueue.mail.doubt import OnDoubt
from mailqueue.testing import Ledger
from tests.acceptance.invariants import NEVER
from tests.torture.audit import Audit
from tests.torture.mails import Mail
from tests.torture.sender import Notes, has_key

_ROWS = """
SELECT m.id AS message, m.header_message_id, r.address, r.state, r.doubts, r.worker,
       (SELECT verdict FROM mailqueue_attempts a WHERE a.recipient_id = r.id
        ORDER BY a.id DESC LIMIT 1) AS last_verdict
FROM mailqueue_messages m JOIN mailqueue_recipients r ON r.message_id = m.id
ORDER BY r.id
"""
_VERDICTS = {"sent": "sent", "failed": "fail", "held": "in-doubt"}


def settle_accounts(url: str, notes: Notes, ledger: Ledger) -> Audit:
    """Compare the three after a clean end.

    Raises AssertionError where the rows contradict themselves, the notes or the ledger; losses are
    returned, so that they can be counted.
    """
    engine = create_engine(url)
    with engine.connect() as connection:
        for rule, exceptions in NEVER.items():
            assert not [tuple(row) for row in connection.execute(text(exceptions))], rule
        rows = _rows(connection)
    engine.dispose()
    for number in rows:
        _check_copies(Mail(number), rows[number], notes)
    received = [
        _check(Mail(number), address, of_address, ledger)
        for number in rows
        for address, of_address in _by_address(rows[number]).items()
    ]
    _check_offers(ledger, set(rows))
    return Audit(
        recipients=sum(map(len, rows.values())),
        duplicates=sum(more for more in received),
        doubts=sum(row.doubts for of_mail in rows.values() for row in of_mail),
        losses=tuple(_losses(rows, notes, ledger)),
    )


def _rows(connection: Connection) -> dict[int, list[Row[Any]]]:
    """Return all recipients by the number of their mail."""
    found: dict[int, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(text(_ROWS)):
        found[_number(row.header_message_id)].append(row)
    return dict(found)


def _number(message_id: str) -> int:
    return int(message_id.strip("<>").partition("@")[0])


def _by_address(rows: list[Row[Any]]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in rows:
        found[row.address].append(row)
    return found


def _check_copies(mail: Mail, rows: list[Row[Any]], notes: Notes) -> None:
    """See that a mail was stored once, and once more for each time that nobody was told."""
    copies = len({row.message for row in rows})
    acknowledged = int(mail.number in notes.stored)
    allowed = 1 if has_key(mail) else acknowledged + notes.open[mail.number]
    assert copies <= allowed, (
        f"mail {mail.number} is stored {copies} times, where {allowed} can be: what was said to "
        f"be refused was stored"
    )


def _check(mail: Mail, address: str, rows: list[Row[Any]], ledger: Ledger) -> int:
    """Check one address of a mail against the ledger; returns how often it was sent too often."""
    count = ledger.deliveries(address, message_id=mail.message_id)
    told = [row._asdict() for row in rows]
    doubts = sum(row.doubts for row in rows)
    assert count <= len(rows) + doubts, f"accepted {count} times with too little doubt: {told}"
    if mail.on_doubt is OnDoubt.HOLD:
        assert count <= len(rows), f"accepted {count} times where doubt is held: {told}"
    for row in rows:
        assert row.worker is None, told
        assert _VERDICTS.get(row.state) == row.last_verdict, told
        if row.state == "held":
            assert mail.on_doubt is OnDoubt.HOLD, f"held where doubt is retried: {told}"
        if row.state == "failed":
            assert address.startswith("refused-"), f"failed without a 5xx: {told}"
    return max(0, count - len(rows))


def _check_offers(ledger: Ledger, stored: set[int]) -> None:
    for offer in ledger.offered:
        assert offer.message_id is not None
        mail = Mail(_number(offer.message_id))
        assert mail.number in stored, f"{offer.message_id} was sent and is not in the outbox"
        assert offer.digest == mail.digest, f"{offer.message_id} arrived changed"


def _losses(rows: dict[int, list[Row[Any]]], notes: Notes, ledger: Ledger) -> list[str]:
    """Name every recipient of an acknowledged mail who has no row, or a row that is not true."""
    losses = []
    for number, receipt in notes.stored.items():
        mail = Mail(number)
        states = {row.address: row.state for row in rows.get(number, ()) if row.message == receipt}
        for address in mail.recipients:
            taken = ledger.deliveries(address, message_id=mail.message_id)
            if address not in states:
                losses.append(f"{address} of mail {number} was acknowledged and is gone")
            elif states[address] == "sent" and not taken:
                losses.append(f"{address} of mail {number} is sent, and no relay took it")
    return losses
