from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import create_engine, make_url, text

from mailqueue import Outbox
from mailqueue.testing import ScriptedRelay
from tests.support.postgres import PostgresServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    """A server that nobody kills."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def url(server: PostgresServer) -> str:
    """An outbox in a database of its own."""
    return outbox_on(server)


@pytest.fixture
def mortal() -> Iterator[PostgresServer]:
    """A server of the test's own, which it may kill."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def relay() -> AsyncIterator[ScriptedRelay]:
    """A relay that takes everything."""
    async with ScriptedRelay() as relay:
        yield relay


def outbox_on(server: PostgresServer) -> str:
    """Make a database with an outbox in it, and return its URL."""
    name = f"outbox_{next(_numbers)}"
    maker = create_engine(server.url, isolation_level="AUTOCOMMIT")
    with maker.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    maker.dispose()
    url = make_url(server.url).set(database=name).render_as_string(hide_password=False)
    with Outbox(url) as outbox:
        outbox.create()
    return url
