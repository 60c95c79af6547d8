"""The daemon's two ways into the outbox."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from mailqueue.daemon.database import Database
from mailqueue.errors import OutboxBusyError, OutboxError, SchemaMissingError
from tests.daemon.parts import PATIENCE, locked, states, turns, until
from tests.support.rows import add_message

_COUNT = text("SELECT count(*) FROM mailqueue_messages")


def count(connection: Connection) -> int:
    """Return how many messages this connection sees."""
    return int(connection.execute(_COUNT).scalar_one())


async def test_what_was_written_is_committed_when_it_returns(
    database: Database, path: Path
) -> None:
    """Another process sees it, and the value is what the function returned."""
    assert await database.write(add_message) == 1
    assert states(path) == ["queued"]


async def test_nothing_is_kept_of_a_write_that_raises(database: Database, path: Path) -> None:
    """Whatever it raises is raised, and the next write finds the door open."""

    def fail(connection: Connection) -> None:
        add_message(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write(fail)
    assert states(path) == []
    await database.write(add_message)


async def test_refusals_are_errors_of_ours(database: Database, path: Path) -> None:
    """The recorder waits for `OutboxError` and for nothing else."""
    with locked(path), pytest.raises(OutboxBusyError):
        await database.write(add_message)


async def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """Both ways say what to do about it."""
    database = Database(f"sqlite:///{tmp_path / 'nothing.db'}", busy_timeout=0.02)
    with pytest.raises(SchemaMissingError):
        await database.write(count)
    with pytest.raises(OutboxError):
        await database.read(count)
    await database.close()
    assert not (tmp_path / "nothing.db").exists()


async def test_readers_wait_for_no_writer(database: Database) -> None:
    """The status is told while a long transaction is under way, and does not see half of it."""
    entered, leave = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> None:
        add_message(connection)
        entered.set()
        leave.wait(PATIENCE)

    writing = asyncio.create_task(database.write(slowly))
    await until(entered.is_set)
    assert await asyncio.wait_for(database.read(count), PATIENCE) == 0
    leave.set()
    await writing
    assert await database.read(count) == 1


async def test_a_reader_cannot_write(database: Database, path: Path) -> None:
    """There is one writer in the daemon."""
    with pytest.raises(OutboxError):
        await database.read(add_message)
    assert states(path) == []


async def test_writes_come_one_after_the_other(database: Database, path: Path) -> None:
    """None waits for the lock that another of this process holds."""
    await asyncio.gather(*(database.write(add_message) for _ in range(20)))
    assert len(states(path)) == 20


async def test_a_checkpoint_empties_the_log(database: Database, path: Path) -> None:
    """The log does not grow for as long as the daemon runs."""
    await database.write(add_message)
    log = path.with_name(path.name + "-wal")
    assert log.stat().st_size > 0
    done = await database.checkpoint()
    assert not done.busy
    assert log.stat().st_size == 0


async def test_a_cancelled_read_ends_when_its_statement_has(database: Database) -> None:
    """Whoever stops the daemon then closes the loop, to which nothing may come back any more."""
    entered, leave = threading.Event(), threading.Event()

    def held() -> int:
        entered.set()
        leave.wait(PATIENCE)
        return 1

    def slowly(connection: Connection) -> object:
        driver: Any = connection.connection.dbapi_connection
        driver.create_function("held", 0, held)
        return connection.exec_driver_sql("SELECT held()").scalar()

    reading = asyncio.create_task(database.read(slowly))
    await until(entered.is_set)
    reading.cancel()
    await turns()
    assert not reading.done()
    leave.set()
    with pytest.raises(asyncio.CancelledError):
        await reading
