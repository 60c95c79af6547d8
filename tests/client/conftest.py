"""An outbox in a file of its own, by both of its doors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mailqueue import AsyncOutbox, Limits, Outbox
from mailqueue.clock import FakeClock
from tests.client.parts import Awaited


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox will be."""
    return tmp_path / "outbox.db"


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str) -> str:
    """An outbox with tables and nothing in them; where a test asks for `path`, nothing yet."""
    if "path" in request.fixturenames:
        return f"sqlite:///{request.getfixturevalue('path')}"
    url: str = request.getfixturevalue("outbox_url")
    return url


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


Opening = Callable[..., Any]


@pytest.fixture(params=[Outbox, AsyncOutbox])
async def opening(request: pytest.FixtureRequest, clock: FakeClock) -> AsyncIterator[Opening]:
    """Open outboxes of one of the two kinds, awaited either way, and close them at the end."""
    opened: list[Any] = []

    def open_outbox(place: Any, limits: Limits | None = None, busy_timeout: float = 0.2) -> Any:
        outbox = request.param(place, limits=limits, clock=clock, busy_timeout=busy_timeout)
        opened.append(outbox if request.param is AsyncOutbox else Awaited(outbox))
        return opened[-1]

    yield open_outbox
    await asyncio.gather(*(outbox.close() for outbox in opened))


@pytest.fixture
def outbox(opening: Opening, url: str) -> Any:
    """The outbox at ``url``."""
    return opening(url)
