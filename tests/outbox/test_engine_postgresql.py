"""Our own engines on PostgreSQL."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError

from mailqueue.outbox.engine import async_read_engine
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


def test_what_is_acknowledged_is_on_the_disk(engine: Engine) -> None:
    """A server whose default is to answer before it has written is told otherwise."""
    with engine.begin() as connection:
        connection.execute(text("SELECT 1"))
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"
