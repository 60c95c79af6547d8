"""Behind a pooler that gives each transaction another session, everything works by polling."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError

from mailqueue import AsyncOutbox, Outbox, OutboxError
from mailqueue.events import PauseBegun, PauseEnded
from mailqueue.operate import Operator
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, running, states
from tests.support.pooling import TransactionPooler
from tests.support.settings import leading_to
from tests.support.waiting import until

TIMES = 12
"""So often that the driver would prepare each statement."""


@pytest.fixture
def pooler(url: str) -> Iterator[TransactionPooler]:
    """The way to the outbox through two shared sessions."""
    with TransactionPooler(url) as pooler:
        yield pooler


@pytest.fixture
def pooled(pooler: TransactionPooler) -> str:
    """The URL that says so."""
    return f"{pooler.url}?pool_mode=transaction"


def _take_turns(url: str) -> None:
    with Outbox(url) as first, Outbox(url) as second, Operator(url) as operator:
        for _ in range(TIMES):
            receipt = first.enqueue(RAW)
            second.enqueue(RAW)
            operator.hold(receipt.id)


def test_producers_and_operators_leave_nothing_in_a_session(url: str, pooled: str) -> None:
    """Statements are not prepared where the next transaction meets another session."""
    _take_turns(pooled)
    assert states(url) == {"queued": TIMES, "held": TIMES}


def test_what_is_said_to_a_session_ends_with_the_transaction(
    pooler: TransactionPooler, pooled: str
) -> None:
    """Limits and durability are ours for as long as the session is."""
    with Outbox(pooled) as outbox:
        for _ in range(TIMES):
            outbox.enqueue(RAW)
        with outbox._access.write.begin() as connection:
            (inside,) = connection.exec_driver_sql("SHOW lock_timeout").one()
    others = create_engine(pooler.url, connect_args={"prepare_threshold": None})
    for _ in range(TIMES):
        with others.connect() as connection:
            for name in ("lock_timeout", "statement_timeout"):
                assert connection.exec_driver_sql(f"SHOW {name}").one() == ("0",)
            left = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements")
            assert left.one() == (0,)
    others.dispose()
    assert inside == "10s"


def test_without_the_word_it_would_not_work(pooler: TransactionPooler) -> None:
    """The pooler of these tests is one that minds."""
    with pytest.raises(DBAPIError, match="prepared statement"):
        _take_turns(pooler.url)


async def test_an_asynchronous_producer_too(url: str, pooled: str) -> None:
    """The awaited twin is told by the same URL."""
    async with AsyncOutbox(pooled) as first, AsyncOutbox(pooled) as second:
        for _ in range(TIMES):
            receipt = await first.enqueue(RAW)
            await second.enqueue(RAW)
            await first.status(receipt.id)
    assert states(url) == {"queued": 2 * TIMES}


async def test_a_daemon_sends_and_obeys(url: str, pooled: str, relay: ScriptedRelay) -> None:
    """It does not listen, looks each ``poll``, and works for as long as one likes."""
    pace = {"poll": 0.05, "poll_max": 60}
    async with running(pooled, {"main": leading_to(relay)}, daemon=pace) as daemon:
        assert daemon.parts.listener is None
        with Outbox(url) as outbox, Operator(pooled, actor="olga") as operator:
            for number in range(1, TIMES + 1):
                await asyncio.to_thread(outbox.enqueue, RAW)
                await relay.ledger.wait_for(number)
            await asyncio.to_thread(operator.pause, "main")
            await until(lambda: bool(daemon.told(PauseBegun)))
            await asyncio.to_thread(operator.resume, "main")
            await until(lambda: bool(daemon.told(PauseEnded)))
        await until(lambda: states(url) == {"sent": TIMES})


def test_a_way_of_pooling_that_nobody_knows_is_an_error(pooler: TransactionPooler) -> None:
    """A mistyped word is not taken for a session of one's own."""
    with pytest.raises(OutboxError, match="pool_mode=transaction"):
        Outbox(f"{pooler.url}?pool_mode=transactions")
