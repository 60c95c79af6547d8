from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailqueue.errors import AlreadyRunningError
from mailqueue.outbox.locks import WorkerLock, clear, is_dead

WORKER = """
import sys
from pathlib import Path
from mailqueue.outbox.locks import WorkerLock
with WorkerLock(Path(sys.argv[1]), "w1"):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def worker(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of worker w1 until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def test_a_living_worker_is_not_dead(path: Path, worker: subprocess.Popen[str]) -> None:
    """As long as it holds its lock, nobody takes its leases for orphaned."""
    assert not is_dead(path, "w1")


def test_a_killed_worker_is_dead(path: Path, worker: subprocess.Popen[str]) -> None:
    """The kernel lets go of the lock, whatever ended the process."""
    worker.send_signal(signal.SIGKILL)
    worker.wait(30)

    assert is_dead(path, "w1")
    assert is_dead(path, "w1"), "asking must not change the answer"


def test_a_worker_that_ended_left_nothing(path: Path, worker: subprocess.Popen[str]) -> None:
    """It has handed its leases back itself, and there is nothing to prove."""
    worker.communicate("")

    assert [*path.parent.iterdir()] == []
    assert not is_dead(path, "w1")


@pytest.mark.parametrize("name", ["unheard-of", "../../etc/passwd", "", "a\0b"])
def test_without_a_lock_file_there_is_no_proof(path: Path, name: str) -> None:
    """Names come from rows; one that cannot be a worker's proves nothing and opens nothing."""
    assert not is_dead(path, name)


def test_a_name_is_held_once(path: Path, worker: subprocess.Popen[str]) -> None:
    """A second daemon with the same name is refused, and the first is left in peace."""
    with pytest.raises(AlreadyRunningError, match="'w1' is running already"):
        WorkerLock(path, "w1").acquire()

    assert not is_dead(path, "w1")


def test_a_dead_workers_name_can_be_taken_over(path: Path, worker: subprocess.Popen[str]) -> None:
    """A daemon that was killed comes back under the name it had."""
    worker.kill()
    worker.wait(30)
    with WorkerLock(path, "w1"):
        assert not is_dead(path, "w1")


def test_whoever_asks_does_not_keep_a_worker_from_starting(path: Path) -> None:
    """Asking takes the lock for a moment, which a starting worker must not mistake for another."""
    asked = threading.Event()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            is_dead(path, "w1")
            asked.set()

    asking = threading.Thread(target=ask)
    asking.start()
    asked.wait(10)
    for _ in range(300):
        lock = WorkerLock(path, "w1")
        lock.acquire()
        lock.release()
    done.set()
    asking.join(10)


def test_a_lock_on_a_file_that_was_cleared_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another daemon clears the file just before it is locked, the lock is taken again."""
    file = path.with_name("outbox.db.worker-w1")
    truly = fcntl.flock

    def clear_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", truly)
        file.unlink()
        truly(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", clear_first)
    with WorkerLock(path, "w1"):
        assert file.exists()
        assert not is_dead(path, "w1")


def test_acquiring_and_releasing_twice_is_harmless(path: Path) -> None:
    """Stopping may come before starting, and more than once."""
    lock = WorkerLock(path, "w1")
    lock.release()
    lock.acquire()
    lock.acquire()
    lock.release()
    lock.release()

    assert [*path.parent.iterdir()] == []


def test_the_group_may_ask(path: Path) -> None:
    """Another daemon of the same group can tell, whatever the umask of this one."""
    before = os.umask(0o077)
    try:
        with WorkerLock(path, "w1"):
            mode = path.with_name("outbox.db.worker-w1").stat().st_mode
    finally:
        os.umask(before)

    assert stat.S_IMODE(mode) == 0o660


def test_clearing_removes_what_the_dead_left(path: Path, worker: subprocess.Popen[str]) -> None:
    """Once its leases are settled, a dead worker's lock file goes, and its doorbell with it."""
    path.with_name("outbox.db.bell-w1").touch()
    worker.kill()
    worker.wait(30)
    clear(path, "w1")

    assert [*path.parent.iterdir()] == []


def test_clearing_leaves_the_living(path: Path, worker: subprocess.Popen[str]) -> None:
    """Nobody can take a lock away from a worker that holds it."""
    clear(path, "w1")

    assert path.with_name("outbox.db.worker-w1").exists()
    assert not is_dead(path, "w1")


def test_clearing_what_is_not_there_is_harmless(path: Path) -> None:
    """Two daemons may settle the same dead worker."""
    clear(path, "w1")
    clear(path, "../../etc/passwd")


@pytest.mark.parametrize("name", ["../w1", "a/b", "", "x" * 65])
def test_a_lock_cannot_lead_out_of_the_directory(path: Path, name: str) -> None:
    """A worker's name is checked before it becomes a path."""
    with pytest.raises(ValueError, match="cannot name a worker"):
        WorkerLock(path, name)


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    """Nobody gets a file elsewhere created or locked by planting a link."""
    target = tmp_path / "elsewhere"
    path.with_name("outbox.db.worker-w1").symlink_to(target)

    with pytest.raises(OSError, match="symbolic links"):
        WorkerLock(path, "w1").acquire()
    assert not target.exists()
