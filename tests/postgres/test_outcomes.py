"""Commits whose answer is lost: what an enqueue says is the truth, and it is stored once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import cast

import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from mailqueue import (
    AsyncOutbox,
    Outbox,
    OutboxUnavailableError,
    OutcomeUnknownError,
    Outgoing,
    Receipt,
)
from mailqueue.operate import Operator
from mailqueue.outbox import moment
from mailqueue.outbox.outcome import committing, is_stored
from tests.postgres.places import RAW, WAITING, query
from tests.support.cutting import Cut, CuttingProxy

Enqueue = Callable[[], Awaitable[Receipt]]


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    """The way to the outbox, which can be cut."""
    with CuttingProxy(url) as proxy:
        yield proxy


@pytest.fixture(params=["plain", "plain engine", "asynchronous", "asynchronous engine"])
async def enqueue(request: pytest.FixtureRequest, proxy: CuttingProxy) -> AsyncIterator[Enqueue]:
    """A producer that has stored one mail, and stores the next."""
    if request.param.startswith("plain"):
        engine = create_engine(proxy.url)
        with Outbox(engine if "engine" in request.param else proxy.url, busy_timeout=5) as outbox:
            outbox.enqueue(RAW)
            yield lambda: asyncio.to_thread(outbox.enqueue, RAW)
        engine.dispose()
    else:
        twin = create_async_engine(proxy.url)
        place = twin if "engine" in request.param else proxy.url
        async with AsyncOutbox(place, busy_timeout=5) as awaited:
            await awaited.enqueue(RAW)
            yield lambda: awaited.enqueue(RAW)
        await twin.dispose()


def stored(url: str) -> list[int]:
    """Return the ids of all messages."""
    return [row[0] for row in query(url, "SELECT id FROM mailqueue_messages ORDER BY id")]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_commit_whose_answer_is_lost_is_looked_for(
    url: str, proxy: CuttingProxy, enqueue: Enqueue, cut: Cut
) -> None:
    """Carried out or not: there is a receipt, and under its number one message."""
    (first,) = stored(url)
    proxy.cut_at_commit(cut)
    receipt = await enqueue()
    assert proxy.counts[cut] == 1
    assert stored(url) == [first, receipt.id]


async def test_a_commit_that_arrives_late_is_waited_for(
    url: str, proxy: CuttingProxy, enqueue: Enqueue
) -> None:
    """That nothing is to be seen yet is no proof: who may still commit is waited for."""
    (first,) = stored(url)
    proxy.cut_at_commit("meanwhile")
    storing = asyncio.ensure_future(enqueue())
    await _until_somebody_waits(url)
    assert not storing.done()
    proxy.let_arrive()
    receipt = await storing
    assert stored(url) == [first, receipt.id]


async def _until_somebody_waits(url: str) -> None:
    """Return once a transaction waits for another one's end."""
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(query, url, WAITING)) == [(0,)]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_connection_that_is_lost_before_the_commit_costs_nothing(
    url: str, proxy: CuttingProxy, enqueue: Enqueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool remembers connections whose server has gone; a mail is stored over a new one.

    So it is where the server's clock is to be looked at first.
    """
    proxy.cut_all()
    await enqueue()
    monkeypatch.setattr(moment, "FRESH_SECONDS", -1.0)
    proxy.cut_all()
    await enqueue()
    assert len(stored(url)) == 3


async def test_looking_at_a_mail_goes_on_over_a_new_connection(
    url: str, proxy: CuttingProxy
) -> None:
    """Whoever asks how a mail stands need not know that the server was restarted."""
    with Outbox(proxy.url) as outbox:
        receipt = outbox.enqueue(RAW)
        outbox.status(receipt.id)
        proxy.cut_all()
        assert outbox.status(receipt.id).id == receipt.id


@pytest.mark.parametrize("cut", ["before", "after"])
def test_what_cannot_be_found_out_is_said(url: str, proxy: CuttingProxy, cut: Cut) -> None:
    """Without a server that could be asked the error is of a type of its own, with the receipt."""
    with Outbox(proxy.url, busy_timeout=0.3) as outbox:
        outbox.enqueue(RAW)
        proxy.cut_at_commit(cut, then_refuse=True)
        with pytest.raises(OutcomeUnknownError, match="Message-ID") as caught:
            outbox.enqueue(RAW, idempotency_key="k")
        proxy.refuse(refusing=False)
        (receipt,) = cast("list[Receipt]", caught.value.value)
        was_stored = receipt.id in stored(url)
        assert was_stored is (cut == "after")
        again = outbox.enqueue(RAW, idempotency_key="k")
        assert again.duplicate is was_stored
        assert len(stored(url)) == 2


def test_a_server_that_is_not_there_has_stored_nothing(url: str, proxy: CuttingProxy) -> None:
    """Nobody waits for it, and the text says that trying again is safe."""
    with Outbox(proxy.url) as outbox:
        outbox.enqueue(RAW)
        proxy.refuse()
        with pytest.raises(OutboxUnavailableError, match="trying again is safe"):
            outbox.enqueue(RAW)
        proxy.refuse(refusing=False)
        outbox.enqueue(RAW)
    assert len(stored(url)) == 2


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_list_is_stored_once_and_whole(url: str, proxy: CuttingProxy, cut: Cut) -> None:
    """One of a transaction stands for all of it."""
    with Outbox(proxy.url) as outbox:
        outbox.enqueue(RAW, idempotency_key="0")
        proxy.cut_at_commit(cut)
        receipts = outbox.enqueue_many([_keyed(number) for number in range(4)])
    assert [receipt.duplicate for receipt in receipts] == [True, False, False, False]
    assert sorted(receipt.id for receipt in receipts) == stored(url)


def _keyed(number: int) -> Outgoing:
    return Outgoing(RAW, idempotency_key=str(number))


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_calls_that_share_a_commit_share_its_fate(
    url: str, proxy: CuttingProxy, cut: Cut
) -> None:
    """Each of them has its own receipt, and nobody's mail is there twice."""
    async with AsyncOutbox(proxy.url) as outbox:
        await outbox.enqueue(RAW)
        proxy.cut_at_commit(cut, cut)
        receipts = await asyncio.gather(*(outbox.enqueue(RAW) for _ in range(20)))
    assert proxy.counts[cut] == 2
    assert sorted(receipt.id for receipt in receipts) == stored(url)[1:]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_calls_of_which_one_is_refused_share_the_rest_of_it(
    url: str, proxy: CuttingProxy, cut: Cut
) -> None:
    """What is wrong with one mail is told to its sender, whatever becomes of the connection."""
    async with AsyncOutbox(proxy.url) as outbox:
        await outbox.enqueue(RAW, idempotency_key="k")
        # The first commit is of whoever comes alone, the second of all who came meanwhile.
        proxy.cut_at_commit(cut, after=1)
        outcomes = await asyncio.gather(
            outbox.enqueue(RAW),
            outbox.enqueue(RAW.replace(b"hello", b"other"), idempotency_key="k"),
            outbox.enqueue(RAW),
            return_exceptions=True,
        )
    receipts = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert len(receipts) == 2
    assert sorted(receipt.id for receipt in receipts) == stored(url)[1:]


def test_two_who_bring_the_same_key_at_once_get_one_receipt(url: str) -> None:
    """Whoever comes second waits for the first, and is told of its message."""
    barrier = threading.Barrier(4)
    receipts: list[Receipt] = []

    def enqueue() -> None:
        with Outbox(url) as outbox:
            for number in range(20):
                barrier.wait(10)
                receipts.append(outbox.enqueue(RAW, idempotency_key=str(number)))

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(receipts) == 80
    assert sum(not receipt.duplicate for receipt in receipts) == len(stored(url)) == 20


def test_an_operator_is_told_that_nobody_knows(url: str, proxy: CuttingProxy) -> None:
    """What was decided may be in force; doing it again changes nothing."""
    with Outbox(url) as outbox, Operator(proxy.url, actor="olga") as operator:
        receipt = outbox.enqueue(RAW)
        operator.hold(receipt.id)
        operator.release(receipt.id)
        proxy.cut_at_commit("after")
        with pytest.raises(OutcomeUnknownError):
            operator.hold(receipt.id)
        assert query(url, "SELECT state FROM mailqueue_recipients") == [("held",)]
        operator.hold(receipt.id)


def test_a_number_that_another_server_gave_away_is_not_taken_for_ours(url: str) -> None:
    """After a failover that lost a commit the number may be somebody else's."""
    with Outbox(url) as outbox:
        receipt = outbox.enqueue(RAW)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert is_stored(connection, receipt, wait=1)
    with engine.connect() as connection:
        assert not is_stored(connection, Receipt(receipt.id, "<other@example.org>"), wait=1)
    with engine.connect() as connection:
        assert not is_stored(connection, Receipt(receipt.id + 1, receipt.message_id), wait=1)
    engine.dispose()
    assert stored(url) == [receipt.id]


def test_an_error_of_a_commit_that_was_answered_is_no_doubt(url: str) -> None:
    """Where the server has said no, it is no."""
    query(url, "CREATE TABLE other (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
    engine = create_engine(url)
    with pytest.raises(Exception, match="duplicate key"):
        _insert_twice(engine)
    engine.dispose()


def _insert_twice(engine: Engine) -> None:
    with committing(engine) as connection:
        connection.exec_driver_sql("INSERT INTO other VALUES (1), (1)")
