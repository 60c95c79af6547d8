"""When a commit on PostgreSQL rings, and when it need not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from mailqueue import AsyncOutbox, Outbox
from mailqueue.clock import FakeClock
from mailqueue.errors import OutboxError
from mailqueue.operate import Operator
from mailqueue.outbox import notify
from mailqueue.outbox.ear import Ear
from mailqueue.outbox.notify import REST_SECONDS
from tests.postgres.places import RAW, query
from tests.support.postgres import PostgresServer

PATIENCE = 10.0


class Watch:
    """Hears what is rung; ``count`` notifications may be asked for in between."""

    def __init__(self, ear: Ear) -> None:
        self._ear = ear
        self._readable = asyncio.Event()
        asyncio.get_running_loop().add_reader(ear.fileno(), self._readable.set)

    async def heard(self) -> None:
        """Return once somebody has rung."""
        async with asyncio.timeout(PATIENCE):
            while not self._ear.hear():
                self._readable.clear()
                await self._readable.wait()

    async def silent(self, url: str) -> None:
        """See that nobody had rung before now: what is notified now is the first that is heard."""
        query(url, "SELECT pg_notify('mailqueue_' || to_regclass('mailqueue_recipients')::oid, '')")
        notes = 0
        async with asyncio.timeout(PATIENCE):
            while not notes:
                await self._readable.wait()
                self._readable.clear()
                self._ear._connection.pgconn.consume_input()
                while self._ear._connection.pgconn.notifies() is not None:
                    notes += 1
        assert notes == 1

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._ear.fileno())


@pytest.fixture
async def watch(url: str) -> AsyncIterator[Watch]:
    """Somebody who listens on the outbox."""
    async with await Ear.open(url) as ear:
        watch = Watch(ear)
        yield watch
        watch.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time that those who ring go by."""
    clock = FakeClock()
    monkeypatch.setattr(notify, "_clock", clock)
    return clock


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The engine of an application."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


async def test_an_enqueue_rings(url: str, watch: Watch) -> None:
    """The first mail after a while is announced by its own commit."""
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
    await watch.heard()


async def test_an_asynchronous_enqueue_rings(url: str, watch: Watch) -> None:
    """So does the awaited twin."""
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
    await watch.heard()


async def test_the_callers_commit_rings_and_nothing_before_it(
    url: str, watch: Watch, engine: Engine
) -> None:
    """In an application's transaction the bell belongs to its commit."""
    with Outbox(engine) as outbox, Session(engine) as session:
        outbox.enqueue(RAW, connection=session)
        session.flush()
        await watch.silent(url)
        session.commit()
    await watch.heard()


async def test_an_asynchronous_callers_commit_rings(url: str, watch: Watch) -> None:
    """Whatever kind of engine the application has."""
    engine = create_async_engine(url)
    async with AsyncOutbox(engine) as outbox, engine.begin() as connection:
        await outbox.enqueue(RAW, connection=connection)
    await engine.dispose()
    await watch.heard()


async def test_a_rollback_does_not_ring(
    url: str, watch: Watch, engine: Engine, clock: FakeClock
) -> None:
    """What was never stored wakes nobody, and does not keep the next mail from ringing."""
    with Outbox(engine) as outbox:
        with engine.connect() as connection:
            outbox.enqueue(RAW, connection=connection)
            connection.rollback()
            await watch.silent(url)
        with engine.connect() as connection:
            outbox.enqueue(RAW, connection=connection)
            connection.commit()
    await watch.heard()


