"""A real outbox of its own for each test, in a file and in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.outbox.engine import read_engine, write_engine
from tests.support.outboxes import LendOutbox


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the outbox, for tests of what only a file has."""
    return tmp_path / "outbox.db"


@pytest.fixture
def place(path: Path) -> str:
    """The URL of that file, where there is nothing yet."""
    return f"sqlite:///{path}"


@pytest.fixture
def url(outbox_url: str) -> str:
    """An outbox with tables and nothing in them."""
    return outbox_url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Its write engine; it does not wait long for others."""
    engine = write_engine(url, busy_timeout=0.1)
    yield engine
    engine.dispose()


@pytest.fixture
def reader(url: str, engine: Engine) -> Iterator[Engine]:
    """A read engine on the same outbox."""
    reader = read_engine(url, busy_timeout=0.1)
    yield reader
    reader.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """One write transaction that lasts for the test and is rolled back."""
    with engine.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def shared(lend_outbox: LendOutbox) -> Iterator[Engine]:
    """An outbox for property tests: each example rolls back what it did."""
    with lend_outbox() as url:
        engine = write_engine(url)
        yield engine
        engine.dispose()
