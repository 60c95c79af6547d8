"""What claims and results cost in statements, so that they cannot come to cost more unseen.

Over a network each statement is a round trip; in SQLite each gives the interpreter's lock away.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection

from mailqueue.outbox.claim import renew
from mailqueue.outbox.lease import Lease
from mailqueue.outbox.record import record
from tests.support.leases import ACCEPTED, LEASE, SHUTDOWN, SILENCE, WORKER, result_of, take
from tests.support.rows import NOW, add_message


def spied(connection: Connection) -> list[str]:
    """Return a list to which the driver adds the first word of each statement that it runs."""
    said: list[str] = []
    driver: Any = connection.connection.driver_connection
    if isinstance(driver, sqlite3.Connection):
        driver.set_trace_callback(lambda statement: said.append(statement.split()[0]))
        return said

    class Spy(psycopg.Cursor[Any]):
        def execute(self, query: Any, *rest: Any, **options: Any) -> Any:
            said.append(str(query).split()[0])
            return super().execute(query, *rest, **options)

        def executemany(self, *_: Any, **__: Any) -> None:
            raise AssertionError("a statement for each row")

    driver.cursor_factory = Spy
    return said


def leased(connection: Connection, count: int) -> list[Lease]:
    """Store so many messages and lease their recipients."""
    for _ in range(count):
        add_message(connection)
    return [lease for message in take(connection, messages=count) for lease in message.leases]


@pytest.mark.parametrize(
    ("count", "in_file"), [(1, 1), (5, 1), (25, 1), (26, 2), (100, 4), (134, 10)]
)
def test_a_claim_of_many_messages(connection: Connection, count: int, in_file: int) -> None:
    """It looks for what is due, leases it and fetches the contents: on a server by three statements
    however many there are, and in SQLite with 25 contents at a time.
    """
    for _ in range(count):
        add_message(connection)
    said = spied(connection)
    assert len(take(connection, messages=count)) == count
    contents = in_file if connection.dialect.name == "sqlite" else 1
    assert said == ["SELECT", "UPDATE", *["SELECT"] * contents]


def test_recipients_beyond_the_claim_cost_one_look(connection: Connection) -> None:
    """Those who belong to the claimed messages are found together, for however many messages."""
    for _ in range(20):
        add_message(connection, "anna@example.net", "bert@example.net")
    said = spied(connection)
    assert len(take(connection, messages=20)) == 10
    assert said == ["SELECT", "SELECT", "UPDATE", "SELECT", "SELECT"][: 5 - _is_far(connection)]


def test_a_look_that_finds_nothing(connection: Connection) -> None:
    """Whoever was due a moment ago may have been taken by another daemon."""
    assert take(connection) == []
    said = spied(connection)
    assert take(connection) == []
    assert said == ["SELECT"]


@pytest.mark.parametrize(
    ("count", "in_file", "far"),
    [(1, 1, 1), (4, 4, 4), (25, 1, 1), (100, 4, 1), (431, 19, 4)],
)
def test_results_of_many_deliveries(
    connection: Connection, count: int, in_file: int, far: int
) -> None:
    """States and attempts are written for many recipients at a time, between two words about a
    savepoint; whether all leases are held is in the count of what was changed.
    """
    results = [result_of(lease, ACCEPTED) for lease in leased(connection, count)]
    said = spied(connection)
    assert record(connection, results) == []
    each = far if _is_far(connection) else in_file
    assert said == ["SAVEPOINT", *["UPDATE"] * each, *["INSERT"] * each, "RELEASE"]


def test_results_of_all_kinds(connection: Connection) -> None:
    """Answers, silence and what goes back are an UPDATE each, and what goes back is no attempt."""
    leases = leased(connection, 75)
    kinds = [ACCEPTED, SILENCE, SHUTDOWN] * 25
    results = [result_of(lease, kind) for lease, kind in zip(leases, kinds, strict=True)]
    said = spied(connection)
    assert record(connection, results) == []
    assert Counter(said) == {"SAVEPOINT": 1, "UPDATE": 3, "INSERT": 2, "RELEASE": 1}


def test_a_refused_result_costs_one_look_more(connection: Connection) -> None:
    """Who holds what is asked for all together, and what was written before is written again."""
    results = [result_of(lease, ACCEPTED) for lease in leased(connection, 25)]
    record(connection, results[:1])
    said = spied(connection)
    assert record(connection, results) == results[:1]
    # 24 rows are four statements of five and four of one.
    assert said[:5] == ["SAVEPOINT", "UPDATE", "ROLLBACK", "RELEASE", "SELECT"]
    assert Counter(said[5:]) == {"UPDATE": 8, "INSERT": 8}


def test_a_heartbeat(connection: Connection) -> None:
    """All leases are renewed by one statement."""
    leased(connection, 60)
    said = spied(connection)
    assert len(renew(connection, WORKER, range(1, 1000), until=NOW + 2 * LEASE)) == 60
    assert said == ["UPDATE"]


def _is_far(connection: Connection) -> bool:
    return connection.dialect.name != "sqlite"
