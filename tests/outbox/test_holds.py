from __future__ import annotations

from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.holds import Hold, holds
from tests.support.rows import NOW, add_action, add_message, recipient_ids


def held(connection: Connection, *decided: tuple[str, str]) -> int:
    """Insert a held recipient about whom people decided so, verb and reason, in this order."""
    (one,) = recipient_ids(connection, add_message(connection, recipient={"state": State.HELD}))
    for verb, reason in decided:
        add_action(connection, one, verb=verb, actor="olga", reason=reason, at=NOW)
    return one


def test_the_last_decision_is_why_it_is_held(connection: Connection) -> None:
    """Held twice, the second reason counts; released since and held by doubt, nobody holds it."""
    twice = held(connection, ("hold", "old"), ("release", ""), ("hold", "new"))
    doubtful = held(connection, ("hold", "old"), ("release", "go on"))
    nobody = held(connection)
    other = held(connection, ("hold", "not asked for"))
    assert holds(connection, [twice, doubtful, nobody]) == {twice: Hold("olga", "new")}
    assert holds(connection, []) == {}
    assert holds(connection, [other])[other].reason == "not asked for"
