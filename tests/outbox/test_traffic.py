from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.traffic import By, Traffic, Waiting, expired, traffic, waiting
from tests.support.rows import NOW, SECOND, add_attempt, add_message, recipient_ids

HOUR = 3600 * SECOND


def tried(connection: Connection, address: str, **attempt: object) -> None:
    """Insert a recipient with one attempt."""
    (recipient,) = recipient_ids(connection, add_message(connection, address))
    add_attempt(connection, recipient, **{"due_at": NOW, **attempt})


@pytest.fixture
def busy(connection: Connection) -> Connection:
    """An outbox in which everything happened once, and something long ago."""
    tried(connection, "a@one.example", verdict="sent", relay="main")
    tried(connection, "b@one.example", verdict="defer", relay="main")
    tried(connection, "c@TWO.example", verdict="fail", relay="main")
    tried(connection, "d@two.example", verdict="defer", due_at=None, relay="spare")
    tried(connection, '"e@x"@two.example', verdict="in-doubt", relay="spare")
    tried(connection, "f@two.example", verdict="sent", relay="spare", ended_at=NOW - 2 * HOUR)
    return connection


def test_attempts_are_counted_by_relay(busy: Connection) -> None:
    """Each attempt counts for what came of it, with the relay that answered; old ones do not."""
    assert traffic(busy, since=NOW - HOUR) == {
        "main": Traffic(sent=1, deferred=1, failed=1),
        "spare": Traffic(expired=1, in_doubt=1),
    }


def test_attempts_are_counted_by_domain(busy: Connection) -> None:
    """What follows the last @ is the domain, in whatever case it is written."""
    assert traffic(busy, since=NOW - HOUR, by=By.DOMAIN) == {
        "one.example": Traffic(sent=1, deferred=1),
        "two.example": Traffic(failed=1, expired=1, in_doubt=1),
    }


@pytest.mark.parametrize(("by", "name"), [(By.RELAY, "default"), (By.DOMAIN, "example.net")])
def test_what_expired_while_it_waited(connection: Connection, by: By, name: str) -> None:
    """No attempt tells of it; what an attempt gave up is not counted twice, nor what is old."""
    ends = {"state": State.EXPIRED, "finished_at": NOW}
    add_message(connection, recipient=ends)
    add_message(connection, recipient={**ends, "last_at": NOW - SECOND})
    add_message(connection, recipient={**ends, "last_at": NOW})
    add_message(connection, recipient={**ends, "finished_at": NOW - 2 * HOUR})
    assert expired(connection, since=NOW - HOUR, by=by) == {name: 2}


@pytest.mark.parametrize(("by", "name"), [(By.RELAY, "default"), (By.DOMAIN, "example.net")])
def test_what_waits_is_counted_by_state(connection: Connection, by: By, name: str) -> None:
    """Each unfinished recipient in its state; due is what should have been taken up by now."""
    for state in State:
        add_message(connection, recipient={"state": state})
    add_message(connection, recipient={"due_at": NOW - HOUR})
    add_message(connection, recipient={"due_at": NOW + HOUR})
    assert waiting(connection, now=NOW, by=by) == {
        name: Waiting(queued=3, deferred=1, sending=1, held=1, due=4, oldest_due=NOW - HOUR)
    }


def test_sums() -> None:
    """Parts add up, and the oldest of two is the older one, if either has one."""
    whole = Waiting()
    for part in (Waiting(queued=1), Waiting(held=2, due=1, oldest_due=7), Waiting(oldest_due=9)):
        whole.add(part)
    assert whole == Waiting(queued=1, held=2, due=1, oldest_due=7)
    assert whole.total == 3
    counted = Traffic(sent=1, expired=2)
    counted.add(Traffic(sent=1, failed=4, in_doubt=1))
    assert (counted.sent, counted.ended) == (2, 8)
