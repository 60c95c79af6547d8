"""Idempotency keys that several applications use at once, in transactions of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.orm import Session

from mailqueue import IdempotencyError, Outbox, OutboxBusyError, Receipt
from tests.postgres.places import RAW, WAITING, query

COUNT = "SELECT count(*) FROM mailqueue_messages"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The engine of an application; each thread has a connection of its own."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


class Rival:
    """Another application, whose enqueue is held up by the transaction of the test."""

    def __init__(self, engine: Engine, work: Callable[[Connection], Receipt]) -> None:
        self.outcome: Any = None
        self._engine = engine
        self._work = work
        self._thread = threading.Thread(target=self._run)

    def start(self, url: str) -> None:
        """Begin, and return once it waits for the other transaction."""
        self._thread.start()
        while self._thread.is_alive() and query(url, WAITING)[0][0] == 0:
            pass

    def ended(self) -> Any:
        """Return its receipt or its error."""
        self._thread.join(30)
        assert not self._thread.is_alive()
        return self.outcome

    def _run(self) -> None:
        try:
            with self._engine.begin() as connection:
                self.outcome = self._work(connection)
        except Exception as error:  # noqa: BLE001 - told to the test
            self.outcome = error


def test_who_comes_second_is_told_to_try_again(engine: Engine, url: str) -> None:
    """Two transactions with one key at once: one mail, and a clear error that passes."""
    outbox = Outbox(engine)
    rival = Rival(engine, lambda c: outbox.enqueue(RAW, idempotency_key="k", connection=c))
    with engine.begin() as connection:
        first = outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        rival.start(url)
    error = rival.ended()
    assert isinstance(error, OutboxBusyError)
    assert "roll back and try again" in str(error)

    with Session(engine) as session:
        second = outbox.enqueue(RAW, idempotency_key="k", connection=session)
        session.commit()
    assert (second.id, second.duplicate) == (first.id, True)
    assert query(url, COUNT) == [(1,)]


def test_where_the_first_rolls_back_the_second_is_the_first(engine: Engine, url: str) -> None:
    """A key that was given up again is free, and whoever waited for it has it."""
    outbox = Outbox(engine)
    rival = Rival(engine, lambda c: outbox.enqueue(RAW, idempotency_key="k", connection=c))
    with engine.connect() as connection:
        outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        rival.start(url)
        connection.rollback()
    receipt = rival.ended()
    assert isinstance(receipt, Receipt)
    assert not receipt.duplicate
    assert query(url, COUNT) == [(1,)]


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_snapshot_that_is_older_than_the_key_is_told_to_try_again(
    engine: Engine, url: str, level: str
) -> None:
    """Where the application's transaction cannot see the first mail, it cannot have its receipt."""
    outbox = Outbox(engine)
    with engine.connect().execution_options(isolation_level=level) as connection:
        connection.execute(text("SELECT 1 FROM mailqueue_messages"))
        with Outbox(url) as another:
            first = another.enqueue(RAW, idempotency_key="k")
        with pytest.raises(OutboxBusyError):
            outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        connection.rollback()
        assert outbox.enqueue(RAW, idempotency_key="k", connection=connection).id == first.id
    assert query(url, COUNT) == [(1,)]


def test_many_at_once_make_one_mail(url: str) -> None:
    """Processes of a web application that all retry the same order get the same receipt."""
    barrier = threading.Barrier(8)
    receipts: list[Receipt] = []

    def produce() -> None:
        with Outbox(url) as outbox:
            barrier.wait(10)
            receipts.append(outbox.enqueue(RAW, idempotency_key="k"))

    threads = [threading.Thread(target=produce) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(receipts) == 8
    assert len({receipt.id for receipt in receipts}) == 1
    assert [receipt.duplicate for receipt in receipts].count(False) == 1
    assert query(url, COUNT) == [(1,)]


def test_another_mail_under_the_key_is_an_error_in_any_order(engine: Engine, url: str) -> None:
    """Trying again does not hide that the key means something else."""
    other = RAW.replace(b"hello", b"good-bye")
    outbox = Outbox(engine)
    rival = Rival(engine, lambda c: outbox.enqueue(other, idempotency_key="k", connection=c))
    with engine.begin() as connection:
        outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        rival.start(url)
    assert isinstance(rival.ended(), OutboxBusyError)
    with engine.connect() as connection, pytest.raises(IdempotencyError):
        outbox.enqueue(other, idempotency_key="k", connection=connection)
    assert query(url, COUNT) == [(1,)]
