"""The log of SQLite back into the database file, by one process and at times of its choosing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

PATIENCE = 0.25
"""Seconds to wait for readers. Nobody can write meanwhile, so it is short."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a checkpoint came, in pages.

    ``busy``: a reader or writer was in the way, so the log was not emptied; ``log``: pages in
    the log; ``checkpointed``: how many of them are in the database file.
    """

    busy: bool
    log: int
    checkpointed: int

    @property
    def is_whole(self) -> bool:
        """Whether all of the log is in the database file, and with it on the disk."""
        return 0 <= self.log <= self.checkpointed


def checkpoint(connection: Connection, *, patience: float = PATIENCE) -> Checkpoint:
    """Move the log into the database file and empty it, as far as readers allow.

    For the daemon, which does it often enough that no producer's commit has to (see
    recipe.py). It takes the write lock: a checkpoint that runs beside a writer is what the
    WAL-reset bug of SQLite before 3.51.3 needs (sqlite.org/wal.html#walresetbug). Somebody
    who has been reading for long is waited for ``patience`` seconds and then left for the next
    time; only the emptying has to wait for him. ``connection`` must not be in a transaction.
    Does nothing on other databases.
    """
    if connection.dialect.name != "sqlite":
        return Checkpoint(busy=False, log=0, checkpointed=0)
    # Not through `connection`, which would begin a transaction, and SQLite refuses it in one.
    cursor = connection.connection.cursor()
    try:
        usual = _ask(cursor, "busy_timeout")[0]
        _ask(cursor, f"busy_timeout={round(patience * 1000)}")
        try:
            busy, log, checkpointed = _ask(cursor, "wal_checkpoint(TRUNCATE)")
        finally:
            _ask(cursor, f"busy_timeout={usual}")
    finally:
        cursor.close()
    return Checkpoint(bool(busy), log, checkpointed)


def log_size(path: Path) -> int:
    """Return the size of the log beside the database file ``path``, in octets; 0 without one.

    It is what the disk has given for it: SQLite begins at its front again once nobody reads what
    is in it, and a checkpoint that empties it gives the space back.
    """
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size
    except OSError:
        return 0


def _ask(cursor: Any, pragma: str) -> Any:
    cursor.execute(f"PRAGMA {pragma}")
    return cursor.fetchone()
