"""An outbox, a relay that takes everything, and a clock that can be put on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import OutboxFile, PassingClock


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[OutboxFile]:
    """An empty outbox in a file of its own."""
    outbox = OutboxFile(tmp_path / "outbox.db")
    yield outbox
    outbox.close()


@pytest.fixture
def clock() -> PassingClock:
    """A clock that tests can put on and back."""
    return PassingClock()
