"""An outbox with tables, for an operator to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.outbox.engine import write_engine
from tests.support.rows import make_tables


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is."""
    return tmp_path / "outbox.db"


@pytest.fixture
def url(request: pytest.FixtureRequest, backend: str) -> str:
    """An outbox with tables and nothing in them; where a test asks for `path`, nothing yet."""
    if "path" in request.fixturenames:
        return f"sqlite:///{request.getfixturevalue('path')}"
    url: str = request.getfixturevalue("outbox_url")
    return url


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The write engine of an outbox with its tables."""
    engine = write_engine(url, busy_timeout=0.1)
    make_tables(engine)
    yield engine
    engine.dispose()
