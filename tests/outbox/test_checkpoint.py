from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.outbox.checkpoint import checkpoint
from mailqueue.outbox.engine import async_write_engine
from tests.support.rows import add_message

pytestmark = pytest.mark.backend("sqlite")


def log_of(path: Path) -> Path:
    """Return the log of a database file."""
    return path.with_name(f"{path.name}-wal")


def test_a_checkpoint_empties_the_log(engine: Engine, path: Path) -> None:
    """What was committed moves into the file, and the log starts from nothing."""
    with engine.begin() as connection:
        add_message(connection)
    assert log_of(path).stat().st_size > 0
    with engine.connect() as connection:
        done = checkpoint(connection)

    assert (done.busy, done.log, done.checkpointed) == (False, 0, 0)
    assert log_of(path).stat().st_size == 0


async def test_an_asynchronous_connection_checkpoints_too(
    url: str, engine: Engine, path: Path
) -> None:
    """The daemon's own connection can do it."""
    with engine.begin() as connection:
        add_message(connection)
    twin = async_write_engine(url)
    async with twin.connect() as asynchronous:
        done = await asynchronous.run_sync(checkpoint)
    await twin.dispose()

    assert not done.busy
    assert log_of(path).stat().st_size == 0


def test_a_long_reader_is_not_waited_for(engine: Engine, path: Path) -> None:
    """What can be moved is moved, and the emptying is left for the next time."""
    shell = sqlite3.connect(path, isolation_level=None)
    with engine.begin() as connection:
        add_message(connection)
    shell.execute("BEGIN")
    shell.execute("SELECT * FROM mailqueue_messages").fetchall()
    with engine.connect() as connection:
        during = checkpoint(connection, patience=0.01)
        shell.close()
        after = checkpoint(connection, patience=0.01)

    assert during.busy
    assert during.checkpointed == during.log > 0
    assert not after.busy


def test_a_writer_is_not_waited_for_long(engine: Engine, path: Path) -> None:
    """A checkpoint that finds somebody writing says so instead of failing."""
    with engine.begin() as connection:
        add_message(connection)
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with engine.connect() as connection:
        assert checkpoint(connection, patience=0.01).busy
    writer.close()


def test_the_busy_timeout_is_as_before(engine: Engine) -> None:
    """The short patience of a checkpoint does not stay behind on the connection."""
    with engine.connect() as connection:
        checkpoint(connection, patience=0.01)
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 100
