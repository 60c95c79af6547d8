"""What every acceptance test begins with: an outbox, a clock, and a relay that can misbehave."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.invariants import assert_sound
from tests.support.daemon import OutboxFile, PassingClock


@pytest.fixture(scope="session")
def empty_outbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with tables and nothing in them, made once: it is copied faster than created."""
    path = tmp_path_factory.mktemp("empty") / "outbox.db"
    OutboxFile(path).close()
    return path


@pytest.fixture
def outbox(tmp_path: Path, empty_outbox: Path) -> Iterator[OutboxFile]:
    """An empty outbox; whatever a test does to it, its rows must agree at the end."""
    path = tmp_path / "outbox.db"
    shutil.copy(empty_outbox, path)
    outbox = OutboxFile(path)
    yield outbox
    assert_sound(outbox)
    outbox.close()


@pytest.fixture
def clock() -> PassingClock:
    """A clock that tests can put on."""
    return PassingClock()
