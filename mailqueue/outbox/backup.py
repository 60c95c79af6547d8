"""A copy of the whole outbox, taken while it is in use."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from mailqueue.errors import MailqueueError

COPY_MODE: Final = 0o600
"""The copy holds every mail, and belongs to nobody but who made it."""
_PAGES: Final = 2_000
"""Pages copied between two looks at whether somebody wants to break off: 8 MB."""

Progress = Callable[[int, int], None]
"""Is told how many pages are copied, and of how many."""


class BackupError(MailqueueError):
    """No copy was made; nothing is left of the attempt."""


def backup(connection: Connection, target: Path, *, progress: Progress | None = None) -> int:
    """Copy the outbox to ``target``, a new file; returns its size in octets.

    ``connection`` reads, and its transaction is the moment that the copy shows: SQLite's backup
    begins anew whenever somebody writes, unless the one who copies has a snapshot open, and
    with a busy daemon it would never end. The log grows meanwhile by what is written. The
    copy gets its name only once it is whole, has passed SQLite's own check and is on the disk; it
    is one file, without a log beside it, and lists no worker: once somebody restores it, those of
    the outbox would be taken for workers of the copy. Raises `BackupError`, also where ``target``
    exists.
    """
    if connection.dialect.name != "sqlite":
        raise BackupError("this copies SQLite files; for PostgreSQL use pg_dump")
    if os.path.lexists(target):
        raise BackupError(f"{target} exists already, and nothing is overwritten; name a new file")
    if not target.parent.is_dir():
        raise BackupError(f"{target} could not be made: the directory {target.parent} is not there")
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, COPY_MODE))
        _copy(connection.connection.driver_connection, partial, progress)
        _check(partial)
        size = partial.stat().st_size
        _publish(partial, target)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"{target} could not be made: {error}") from None
    finally:
        for left in (partial, *(partial.with_name(partial.name + end) for end in _BESIDE)):
            with suppress(OSError):
                left.unlink()
    return size


_BESIDE: Final = ("-wal", "-shm", "-journal")


def _copy(source: Any, partial: Path, progress: Progress | None) -> None:
    def step(_status: int, remaining: int, total: int) -> None:
        if progress is not None:
            progress(total - remaining, total)

    # The snapshot begins with the first read, and not with BEGIN.
    source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    with closing(sqlite3.connect(partial, isolation_level=None)) as copy:
        source.backup(copy, pages=_PAGES, progress=step, sleep=0)
        # A file by itself: whoever opens a copy in WAL mode would make two more beside it.
        copy.execute("PRAGMA journal_mode=DELETE")
        _forget_daemons(copy)


def _forget_daemons(copy: sqlite3.Connection) -> None:
    """Nobody works on a copy; what they hold on lease runs out at its time."""
    is_there = "SELECT count(*) FROM sqlite_schema WHERE name = 'mailqueue_shares'"
    copy.execute("DELETE FROM mailqueue_workers")
    # Tables of the first versions have none.
    if copy.execute(is_there).fetchone() != (0,):
        copy.execute("DELETE FROM mailqueue_shares")


def _check(partial: Path) -> None:
    with closing(sqlite3.connect(f"{partial.as_uri()}?mode=ro", uri=True)) as copy:
        findings = [str(row[0]) for row in copy.execute("PRAGMA integrity_check(10)")]
        orphans = copy.execute("PRAGMA foreign_key_check").fetchmany(10)
    if findings != ["ok"]:
        raise BackupError(f"the outbox is damaged, and so is its copy: {'; '.join(findings)}")
    if orphans:
        raise BackupError(f"rows of {orphans[0][0]} belong to rows that are not there")


def _publish(partial: Path, target: Path) -> None:
    descriptor = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    # A link and not a rename, which would replace what somebody else has put there meanwhile.
    os.link(partial, target)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
