"""A real outbox in a file of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.outbox import schema
from mailqueue.outbox.engine import read_engine, write_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is, or will be."""
    return tmp_path / "outbox.db"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{path}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The write engine of an outbox with its tables; it does not wait long for others."""
    engine = write_engine(url, busy_timeout=0.1)
    schema.create(engine)
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
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An outbox for property tests: each example rolls back what it did."""
    engine = write_engine(f"sqlite:///{tmp_path_factory.mktemp('shared') / 'outbox.db'}")
    schema.create(engine)
    yield engine
    engine.dispose()
