from __future__ import annotations

from sqlalchemy import Connection

from mailqueue.mail.verdict import Outcome
from mailqueue.outbox.reasons import reasons
from tests.support.rows import NOW, SECOND, add_attempt, add_message, recipient_ids

HOUR = 3600 * SECOND


def test_alike_reasons_stand_together(connection: Connection) -> None:
    """The most frequent first, each with when it was heard, by how many and by whom last."""
    anna, bob = (
        recipient_ids(connection, add_message(connection, name + "@example.net"))[0]
        for name in ("anna", "bob")
    )
    for at in (NOW - 2, NOW - 1):
        add_attempt(connection, anna, ended_at=at)
    add_attempt(connection, bob, ended_at=NOW, text="another text")
    add_attempt(connection, bob, ended_at=NOW, code=550, verdict="fail")
    add_attempt(connection, bob, ended_at=NOW, code=250, verdict="sent")
    first, second = reasons(connection, since=NOW - HOUR)
    assert (first.count, first.recipients, first.code, first.verdict) == (3, 2, 450, "defer")
    assert (first.first_at, first.last_at) == (NOW - 2, NOW)
    assert (first.address, first.example) == ("bob@example.net", "another text")
    assert (second.count, second.code) == (1, 550)


def test_which_and_how_many(connection: Connection) -> None:
    """By outcome, by time and by number, each leaves out what it says."""
    (one,) = recipient_ids(connection, add_message(connection))
    for verdict in Outcome:
        add_attempt(connection, one, verdict=str(verdict))
    add_attempt(connection, one, verdict="fail", code=551, ended_at=NOW - 2 * HOUR)
    assert len(reasons(connection, since=NOW - HOUR)) == 3
    assert len(reasons(connection, since=NOW - 3 * HOUR)) == 4
    assert len(reasons(connection, since=NOW - 3 * HOUR, limit=2)) == 2
    (sent,) = reasons(connection, since=NOW - HOUR, outcomes=[Outcome.SENT])
    assert sent.verdict == "sent"
