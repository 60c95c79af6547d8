"""Databases that cannot be used: each has an error of its own, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mailqueue import (
    NotAnOutboxError,
    OutboxBusyError,
    OutboxError,
    OutboxFullError,
    OutboxReadOnlyError,
    SchemaMissingError,
    SchemaOutdatedError,
    SchemaTooNewError,
)
from tests.client.parts import RAW, query
from tests.support.kept import kept_driver

COUNT = "SELECT count(*) FROM mailqueue_messages"


async def test_locked(outbox: Any, path: Path) -> None:
    """A database locked for longer than the busy timeout is a retryable error, then usable."""
    await outbox.enqueue(RAW)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutboxBusyError, match="trying again is safe"):
        await outbox.enqueue(RAW)
    other.close()
    await outbox.enqueue(RAW)
    assert query(path, COUNT) == [(2,)]


async def test_locked_at_the_first_use(opening: Any, url: str, path: Path) -> None:
    """A lock that is met while the file is being created is the same error."""
    query(path, "PRAGMA user_version")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(OutboxBusyError):
        await opening(url).enqueue(RAW)
    other.close()
    await opening(url).enqueue(RAW)


async def test_status_waits_for_no_writer(outbox: Any, path: Path) -> None:
    """Asking how a message stands is possible while somebody writes for long."""
    receipt = await outbox.enqueue(RAW)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        assert (await outbox.status(receipt.id)).id == receipt.id
    finally:
        other.close()


async def test_full(outbox: Any, path: Path) -> None:
    """A database that may not grow refuses the message whole, and keeps what it has."""
    kept = await outbox.enqueue(RAW)
    ((pages,),) = query(path, "PRAGMA page_count")
    limit = f"PRAGMA max_page_count={pages + 2}"
    kept_driver(getattr(outbox, "_outbox", outbox)).execute(limit)
    with pytest.raises(OutboxFullError, match="nothing was stored"):
        await outbox.enqueue(RAW + b"x" * 70 + b"\r\n" * 100_000)
    assert query(path, "SELECT id FROM mailqueue_messages") == [(kept.id,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_not_a_database(outbox: Any, path: Path) -> None:
    """A file that is something else is recognised, and left as it is."""
    path.write_bytes(b"Dear diary,\n" * 1000)
    with pytest.raises(NotAnOutboxError, match="is not a SQLite database"):
        await outbox.enqueue(RAW)
    assert path.read_bytes() == b"Dear diary,\n" * 1000


async def test_a_directory(outbox: Any, path: Path) -> None:
    """A directory in the file's place is an error that asks for a file name."""
    path.mkdir()
    with pytest.raises(OutboxError, match="directory"):
        await outbox.enqueue(RAW)


async def test_no_directory(opening: Any, tmp_path: Path) -> None:
    """A directory that is missing is not created."""
    with pytest.raises(OutboxError, match="cannot be created"):
        await opening(f"sqlite:///{tmp_path}/missing/outbox.db").enqueue(RAW)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize(
    ("version", "error", "remedy"),
    [
        ("9999", SchemaTooNewError, "newer"),
        ("0000", SchemaOutdatedError, "mailqueue db upgrade"),
    ],
)
async def test_another_schema(
    opening: Any, url: str, path: Path, version: str, error: type[Exception], remedy: str
) -> None:
    """Tables of another version are neither used nor changed; the error says what to do."""
    await opening(url).enqueue(RAW)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE mailqueue_schema_version SET version_num = ?", (version,))
    connection.commit()
    connection.close()
    with pytest.raises(error, match=remedy):
        await opening(url).enqueue(RAW)
    with pytest.raises(error, match=remedy):
        await opening(url).create()
    assert query(path, COUNT) == [(1,)]
    assert query(path, "SELECT version_num FROM mailqueue_schema_version") == [(version,)]


async def test_file_taken_away(outbox: Any, path: Path) -> None:
    """A file that disappears under a running program is not silently begun anew."""
    await outbox.enqueue(RAW)
    await outbox.close()
    for file in path.parent.iterdir():
        file.unlink()
    with pytest.raises(SchemaMissingError):
        await outbox.enqueue(RAW)
    assert not path.exists()


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user can get at, unlike those that pytest makes."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory
        directory.chmod(0o755)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user for whom modes mean something: they stop everybody but root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


async def test_read_only(opening: Any, shared: Path) -> None:
    """A file that this user may not write is an error that names the modes it needs."""
    path = shared / "outbox.db"
    first = opening(f"sqlite:///{path}")
    await first.enqueue(RAW)
    await first.close()
    path.chmod(0o444)
    shared.chmod(0o555)
    with unprivileged(), pytest.raises(OutboxReadOnlyError, match="0660"):
        await opening(f"sqlite:///{path}").enqueue(RAW)
    assert query(path, COUNT) == [(1,)]


async def test_read_only_directory(opening: Any, shared: Path) -> None:
    """A directory where this user may not create the file is an error that names its mode."""
    shared.chmod(0o555)
    with unprivileged(), pytest.raises(OutboxReadOnlyError, match="2770"):
        await opening(f"sqlite:///{shared / 'outbox.db'}").enqueue(RAW)
    assert list(shared.iterdir()) == []
