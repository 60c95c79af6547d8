from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from mailqueue.outbox.locks import WorkerLock
from mailqueue.outbox.pulse import Life, beating, pulses
from mailqueue.outbox.workers import Worker, register
from tests.support.rows import NOW, SECOND


def works(connection: Connection, name: str, silent: int = 0) -> None:
    """Register a worker that was heard of so many seconds ago."""
    beat = NOW - silent * SECOND
    register(connection, Worker(name, "host", 1, "1.0", started_at=beat, heartbeat_at=beat))


def test_how_workers_are(connection: Connection, path: Path) -> None:
    """Heard of lately is alive, a free lock is dead, and long silence without proof is stalled."""
    works(connection, "alive", 5)
    works(connection, "asleep", 119)
    works(connection, "silent", 120)
    works(connection, "dead", 1)
    path.with_name(f"{path.name}.worker-dead").touch()
    with WorkerLock(path, "alive"):
        found = {pulse.worker.id: pulse.life for pulse in pulses(connection, now=NOW)}
    assert found == {
        "dead": Life.DEAD,
        "alive": Life.ALIVE,
        "asleep": Life.ALIVE,
        "silent": Life.STALLED,
    }


def test_patience_is_the_callers(connection: Connection) -> None:
    """Whoever knows the lease says for how long silence is no sign."""
    works(connection, "slow", 300)
    (pulse,) = pulses(connection, now=NOW, patience=400)
    assert (pulse.life, pulse.silent) == (Life.ALIVE, 300)


def test_the_one_heard_of_last_counts(connection: Connection) -> None:
    """One living daemon is enough, and the dead are none."""
    assert beating([]) is None
    works(connection, "old", 500)
    assert beating(pulses(connection, now=NOW)) is None
    works(connection, "slow", 20)
    works(connection, "quick", 2)
    alive = beating(pulses(connection, now=NOW))
    assert alive is not None
    assert alive.worker.id == "quick"


def test_a_hostile_name_is_no_path(connection: Connection) -> None:
    """A worker's name comes from a row, and leads to no file outside."""
    works(connection, "../../etc/passwd")
    (pulse,) = pulses(connection, now=NOW)
    assert pulse.life is Life.ALIVE
