"""A real outbox file, a clock that stands still, and a recorder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailqueue.clock import FakeClock
from mailqueue.daemon.database import Database
from mailqueue.daemon.recorder import Recorder
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from mailqueue.testing import ScriptedRelay
from tests.daemon.parts import Told
from tests.daemon.wiring import Wired, wire


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the outbox is; it has its tables and is empty."""
    path = tmp_path / "outbox.db"
    engine = write_engine(f"sqlite:///{path}")
    schema.create(engine)
    engine.dispose()
    return path


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """The daemon's door to it; it does not wait long for others."""
    database = Database(f"sqlite:///{path}", busy_timeout=0.02)
    yield database
    await database.close()


@pytest.fixture
def clock() -> FakeClock:
    """A clock at the present of `tests.support.rows`, without chance."""
    return FakeClock()


@pytest.fixture
def told() -> Told:
    """What was emitted."""
    return Told()


@pytest.fixture
async def recorder(database: Database, clock: FakeClock, told: Told) -> AsyncIterator[Recorder]:
    """A running recorder."""
    recorder = Recorder(database.write, clock, told.append)
    recorder.start()
    yield recorder
    await recorder.abort()


@pytest.fixture
async def wired(
    relay: ScriptedRelay,
    database: Database,
    recorder: Recorder,
    clock: FakeClock,
    told: Told,
    path: Path,
) -> AsyncIterator[Wired]:
    """The parts of a daemon, not started."""
    wired = wire(relay, database, recorder, clock, told, path)
    yield wired
    await wired.close()
