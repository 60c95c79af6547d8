"""SQLite's log, brought to the disk by us where the commit itself has not done it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from mailqueue.errors import OutboxError

LOG_SUFFIX = "-wal"
_to_disk = getattr(os, "fdatasync", os.fsync)


class Flush:
    """Brings all of the log of one database to the disk, whoever wrote it.

    The log is the same file for as long as a connection to the database is open, so one must be.
    Where it has begun anew meanwhile, what it held is in the database file, and on the disk.
    """

    __slots__ = ("__weakref__", "_descriptor", "_path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return one for the database ``path``; None where its log cannot be opened."""
        log = path.with_name(path.name + LOG_SUFFIX)
        try:
            # SQLite has no locks on this file that closing a descriptor of it could lose.
            return cls(path, os.open(log, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None

    def __call__(self) -> None:
        """Return when all that stands in the log is on the disk; raises `OutboxError`."""
        try:
            _to_disk(self._descriptor)
        except OSError as error:
            raise OutboxError(
                f"{self._path} could not be brought to its disk ({error.strerror}): what was just "
                "stored may be lost when the power fails, or may be sent; look at the disk first"
            ) from error

    def __del__(self) -> None:
        """Close it when nobody can be flushing any more."""
        with suppress(OSError):
            os.close(self._descriptor)
