"""Where worlds live: in memory where the machine has such a place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.place import place


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory for the files of worlds."""
    with place() as path:
        yield path
