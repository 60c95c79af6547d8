from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.ext.asyncio import create_async_engine

from mailqueue.outbox.doorbell import Doorbell, ring, ring_after_commit
from mailqueue.outbox.tables import messages
from tests.support.rows import add_message

PATIENCE = 10.0


class Listener:
    """A daemon that counts how often it was woken."""

    def __init__(self, path: Path, worker: str = "w1", *, rest: float = 0.0) -> None:
        self.bell = Doorbell(path, worker, rest=rest)
        self.woken = asyncio.Event()
        self.wakes = 0

    def wake(self) -> None:
        self.wakes += 1
        self.woken.set()

    async def wait(self) -> None:
        async with asyncio.timeout(PATIENCE):
            await self.woken.wait()
        self.woken.clear()


@pytest.fixture
async def listener(path: Path) -> AsyncIterator[Listener]:
    """A daemon whose doorbell stands beside the database."""
    listener = Listener(path)
    listener.bell.start(listener.wake)
    yield listener
    listener.bell.stop()


async def test_a_ring_wakes_the_daemon(path: Path, listener: Listener) -> None:
    """Ringing is heard, and heard again the next time."""
    ring(path)
    await listener.wait()
    ring(path)
    await listener.wait()

    assert listener.wakes == 2


async def test_rings_that_come_together_are_one(path: Path, listener: Listener) -> None:
    """A burst of mail wakes the daemon once."""
    for _ in range(5):
        ring(path)
    await listener.wait()

    assert listener.wakes == 1


async def test_rings_in_quick_succession_wake_once_in_a_while(path: Path) -> None:
    """Two are heard at once, and those behind them together: each by itself would cost time."""
    listener = Listener(path, rest=60.0)
    listener.bell.start(listener.wake)
    ring(path)
    await listener.wait()
    ring(path)
    await listener.wait()
    for _ in range(5):
        ring(path)
        await asyncio.sleep(0)
    assert listener.wakes == 2
    listener.bell.stop()


async def test_who_rings_while_the_bell_rests_is_heard_after_that(path: Path) -> None:
    """Mail that comes right behind other mail waits for no poll."""
    listener = Listener(path, rest=0.01)
    listener.bell.start(listener.wake)
    for _ in range(3):
        ring(path)
        await listener.wait()
    assert listener.wakes == 3
    listener.bell.stop()


async def test_every_daemon_on_the_file_is_woken(path: Path, listener: Listener) -> None:
    """Several daemons share the work, so all of them hear of it."""
    second = Listener(path, "w2")
    second.bell.start(second.wake)
    ring(path)
    await listener.wait()
    await second.wait()
    second.bell.stop()


async def test_other_files_in_the_directory_are_not_rung(path: Path, listener: Listener) -> None:
    """Mail in one outbox wakes nobody who works on another."""
    other = Listener(path.with_name("other.db"))
    other.bell.start(other.wake)
    ring(path)
    await listener.wait()
    other.bell.stop()

    assert other.wakes == 0


async def test_a_link_to_the_database_rings_the_same_bell(
    path: Path, tmp_path: Path, listener: Listener
) -> None:
    """Producer and daemon may name the file differently."""
    path.touch()
    link = tmp_path / "elsewhere.db"
    link.symlink_to(path)
    ring(link)
    await listener.wait()


async def test_a_ring_nobody_hears_does_not_block(path: Path) -> None:
    """A daemon that is stuck holds up no producer, however often it is rung."""
    bell = path.with_name("outbox.db.bell-stuck")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stuck:
        stuck.bind(str(bell))
        for _ in range(1000):
            ring(path)

    assert bell.exists()


async def test_the_bell_of_a_dead_daemon_is_removed(path: Path, listener: Listener) -> None:
    """A killed daemon leaves its socket behind; the first ring clears it away."""
    dead = path.with_name("outbox.db.bell-dead")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(dead))
    ring(path)
    await listener.wait()

    assert not dead.exists()


