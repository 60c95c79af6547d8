"""Daemons that claim at once, over connections of their own."""

from __future__ import annotations

import secrets
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from mailqueue.outbox.claim import Claim, claim, mark_dot, renew
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.record import record
from tests.postgres.places import query
from tests.support.leases import ACCEPTED, REFUSED, result_of
from tests.support.rows import NOW, SECOND, add_message

UNTIL = NOW + 60 * SECOND


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The write engine of a daemon."""
    engine = write_engine(url, busy_timeout=1.0)
    yield engine
    engine.dispose()


@pytest.fixture
def other(url: str) -> Iterator[Engine]:
    """That of another one."""
    engine = write_engine(url, busy_timeout=1.0)
    yield engine
    engine.dispose()


def wanted(worker: str, messages: int = 10) -> Claim:
    """Return what a worker asks for."""
    return Claim("default", worker, messages, 10**9, NOW, UNTIL, 0)


def fill(engine: Engine, count: int, recipients: int = 1) -> None:
    """Put so many messages there that are due, for so many recipients each."""
    with engine.begin() as connection:
        for number in range(count):
            add_message(connection, *(f"{name}{number}@example.net" for name in "rs"[:recipients]))


def test_two_claims_at_once_take_different_mail_and_neither_waits(
    engine: Engine, other: Engine
) -> None:
    """What one has chosen and not yet committed is passed over by the other."""
    fill(engine, 10)
    with engine.begin() as one, other.begin() as two:
        first = claim(one, wanted("a", 4))
        two.execute(text("SET LOCAL lock_timeout = 1"))  # to wait would be an error
        second = claim(two, wanted("b", 10))
    assert len(first) == 4
    assert len(second) == 6
    taken = [lease.recipient for message in (*first, *second) for lease in message.leases]
    assert len(taken) == len(set(taken)) == 10


def test_recipients_of_one_message_are_shared_out_without_waiting(
    engine: Engine, other: Engine
) -> None:
    """Where another worker has a part of a message, the rest of it is taken and no more."""
    with engine.begin() as connection:
        number = add_message(connection, *(f"r{one}@example.net" for one in range(5)))
    with engine.begin() as one, other.begin() as two:
        one.execute(
            text("SELECT 1 FROM mailqueue_recipients WHERE message_id = :m LIMIT 2 FOR UPDATE"),
            {"m": number},
        )
        two.execute(text("SET LOCAL lock_timeout = 1"))
        (message,) = claim(two, wanted("b"))
    assert len(message.leases) == 3


def test_many_workers_share_a_queue_without_a_row_twice(url: str, engine: Engine) -> None:
    """Each of them claims, records and claims again as fast as it can, until nothing is left."""
    fill(engine, 200, recipients=2)
    barrier = threading.Barrier(4)
    done: list[LeasedMessage] = []
    failed: list[Exception] = []

    def work(name: str) -> None:
        mine = write_engine(url)
        barrier.wait(10)
        try:
            while True:
                with mine.begin() as connection:
                    messages = claim(connection, wanted(name, 7))
                if not messages:
                    return
                results = [
                    result_of(lease, ACCEPTED, worker=name)
                    for message in messages
                    for lease in message.leases
                ]
                with mine.begin() as connection:
                    assert record(connection, results) == []
                done.extend(messages)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)
        finally:
            mine.dispose()

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    leased = Counter(lease.recipient for message in done for lease in message.leases)
    assert leased == Counter(range(1, 401))
    assert query(url, "SELECT state, count(*) FROM mailqueue_recipients GROUP BY 1") == [
        ("sent", 400)
    ]
    assert query(url, "SELECT count(*) FROM mailqueue_attempts") == [(400,)]


def test_a_result_of_a_lease_that_is_gone_changes_nothing(engine: Engine, other: Engine) -> None:
    """A worker that was stopped past its lease neither writes, renews nor sends its dot."""
    fill(engine, 1)
    with engine.begin() as connection:
        (message,) = claim(connection, wanted("a"))
    with other.begin() as connection:
        connection.execute(
            text("UPDATE mailqueue_recipients SET state = 'queued', worker = NULL, due_at = 1")
        )
        (taken_over,) = claim(connection, wanted("b"))
    with engine.begin() as connection:
        results = [result_of(lease, ACCEPTED, worker="a") for lease in message.leases]
        assert record(connection, results) == results
        assert renew(connection, "a", [message.id], until=UNTIL) == set()
        assert not mark_dot(connection, message.leases, worker="a", now=NOW)
    with other.begin() as connection:
        results = [result_of(lease, REFUSED, worker="b") for lease in taken_over.leases]
        assert record(connection, results) == []


_TOASTED = """
SELECT coalesce(s.idx_scan, 0) FROM pg_stat_xact_all_tables AS s
JOIN pg_class AS c ON c.reltoastrelid = s.relid WHERE c.relname = 'mailqueue_contents'
"""


def test_contents_are_read_for_what_is_claimed_and_for_nothing_else(engine: Engine) -> None:
    """A claim in a long queue puts together the octets of its own messages alone."""
    with engine.begin() as connection:
        for number in range(40):
            later = {"due_at": NOW + SECOND} if number % 2 else {}
            add_message(connection, raw=secrets.token_bytes(50_000), recipient=later)
    with engine.begin() as connection:
        before = connection.scalar(text(_TOASTED)) or 0
        messages = claim(connection, wanted("a", 3))
        assert len(messages) == 3
        assert all(len(message.content.raw) == 50_000 for message in messages)
        assert connection.scalar(text(_TOASTED)) == before + 3
