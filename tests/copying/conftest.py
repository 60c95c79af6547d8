"""Outboxes to copy from and to: SQLite files, and databases of one real PostgreSQL."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.support.postgres import PostgresServer

MakeUrl = Callable[[str], str]
"""Returns the URL of a new and empty place, in "sqlite" or "postgresql"."""

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A server for all of these tests."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def make_url_of(tmp_path: Path, request: pytest.FixtureRequest) -> MakeUrl:
    """Return what makes places; the server is only started where one is asked for."""

    def make(dialect: str) -> str:
        number = next(_numbers)
        if dialect == "sqlite":
            return f"sqlite:///{tmp_path / f'outbox-{number}.db'}"
        server: PostgresServer = request.getfixturevalue("server")
        return new_database(server, f"copying_{number}")

    return make


def new_database(server: PostgresServer, name: str) -> str:
    """Make an empty database and return its URL."""
    maker = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maker.dispose()
    return make_url(server.url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, make_url_of: MakeUrl) -> Iterator[Engine]:
    """The write engine of an outbox with its tables, in each database in turn."""
    engine = write_engine(make_url_of(request.param), busy_timeout=0.5)
    schema.create(engine)
    yield engine
    engine.dispose()
