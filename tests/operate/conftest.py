"""An outbox with tables, for an operator to work on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is."""
    return tmp_path / "outbox.db"


@pytest.fixture
def url(path: Path) -> str:
    """The same as a URL."""
    return f"sqlite:///{path}"


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """The write engine of an outbox with its tables."""
    engine = write_engine(url, busy_timeout=0.1)
    schema.create(engine)
    yield engine
    engine.dispose()
