"""The connection that a SQLite outbox of our own is written with."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoTurnError

from mailqueue.errors import OutboxError
from mailqueue.outbox import flush, schema
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.turnstile import Turnstile
from mailqueue.outbox.writing import WriteConnection

NOTE = text("INSERT INTO note VALUES (1)")
COUNT = "SELECT count(*) FROM note"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database with a table to write to."""
    path = tmp_path / "outbox.db"
    engine = write_engine(f"sqlite:///{path}")
    schema.create(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE note (id INTEGER)"))
    engine.dispose()
    return path


@pytest.fixture
def writing(path: Path) -> Iterator[WriteConnection]:
    """A connection to write it with."""
    writing = WriteConnection(write_engine(f"sqlite:///{path}", busy_timeout=0.1), patience=0.1)
    yield writing
    writing.close()
    writing.engine.dispose()


def count(path: Path) -> int:
    """Count what others see."""
    with closing(sqlite3.connect(path)) as connection:
        ((found,),) = connection.execute(COUNT).fetchall()
    return int(found)


def level(connection: Connection) -> object:
    """Ask how a connection's commits are made: 1 is NORMAL, 2 is FULL."""
    return connection.exec_driver_sql("PRAGMA synchronous").scalar()


def test_the_log_is_on_the_disk_before_the_block_is_left(
    writing: WriteConnection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is flushed is SQLite's own log, after the commit and the word that others can see it."""
    seen: list[object] = []

    def to_disk(descriptor: int) -> None:
        log = path.with_name("outbox.db-wal")
        seen.append(os.path.samestat(os.fstat(descriptor), log.stat()))
        seen.append(count(path))

    monkeypatch.setattr(flush, "_to_disk", to_disk)
    with writing.begin(committed=lambda: seen.append("committed")) as connection:
        connection.execute(NOTE)
    assert seen == ["committed", True, 1]


def test_others_can_write_while_the_disk_is_waited_for(
    writing: WriteConnection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither SQLite's lock nor the turn among threads is held during the flush."""

    def to_disk(_descriptor: int) -> None:
        monkeypatch.undo()
        with writing.begin() as connection:
            connection.execute(NOTE)

    monkeypatch.setattr(flush, "_to_disk", to_disk)
    with writing.begin() as connection:
        connection.execute(NOTE)
    assert count(path) == 2


def test_a_log_that_cannot_be_opened_is_left_to_the_commit(
    writing: WriteConnection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where we cannot flush, every commit waits for the disk by itself."""
    monkeypatch.setattr(flush, "LOG_SUFFIX", "-nothing")
    monkeypatch.setattr(flush, "_to_disk", pytest.fail)
    with writing.begin() as connection:
        connection.execute(NOTE)
        assert level(connection) == 2
    assert count(path) == 1


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No log can be flushed."""

    def to_disk(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(flush, "_to_disk", to_disk)


@pytest.mark.usefixtures("failing_disk")
def test_what_the_log_cannot_take_is_in_the_file(writing: WriteConnection, path: Path) -> None:
    """A log with a hole in it would lose whatever is written behind it, too."""
    with writing.begin() as connection:
        connection.execute(NOTE)
    file = f"file:{path}?immutable=1"  # without its log
    with closing(sqlite3.connect(file, uri=True)) as alone:
        assert alone.execute(COUNT).fetchall() == [(1,)]


@pytest.mark.usefixtures("failing_disk")
def test_a_disk_that_fails_is_told(writing: WriteConnection, path: Path) -> None:
    """Nobody is told that something is stored which no disk has taken."""
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute(COUNT)  # what is newer cannot be moved into the file
        with (
            pytest.raises(OutboxError, match="Input/output error"),
            writing.begin() as connection,
        ):
            connection.execute(NOTE)
    with writing.begin() as connection:
        connection.execute(NOTE)
    assert count(path) == 2


def test_an_error_undoes_the_block(writing: WriteConnection, path: Path) -> None:
    """Nothing of a block that raises is kept, nobody hears of a commit, and the next one works."""
    with (
        pytest.raises(OperationalError),
        writing.begin(committed=lambda: pytest.fail("nothing was")) as connection,
    ):
        connection.execute(text("INSERT INTO note VALUES (1), (abs(-9223372036854775808))"))
    with writing.begin() as connection:
        assert connection.execute(text(COUNT)).scalar() == 0
    assert count(path) == 0


def test_behind_another_writer(writing: WriteConnection, path: Path) -> None:
    """A lock that stays is SQLite's error, and costs the next transaction nothing."""
    with writing.begin():
        pass
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"), writing.begin():
        pytest.fail("nobody can have begun")
    other.close()
    with writing.begin() as connection:
        connection.execute(NOTE)
    assert count(path) == 1


def test_the_turn_among_processes_lasts_as_long_as_the_transaction(
    writing: WriteConnection, path: Path
) -> None:
    """It is left behind the commit, the rollback and the BEGIN that SQLite refused."""
    others = Turnstile.of(path)
    assert others is not None

    def is_free() -> bool:
        if has_come := others.enter(0):
            others.leave()
        return has_come

    with writing.begin() as connection:
        assert not is_free()
        connection.execute(NOTE)
    assert is_free()
    with pytest.raises(ZeroDivisionError), writing.begin():
        raise ZeroDivisionError
    assert is_free()
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), writing.begin():
            pass
    assert is_free()
    others.close()


def test_who_has_the_turn_and_writes_nothing_keeps_nobody_from_writing(
    writing: WriteConnection, path: Path
) -> None:
    """The turn is a courtesy: a process that is stopped with it in its hand stops nobody."""
    stopped = Turnstile.of(path)
    assert stopped is not None
    assert stopped.enter(0)
    with writing.begin() as connection:
        connection.execute(NOTE)
    assert count(path) == 1
    stopped.close()


def test_threads_take_turns(writing: WriteConnection, path: Path) -> None:
    """A thread waits for the one before it, and no longer than its patience."""
    with writing.begin() as connection:
        connection.execute(NOTE)
        errors: list[BaseException] = []

        def wait() -> None:
            try:
                writing.begin().__enter__()
            except NoTurnError as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)
        assert len(errors) == 1
    assert count(path) == 1


def test_the_pool_gets_it_back_as_it_was(writing: WriteConnection) -> None:
    """Whoever else uses the engine afterwards begins as usual, and commits to the disk."""
    with writing.begin():
        pass
    writing.close()
    with writing.engine.connect() as connection:
        assert level(connection) == 2
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        assert driver.in_transaction
    with writing.begin() as connection:
        assert level(connection) == 1