async def test_a_bell_hung_later_is_found(path: Path, listener: Listener) -> None:
    """The directory is remembered only as long as it does not change."""
    os.utime(path.parent, (0, 0))
    ring(path)
    await listener.wait()
    later = Listener(path, "w2")
    later.bell.start(later.wake)
    ring(path)
    await later.wait()
    later.bell.stop()


async def test_a_directory_that_has_just_changed_is_not_remembered(
    path: Path, listener: Listener
) -> None:
    """A time stamp is too coarse to tell two bells apart that are hung at once."""
    ring(path)
    await listener.wait()
    before = path.parent.stat()
    later = Listener(path, "w2")
    later.bell.start(later.wake)
    os.utime(path.parent, ns=(before.st_atime_ns, before.st_mtime_ns))
    ring(path)
    await later.wait()
    later.bell.stop()


async def test_a_child_rings_too(path: Path, listener: Listener) -> None:
    """A process that was forked after its parent has rung is heard as well."""
    ring(path)
    await listener.wait()
    child = multiprocessing.get_context("fork").Process(target=ring, args=(path,))
    child.start()
    await listener.wait()
    await asyncio.to_thread(child.join, PATIENCE)


async def test_only_sockets_are_removed(path: Path, listener: Listener) -> None:
    """A file that merely has such a name is left alone, and others are rung."""
    file = path.with_name("outbox.db.bell-file")
    file.write_text("mine")
    ring(path)
    await listener.wait()

    assert file.read_text() == "mine"


@pytest.mark.parametrize("name", ["missing/outbox.db", "nobody.db", "a\0b.db", "x" * 300])
def test_ringing_never_raises(tmp_path: Path, name: str) -> None:
    """The mail is stored: whatever is wrong with the bell is not the producer's trouble."""
    ring(tmp_path / name)


async def test_the_group_may_ring(path: Path) -> None:
    """Producers are other users of the same group, whatever the daemon's umask."""
    listener = Listener(path)
    before = os.umask(0o077)
    try:
        listener.bell.start(listener.wake)
    finally:
        os.umask(before)
    mode = path.with_name("outbox.db.bell-w1").stat().st_mode
    listener.bell.stop()

    assert stat.S_IMODE(mode) == 0o660


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux can name it shorter")
async def test_a_deep_directory_is_no_obstacle(tmp_path: Path) -> None:
    """A path longer than the 108 bytes of a socket address is rung as well."""
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    listener = Listener(deep / "outbox.db")
    listener.bell.start(listener.wake)
    ring(deep / "outbox.db")
    await listener.wait()
    listener.bell.stop()

    assert [*deep.iterdir()] == []


async def test_a_bell_that_cannot_be_hung_is_said(tmp_path: Path) -> None:
    """The daemon learns that it has to poll."""
    listener = Listener(tmp_path / "missing" / "outbox.db")
    with pytest.raises(OSError, match="No such file"):
        listener.bell.start(listener.wake)
    listener.bell.stop()


async def test_starting_and_stopping_twice_is_harmless(path: Path) -> None:
    """Stopping leaves nothing behind, and may come before starting."""
    listener = Listener(path)
    listener.bell.stop()
    listener.bell.start(listener.wake)
    listener.bell.start(listener.wake)
    listener.bell.stop()
    listener.bell.stop()

    assert [*path.parent.iterdir()] == []


async def test_a_bell_left_behind_under_the_same_name_is_replaced(path: Path) -> None:
    """A daemon that was killed may come back with the name it had."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as killed:
        killed.bind(str(path.with_name("outbox.db.bell-w1")))
    listener = Listener(path)
    listener.bell.start(listener.wake)
    ring(path)
    await listener.wait()
    listener.bell.stop()


@pytest.mark.parametrize("worker", ["../../etc/passwd", "a/b", "", ".", "a\0b", "x" * 65])
def test_a_name_cannot_lead_out_of_the_directory(path: Path, worker: str) -> None:
    """Names are checked before they become paths."""
    with pytest.raises(ValueError, match="cannot name a worker"):
        Doorbell(path, worker)


@pytest.fixture
def bell(path: Path) -> Iterator[socket.socket]:
    """A bell as a plain socket, so that a test can ask whether it has been rung."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    bell.setblocking(False)
    bell.bind(str(path.with_name("outbox.db.bell-w1")))
    yield bell
    bell.close()


