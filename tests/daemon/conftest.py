"""A real outbox file, a clock that stands still, and a recorder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mailqueue.clock import FakeClock
from mailqueue.config import RelaySettings
from mailqueue.daemon.database import Database
from mailqueue.daemon.recorder import Recorder
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from mailqueue.testing import ScriptedRelay
from tests.daemon.desk import Desk
from tests.daemon.parts import Told, leading_to
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


@pytest.fixture
async def desk(relay: ScriptedRelay, clock: FakeClock) -> AsyncIterator[Desk]:
    """A desk with sessions to the scripted relay."""
    keys = leading_to(relay, name="main", connections=1, timeouts={"quit": 0.5, "end_of_data": 5})
    pool = Pool(Relay(RelaySettings.model_validate(keys)), clock=clock)
    yield Desk(pool, clock)
    await pool.close()