async def test_a_commit_that_the_server_refuses_is_no_ring_to_rely_on(
    url: str, watch: Watch, engine: Engine, clock: FakeClock
) -> None:
    """A transaction that failed at its commit has rung nobody: the next one does."""
    query(url, "CREATE TABLE other (id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
    with Outbox(engine) as outbox:
        with engine.connect() as connection:
            outbox.enqueue(RAW, connection=connection)
            connection.execute(text("INSERT INTO other VALUES (1), (1)"))
            with pytest.raises(IntegrityError):
                connection.commit()
        await watch.silent(url)
        with engine.begin() as connection:
            outbox.enqueue(RAW, connection=connection)
    await watch.heard()


async def test_a_transaction_that_has_failed_can_be_given_up_by_commit(
    url: str, watch: Watch, engine: Engine
) -> None:
    """PostgreSQL takes COMMIT for ROLLBACK there, and the bell does not stand in the way."""
    with Outbox(engine) as outbox, engine.connect() as connection:
        outbox.enqueue(RAW, connection=connection)
        with pytest.raises(Exception, match="division by zero"):
            connection.execute(text("SELECT 1/0"))
        connection.commit()
    await watch.silent(url)


async def test_what_follows_at_once_rings_no_second_time(
    url: str, watch: Watch, clock: FakeClock
) -> None:
    """A burst takes the lock of NOTIFY once for each stretch of time, not for each mail."""
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
        await watch.heard()
        for _ in range(5):
            clock.advance(REST_SECONDS / 10)
            outbox.enqueue(RAW)
        await watch.silent(url)
        clock.advance(REST_SECONDS)
        outbox.enqueue(RAW)
        await watch.heard()


async def test_every_engine_has_a_bell_of_its_own(url: str, watch: Watch, clock: FakeClock) -> None:
    """That one queue was rung does not keep another from being rung."""
    with Outbox(url) as first, Outbox(url) as second:
        first.enqueue(RAW)
        await watch.heard()
        second.enqueue(RAW)
        await watch.heard()


async def test_another_schema_of_the_database_is_not_woken(url: str, watch: Watch) -> None:
    """Several queues may live in one database, and each has a channel."""
    query(url, "CREATE SCHEMA other")
    elsewhere = f"{url}&options=-csearch_path%3Dother"
    with Outbox(elsewhere) as outbox:
        outbox.create()
        outbox.enqueue(RAW)
        await watch.silent(url)
        async with await Ear.open(elsewhere) as ear:
            theirs = Watch(ear)
            with Outbox(elsewhere) as again:
                again.enqueue(RAW)
            await theirs.heard()
            theirs.close()


async def test_it_can_be_switched_off(url: str, watch: Watch) -> None:
    """For servers on which nobody is to take the lock of NOTIFY."""
    with Outbox(url, notify=False) as outbox, Operator(url, notify=False) as operator:
        receipt = outbox.enqueue(RAW)
        operator.hold(receipt.id)
    await watch.silent(url)


async def test_the_configuration_switches_it_off(url: str, watch: Watch, tmp_path: Path) -> None:
    """Who opens the outbox by the configuration does as the daemon does."""
    (tmp_path / "config.toml").write_text(f'[database]\nurl = "{url}"\nnotify = false\n')
    with Outbox.from_config(tmp_path / "config.toml") as outbox:
        outbox.enqueue(RAW)
    async with AsyncOutbox.from_config(tmp_path / "config.toml") as twin:
        await twin.enqueue(RAW)
    await watch.silent(url)


async def test_operators_ring(url: str, watch: Watch) -> None:
    """Their verbs are obeyed at once."""
    with Outbox(url, notify=False) as outbox, Operator(url) as operator:
        receipt = outbox.enqueue(RAW)
        operator.hold(receipt.id)
    await watch.heard()


async def test_a_two_phase_commit_is_left_to_polling(mortal: PostgresServer) -> None:
    """PostgreSQL refuses to prepare a transaction that has notified, so such a one does not."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
    settings = create_engine(mortal.url, isolation_level="AUTOCOMMIT")
    with settings.connect() as connection:
        connection.execute(text("ALTER SYSTEM SET max_prepared_transactions = 5"))
    mortal.kill()
    await asyncio.to_thread(mortal.restart)
    settings.dispose()
    engine = create_engine(mortal.url)
    with Outbox(engine) as outbox, engine.connect() as connection:
        transaction = connection.begin_twophase()
        outbox.enqueue(RAW, connection=connection)
        transaction.prepare()
        transaction.commit()
    engine.dispose()
    assert query(mortal.url, "SELECT count(*) FROM mailqueue_messages") == [(1,)]


async def test_an_ear_says_when_its_server_has_gone(mortal: PostgresServer) -> None:
    """Whoever listens learns of it by an error of ours, and can listen again afterwards."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
    async with await Ear.open(mortal.url) as ear:
        readable = asyncio.Event()
        descriptor = ear.fileno()
        asyncio.get_running_loop().add_reader(descriptor, readable.set)
        mortal.kill()
        with pytest.raises(OutboxError):
            await _hear_on(ear, readable)
        asyncio.get_running_loop().remove_reader(descriptor)
    with pytest.raises(OutboxError):
        await Ear.open(mortal.url)
    await asyncio.to_thread(mortal.restart)
    async with await Ear.open(mortal.url) as ear:
        assert not ear.hear()


async def _hear_on(ear: Ear, readable: asyncio.Event) -> None:
    async with asyncio.timeout(PATIENCE):
        while not ear.hear():
            readable.clear()
            await readable.wait()