def has_rung(bell: socket.socket) -> bool:
    """Tell whether there was a ring since the last time this was asked."""
    try:
        bell.recv(16)
    except BlockingIOError:
        return False
    return True


def test_the_bell_does_not_ring_until_the_mail_can_be_seen(
    engine: Engine, bell: socket.socket
) -> None:
    """A daemon woken before the commit is made would see nothing and go back to sleep."""
    early: list[bool] = []
    with engine.begin() as connection:
        add_message(connection)
        ring_after_commit(connection)
        # Called after ours, at the last moment before COMMIT.
        event.listen(engine, "commit", lambda _: early.append(has_rung(bell)))

    assert early == [False]
    assert has_rung(bell)


def test_the_bell_rings_after_a_commit_and_not_before(engine: Engine, bell: socket.socket) -> None:
    """The caller's own transaction rings when it is over."""
    with engine.begin() as connection:
        add_message(connection)
        ring_after_commit(connection)
        assert not has_rung(bell)

    assert has_rung(bell)


def test_the_bell_rings_once(engine: Engine, bell: socket.socket) -> None:
    """Mail in one transaction rings once, and later transactions without mail do not ring."""
    with engine.begin() as connection:
        ring_after_commit(connection)
        ring_after_commit(connection)
    with engine.begin() as connection:
        connection.execute(select(messages))

    assert has_rung(bell)
    assert not has_rung(bell)


def test_a_rollback_does_not_ring(engine: Engine, bell: socket.socket) -> None:
    """Mail that was never stored wakes nobody, now or at the next commit."""
    with engine.connect() as connection:
        ring_after_commit(connection)
        connection.rollback()
        add_message(connection)
        connection.commit()

    assert not has_rung(bell)


def test_a_connection_that_is_dropped_does_not_ring(engine: Engine, bell: socket.socket) -> None:
    """A transaction that ends with its connection was rolled back."""
    with engine.connect() as connection:
        ring_after_commit(connection)
    forgotten = engine.connect()
    ring_after_commit(forgotten)
    del forgotten
    gc.collect()
    with engine.begin() as connection:
        add_message(connection)

    assert not has_rung(bell)


def test_a_connection_that_is_kept_rings_with_its_next_transaction(
    engine: Engine, bell: socket.socket
) -> None:
    """An application that never gives its connection back still rings."""
    with engine.connect() as connection:
        ring_after_commit(connection)
        connection.commit()
        connection.execute(select(messages))
        assert has_rung(bell)


def test_a_callers_own_engine_rings(path: Path, engine: Engine, bell: socket.socket) -> None:
    """The file is asked of SQLite, so any engine that has it open will do."""
    application = create_engine(f"sqlite:///file:{path}?mode=rw&uri=true")
    with application.begin() as connection:
        add_message(connection)
        ring_after_commit(connection)
    application.dispose()

    assert has_rung(bell)


async def test_an_asynchronous_transaction_rings(
    path: Path, engine: Engine, bell: socket.socket
) -> None:
    """Asynchronous producers ring in the same way."""
    application = create_async_engine(f"sqlite+aiosqlite:///{path}")
    async with application.begin() as connection:
        await connection.run_sync(add_message)
        await connection.run_sync(ring_after_commit)
        assert not has_rung(bell)
    await application.dispose()

    assert has_rung(bell)


def test_a_database_in_memory_has_no_bell() -> None:
    """Where there is no file there is nothing to ring, and no harm done."""
    application = create_engine("sqlite://")
    with application.begin() as connection:
        ring_after_commit(connection)
        assert connection.scalar(text("SELECT 1")) == 1
    application.dispose()
