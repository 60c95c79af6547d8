"""The queue in front of SQLite's write lock."""

from __future__ import annotations

import os
import select
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailqueue.outbox import turnstile
from mailqueue.outbox.turnstile import SUFFIX, Turnstile

FOR_EVER = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a database would be."""
    return tmp_path / "outbox.db"


@pytest.fixture
def another(path: Path) -> Iterator[Callable[[], Turnstile]]:
    """Makes turnstiles of that database, as each of its writers has one."""
    with ExitStack() as stack:

        def make() -> Turnstile:
            made = Turnstile.of(path)
            assert made is not None
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def only_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nobody look without having been woken, or give up."""
    monkeypatch.setattr(turnstile, "_LOST_SECONDS", FOR_EVER)
    monkeypatch.setattr(turnstile, "PATIENCE_SECONDS", FOR_EVER)


def entering(one: Turnstile) -> tuple[threading.Thread, list[bool]]:
    """Let ``one`` wait for its turn in a thread; returns that and what came of it."""
    came: list[bool] = []
    thread = threading.Thread(target=lambda: came.append(one.enter(FOR_EVER)))
    thread.start()
    return thread, came


def until_asleep(thread: threading.Thread) -> None:
    """Return when ``thread`` waits in the kernel."""
    while Path(f"/proc/self/task/{thread.native_id}/stat").read_text().split()[2] != "S":
        pass


def test_one_at_a_time(another: Callable[[], Turnstile]) -> None:
    """Whoever has the turn keeps the others out until it is left."""
    first, second = another(), another()
    assert first.enter(0)
    assert not second.enter(0)
    first.leave()
    assert second.enter(0)


@pytest.mark.usefixtures("only_woken")
def test_whoever_waits_is_woken_by_whoever_leaves(another: Callable[[], Turnstile]) -> None:
    """Nobody sleeps while the lock is free; each who waits has a turn."""
    holder = another()
    assert holder.enter(0)
    waiting = []
    for _ in range(3):
        one = another()
        thread, came = entering(one)
        until_asleep(thread)
        waiting.append((one, thread, came))
    assert not any(came for _, _, came in waiting)
    holder.leave()
    for _ in range(3):
        woken, thread, _ = next(each for each in waiting if _ends(each))
        thread.join(FOR_EVER)
        waiting = [each for each in waiting if each[0] is not woken]
        woken.leave()
    assert not waiting


def _ends(waiting: tuple[Turnstile, threading.Thread, list[bool]]) -> bool:
    _, thread, came = waiting
    thread.join(0.05)
    return came == [True]


@pytest.mark.usefixtures("only_woken")
def test_a_byte_that_woke_nobody_costs_nobody_his_turn(another: Callable[[], Turnstile]) -> None:
    """Many turns without anybody waiting leave the pipe full of bytes."""
    holder, late = another(), another()
    for _ in range(100_000):
        assert holder.enter(0)
        holder.leave()
    assert holder.enter(0)
    thread, came = entering(late)
    until_asleep(thread)
    holder.leave()
    thread.join(FOR_EVER)
    assert came == [True]


def test_whoever_is_killed_has_no_turn_any_more(
    another: Callable[[], Turnstile], path: Path
) -> None:
    """The kernel lets go of the lock with the process, and who waits looks now and then."""
    waiting = another()
    program = (
        "import sys, pathlib; from mailqueue.outbox.turnstile import Turnstile; "
        "one = Turnstile.of(pathlib.Path(sys.argv[1])); print(one.enter(0), flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not waiting.enter(0)
        waiting = another()
        thread, came = entering(waiting)
        holder.kill()
        holder.wait()
        thread.join(FOR_EVER)
    assert came == [True]


def test_whoever_stands_still_keeps_the_others_once_and_not_each_time(
    another: Callable[[], Turnstile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process may have the turn outside of any transaction: SQLite is asked then."""
    monkeypatch.setattr(turnstile, "PATIENCE_SECONDS", 0.01)
    stopped, waiting = another(), another()
    assert stopped.enter(0)
    assert not waiting.enter(FOR_EVER)
    monkeypatch.setattr(turnstile, "PATIENCE_SECONDS", FOR_EVER)
    assert not waiting.enter(FOR_EVER), "at once"
    stopped.leave()
    assert waiting.enter(FOR_EVER), "what is free is taken all the same"


def test_one_that_is_closed_or_forgotten_leaves_no_descriptor(path: Path) -> None:
    """An application may drop its outbox without closing it; to close twice is harmless."""
    before = len(os.listdir("/proc/self/fd"))
    closed = Turnstile.of(path)
    assert closed is not None
    closed.close()
    closed.close()
    assert Turnstile.of(path) is not None, "and forgotten"
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_child_of_a_fork_takes_nothing_from_its_parent(
    another: Callable[[], Turnstile],
) -> None:
    """What it closes is its own; the parent still has its turn, and leaves it."""
    parent, other = another(), another()
    assert parent.enter(0)
    if (child := os.fork()) == 0:
        parent.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert not other.enter(0)
    parent.leave()
    assert other.enter(0)


def test_its_file_is_for_the_group_of_the_outbox(
    another: Callable[[], Turnstile], path: Path
) -> None:
    """Producers and daemon are different users, and some have a umask that shuts others out."""
    before = os.umask(0o077)
    try:
        another()
    finally:
        os.umask(before)
    file = path.with_name(path.name + SUFFIX).stat()
    assert stat.S_ISFIFO(file.st_mode)
    assert stat.S_IMODE(file.st_mode) == 0o660


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_what_is_no_pipe_is_left_alone(path: Path, kind: str) -> None:
    """Something else that has its name is nothing to lock or to write to."""
    place = path.with_name(path.name + SUFFIX)
    match kind:
        case "file":
            place.write_text("mine")
        case "link":
            os.mkfifo(path.with_name("elsewhere"))
            place.symlink_to("elsewhere")
        case _:
            place.mkdir()
    assert Turnstile.of(path) is None
    if kind == "file":
        assert place.read_text() == "mine"


def test_without_a_directory_there_is_none(tmp_path: Path) -> None:
    """Whoever cannot make it does without."""
    assert Turnstile.of(tmp_path / "nowhere" / "outbox.db") is None


def test_where_the_system_cannot_wake_a_single_one_there_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once would fight for the lock; so SQLite's own way is left to it."""
    monkeypatch.setattr(turnstile, "_WAKES_ONE", None)
    assert Turnstile.of(path) is None


def test_where_no_descriptor_is_left_there_is_none(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And none of its own stays open."""

    def none_left() -> select.epoll:
        raise OSError(24, "Too many open files")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(select, "epoll", none_left)
    assert Turnstile.of(path) is None
    assert len(os.listdir("/proc/self/fd")) == before
