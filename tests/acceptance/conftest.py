"""What every acceptance test begins with: an outbox, a clock, and a relay that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.invariants import assert_sound
from tests.support.daemon import PassingClock, PlainOutbox


@pytest.fixture
def outbox(outbox_url: str, tmp_path: Path) -> Iterator[PlainOutbox]:
    """An empty outbox; whatever a test does to it, its rows must agree at the end."""
    outbox = PlainOutbox(outbox_url, tmp_path)
    yield outbox
    assert_sound(outbox)
    outbox.close()


@pytest.fixture
def path(outbox_url: str, tmp_path: Path) -> Path:
    """The file of that outbox, for tests of what only a file has."""
    return tmp_path / "outbox.db"


@pytest.fixture
def clock() -> PassingClock:
    """A clock that tests can put on."""
    return PassingClock()
