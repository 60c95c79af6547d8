from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from mailqueue.testing import ScriptedRelay
from tests.support.postgres import PostgresServer


@pytest.fixture
def url(postgres_url: str) -> str:
    """An outbox in a database of its own, on a server that nobody kills."""
    return postgres_url


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
