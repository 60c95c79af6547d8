from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.volume import _QUEUED, queued_octets, stored_octets
from tests.support.rows import add_message


def test_queued(connection: Connection) -> None:
    """A message counts once, and as long as one of its recipients is not finished."""
    assert queued_octets(connection) == 0
    add_message(connection, "a@example.net", "b@example.net", size=100)
    add_message(connection, size=1000, recipient={"state": State.HELD})
    add_message(connection, size=10_000, recipient={"state": State.SENT})
    assert queued_octets(connection) == 1100


@pytest.mark.backend("sqlite")
def test_counting_walks_the_unfinished_alone(connection: Connection) -> None:
    """Years of finished mail do not make counting slower: an index holds the rest."""
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {_QUEUED}").all()
    assert any("USING INDEX ix_mailqueue_recipients_live" in row.detail for row in plan)
    assert any("mailqueue_messages USING INTEGER PRIMARY KEY" in row.detail for row in plan)


@pytest.mark.backend("sqlite")
def test_stored_is_never_less_than_queued(connection: Connection) -> None:
    """The size of the file bounds what is queued in it."""
    for _ in range(20):
        raw = b"x" * 100_000
        add_message(connection, raw=raw)
    stored = stored_octets(connection)
    assert stored is not None
    assert stored >= queued_octets(connection) == 2_000_000


@pytest.mark.backend("sqlite")
def test_stored_forgets_what_is_deleted(connection: Connection) -> None:
    """Pages that are free again do not count."""
    empty = stored_octets(connection)
    assert empty is not None
    add_message(connection, raw=b"x" * 1_000_000)
    connection.exec_driver_sql("DELETE FROM mailqueue_messages")
    after = stored_octets(connection)
    assert after is not None
    assert after < empty + 100_000
