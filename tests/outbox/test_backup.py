from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.outbox.backup import BackupError, backup
from mailqueue.outbox.engine import read_engine
from mailqueue.outbox.workers import Worker, known, register
from tests.support.rows import NOW, add_message

pytestmark = pytest.mark.backend("sqlite")


@pytest.fixture
def reading(engine: Engine, url: str) -> Iterator[Connection]:
    """A connection that reads, to an outbox with two messages in it."""
    with engine.begin() as connection:
        add_message(connection, "anna@example.net")
        add_message(connection, "bob@example.net", raw=b"x" * 20_000_000)
    reader = read_engine(url)
    with reader.begin() as connection:
        yield connection
    reader.dispose()


def addresses(file: Path) -> list[str]:
    """Return who is in a copy, read by plain SQLite and without writing beside it."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)) as copy:
        rows = copy.execute("SELECT address FROM mailqueue_recipients ORDER BY id")
        return [address for (address,) in rows]


def test_a_copy_is_whole_and_by_itself(reading: Connection, tmp_path: Path) -> None:
    """One file with all that was committed, readable by its owner alone, and nothing beside it."""
    target = tmp_path / "copies" / "monday.db"
    target.parent.mkdir()
    assert backup(reading, target) == target.stat().st_size
    assert addresses(target) == ["anna@example.net", "bob@example.net"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert os.listdir(target.parent) == ["monday.db"]


def test_no_daemon_works_on_a_copy(reading: Connection, engine: Engine, tmp_path: Path) -> None:
    """Whoever restores it hears of no daemon that never ran there; the leases are as they were."""
    with engine.begin() as connection:
        register(connection, Worker("w1", "mx", 77, "1.0", NOW, NOW))
        add_message(connection, recipient={"state": "sending", "worker": "w1"})
    reading.rollback()
    backup(reading, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM mailqueue_workers").fetchone() == (0,)
        leased = copy.execute("SELECT worker FROM mailqueue_recipients WHERE state = 'sending'")
        assert leased.fetchall() == [("w1",)]
    with engine.begin() as connection:
        assert [one.id for one in known(connection)] == ["w1"]


def test_what_is_written_meanwhile_is_in_the_next(
    reading: Connection, engine: Engine, tmp_path: Path
) -> None:
    """Writers neither wait for the copy nor make it begin anew: it shows one moment."""
    steps: list[int] = []

    def written(done: int, total: int) -> None:
        steps.append(done)
        with engine.begin() as connection:
            add_message(connection, f"late{len(steps)}@example.net")

    backup(reading, tmp_path / "copy.db", progress=written)
    assert len(steps) > 1
    assert steps == sorted(steps)
    assert addresses(tmp_path / "copy.db") == ["anna@example.net", "bob@example.net"]


@pytest.mark.parametrize("kind", ["file", "link", "directory"])
def test_nothing_is_overwritten(reading: Connection, tmp_path: Path, kind: str) -> None:
    """Whatever stands in the place stays, also a link that leads nowhere."""
    target = tmp_path / "copy.db"
    match kind:
        case "file":
            target.write_text("precious")
        case "link":
            target.symlink_to(tmp_path / "elsewhere")
        case "directory":
            target.mkdir()
    with pytest.raises(BackupError, match="exists already"):
        backup(reading, target)
    assert not (tmp_path / "elsewhere").exists()
    assert kind != "file" or target.read_text() == "precious"


def test_who_came_first_keeps_the_name(reading: Connection, tmp_path: Path) -> None:
    """A file that appears while the copy is made is not replaced, and nothing else is left."""
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()

    def take(_done: int, _total: int) -> None:
        target.write_text("precious")

    with pytest.raises(BackupError):
        backup(reading, target, progress=take)
    assert target.read_text() == "precious"
    assert os.listdir(target.parent) == ["copy.db"]


def test_breaking_off_leaves_nothing(reading: Connection, tmp_path: Path) -> None:
    """Ctrl-C in the middle leaves no half of a copy under any name."""
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()

    def interrupt(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(reading, target, progress=interrupt)
    assert os.listdir(target.parent) == []


def test_a_directory_that_is_not_there(reading: Connection, tmp_path: Path) -> None:
    """The error names the file that could not be made."""
    with pytest.raises(BackupError, match=r"nowhere/copy\.db"):
        backup(reading, tmp_path / "nowhere" / "copy.db")


def test_a_damaged_outbox_has_no_backup(engine: Engine, path: Path, tmp_path: Path) -> None:
    """A copy of what SQLite finds wrong is not called one."""
    with engine.begin() as connection:
        add_message(connection)
        size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        root = connection.exec_driver_sql(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'ix_mailqueue_recipients_message'"
        ).scalar_one()
    engine.dispose()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(bytes(size))
    reader = read_engine(f"sqlite:///{path}")
    with reader.begin() as connection, pytest.raises(BackupError, match="damaged"):
        backup(connection, tmp_path / "copy.db")
    reader.dispose()
    assert not (tmp_path / "copy.db").exists()
