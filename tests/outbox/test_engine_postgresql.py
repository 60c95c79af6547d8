"""Our own engines on PostgreSQL."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import InternalError

from mailqueue.errors import OutboxBusyError
from mailqueue.outbox import schema
from mailqueue.outbox.engine import (
    async_read_engine,
    async_write_engine,
    read_engine,
    write_engine,
)
from mailqueue.outbox.faults import translating
from mailqueue.outbox.session import take_time
from mailqueue.outbox.tables import messages
from tests.support.rows import add_message

pytestmark = pytest.mark.backend("postgresql")


def test_a_read_engine_cannot_write(reader: Engine) -> None:
    """What only looks cannot change anything, whatever its code comes to say."""
    with reader.connect() as connection, pytest.raises(InternalError, match="read-only"):
        add_message(connection)


async def test_an_asynchronous_read_engine_cannot_write(url: str) -> None:
    """Asynchronous readers are bound in the same way."""
    engine = async_read_engine(url)
    async with engine.connect() as connection:
        with pytest.raises(InternalError, match="read-only"):
            await connection.run_sync(add_message)
    await engine.dispose()


def test_a_reader_waits_for_no_writer(engine: Engine, reader: Engine) -> None:
    """An open write transaction is not seen, and holds up nobody who looks."""
    with engine.begin() as writing, reader.connect() as reading:
        add_message(writing)
        assert reading.execute(messages.select()).all() == []


@pytest.fixture
def careless(engine: Engine) -> Engine:
    """The engine on a database whose defaults are for other things than mail."""
    with engine.begin() as connection:
        name = connection.engine.url.database
        for setting in ("synchronous_commit = off", "statement_timeout = 0", "lock_timeout = 0"):
            connection.execute(text(f"ALTER DATABASE {name} SET {setting}"))
    engine.dispose()
    return engine


def shown(connection: Connection, name: str) -> str:
    """Return how a session is set."""
    return str(connection.scalar(text(f"SHOW {name}")))


def test_what_is_acknowledged_is_on_the_disk(careless: Engine) -> None:
    """A server whose default is to answer before it has written is told otherwise."""
    with careless.begin() as connection:
        assert shown(connection, "synchronous_commit") == "on"


def test_nothing_takes_for_ever(careless: Engine, url: str) -> None:
    """Each statement, each wait for a lock and each transaction that stands still has an end."""
    for engine in (careless, read_engine(url, busy_timeout=0.1)):
        with engine.connect() as connection:
            assert shown(connection, "statement_timeout") == "30100ms"
            assert shown(connection, "lock_timeout") == "100ms"
            assert shown(connection, "idle_in_transaction_session_timeout") == "1min"
            connection.rollback()
            assert shown(connection, "lock_timeout") == "100ms"
        engine.dispose()


async def test_asynchronous_engines_have_the_same_limits(url: str) -> None:
    """What is awaited is awaited no longer."""
    for engine in (async_read_engine(url), async_write_engine(url)):
        async with engine.begin() as connection:
            assert await connection.run_sync(shown, "lock_timeout") == "10s"
            assert await connection.run_sync(shown, "statement_timeout") == "40s"
        await engine.dispose()


def test_who_keeps_a_table_is_waited_for_no_longer_than_the_busy_timeout(
    engine: Engine, url: str
) -> None:
    """A forgotten transaction of somebody else is told as such, with what to do."""
    other = create_engine(url)
    with other.begin() as shell:
        shell.execute(text("LOCK TABLE mailqueue_messages"))
        with (
            pytest.raises(OutboxBusyError),
            translating(url),
            engine.begin() as connection,
        ):
            add_message(connection)
    other.dispose()


def test_a_statement_that_takes_too_long_is_ended(engine: Engine, url: str) -> None:
    """It is an error that says that trying again is safe, and the connection is as before."""
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 50"))
        with pytest.raises(OutboxBusyError), translating(url):
            connection.execute(text("SELECT pg_sleep(60)"))
        connection.rollback()
        assert shown(connection, "statement_timeout") == "30100ms"


def test_a_migration_takes_the_time_that_it_needs(engine: Engine) -> None:
    """An index on very many rows is not given up half-way."""
    with engine.begin() as connection:
        take_time(connection)
        assert shown(connection, "statement_timeout") == "0"
    with engine.begin() as connection:
        assert shown(connection, "statement_timeout") == "30100ms"


def test_one_upgrade_waits_for_another_however_long_that_takes(engine: Engine, url: str) -> None:
    """The one that comes second finds the work done, and fails on no timeout."""
    done: list[str] = []

    def upgrade() -> None:
        schema.upgrade(second)
        done.append("without an error")

    with engine.begin() as first:
        schema._wait_for_turn(first)
        second = write_engine(url, busy_timeout=0.05)
        thread = threading.Thread(target=upgrade)
        thread.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        while not first.scalar(waiting):
            pass
        first.execute(text("SELECT pg_sleep(0.2)"))
        assert thread.is_alive()
    thread.join(30)
    second.dispose()
    assert done == ["without an error"]
