"""The border where errors of the database and its drivers become ours."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mailqueue.errors import (
    NotAnOutboxError,
    OutboxBusyError,
    OutboxError,
    OutboxFullError,
    OutboxReadOnlyError,
    OutboxUnavailableError,
    SchemaMissingError,
    SchemaOutdatedError,
)
from mailqueue.outbox import fence
from mailqueue.outbox.location import database_path, describe
from mailqueue.outbox.tables import PREFIX


@contextmanager
def translating(
    url: str | URL, *, callers_transaction: bool = False, reading: bool = False
) -> Iterator[None]:
    """Raise errors of the database as those of `mailqueue.errors`.

    ``url`` is the outbox that the text names. ``callers_transaction``: the transaction was
    begun by the application, so the remedy for a busy database is the application's.
    ``reading``: nothing was to be written, so the text says why reading needs to. The
    texts never hold parameters, which are addresses and whole mails. Errors that speak of
    a bug and not of the database, such as a violated constraint, go through unchanged.
    """
    try:
        yield
    except PoolTimeoutError:
        raise OutboxBusyError(_Fault(url, callers_transaction).crowded()) from None
    except DBAPIError as error:
        fault = _Fault(url, callers_transaction, error.orig, error.statement or "", reading)
        is_operational = isinstance(error, OperationalError) or error.connection_invalidated
        if (translated := fault.translated(is_operational)) is None:
            raise
        raise translated from error.orig
    except sqlite3.Error as error:
        fault = _Fault(url, callers_transaction, error, reading=reading)
        if (translated := fault.translated(isinstance(error, sqlite3.OperationalError))) is None:
            raise
        raise translated from error


_Kind = tuple[type[OutboxError], Callable[["_Fault"], str]]
"""An error of ours, and what says its text."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """One error of a driver, with what is known about where it came from."""

    url: str | URL
    callers_transaction: bool
    error: BaseException | None = None
    statement: str = ""
    reading: bool = False

    def translated(self, is_operational: bool) -> OutboxError | None:
        """Return our error for it; None for what only a programmer can mend."""
        if (fenced := fence.refusal(self.error)) is not None:
            return fenced
        if (found := self._kind(is_operational)) is not None:
            kind, text = found
            return kind(text(self))
        return OutboxError(f"{self.where}: {self.error}") if is_operational else None

    def _kind(self, is_operational: bool) -> _Kind | None:
        if isinstance(self.error, sqlite3.Error):
            # The low byte is the primary code (sqlite.org/rescode.html).
            primary = getattr(self.error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            return self._sqlite_kind(primary)
        if make_url(self.url).get_backend_name() != "postgresql":
            return None
        state = getattr(self.error, "sqlstate", None) or getattr(self.error, "pgcode", None)
        if state in _UNDEFINED and PREFIX not in f"{self.error} {self.statement}":
            return None  # of the application's own tables
        if isinstance(state, str):
            return _POSTGRESQL.get(state) or _POSTGRESQL_CLASS.get(state[:2])
        # Whoever does not get as far as a session is told no code, only a text.
        is_turned_away = any(reason in str(self.error) for reason in _TURNED_AWAY)
        return _GONE if is_operational and not is_turned_away else None

    def _sqlite_kind(self, code: int) -> _Kind | None:
        match code:
            case sqlite3.SQLITE_ERROR:
                return self._schema_kind()
            case sqlite3.SQLITE_CANTOPEN:
                return self._unopened_kind()
            case sqlite3.SQLITE_IOERR:
                return (OutboxFullError, _Fault.full) if self._is_disk_full() else None
            case _:
                return _SQLITE.get(code)

    def _schema_kind(self) -> _Kind | None:
        text = str(self.error)
        if f"no such table: {PREFIX}" in text:
            return SchemaMissingError, _Fault.missing
        if "column" in text and (PREFIX in self.statement or PREFIX in text):
            return SchemaOutdatedError, _Fault.outdated
        return None

    def _unopened_kind(self) -> _Kind:
        try:
            mode = (database_path(self.url) or Path()).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return SchemaMissingError, _Fault.missing
        except OSError:
            return _READ_ONLY
        return (NotAnOutboxError, _Fault.directory) if stat.S_ISDIR(mode) else _READ_ONLY

    def _is_disk_full(self) -> bool:
        path = database_path(self.url)
        return path is not None and shutil.disk_usage(path.parent).free == 0

    @property
    def where(self) -> str:
        """What the outbox is called in a text."""
        return describe(self.url)

    def busy(self) -> str:
        """Say who is in the way, and whose transaction has to change."""
        if self.callers_transaction:
            return (
                f"{self.where} is being written by someone else, and this transaction could not "
                "wait: nothing was stored. Roll back and try again; mailqueue.configure_sqlite"
                "(engine) makes the application's transactions wait for their turn when they begin"
            )
        return (
            f"{self.where} was being written by someone else for the whole busy timeout: nothing "
            "was changed, and trying again is safe. If it stays so, look for a program that keeps "
            "a transaction open, such as a database shell"
        )

    def crowded(self) -> str:
        """Say that all connections of this process are in use."""
        if database_path(self.url) is not None:
            return self.busy()
        return (
            f"all connections of this process to {self.where} were in use for the whole busy "
            "timeout: nothing was changed, and trying again is safe. If it stays so, look for a "
            "thread that keeps a transaction open"
        )

    def conflicting(self) -> str:
        """Say that PostgreSQL has ended the transaction for another's sake."""
        return (
            f"{self.where} ended this transaction for the sake of another one ({self.reason}): "
            f"nothing was {'stored' if self.callers_transaction else 'changed'}. "
            f"{'Roll back and try again' if self.callers_transaction else 'Trying again is safe'}"
        )

    def slow(self) -> str:
        """Say that it took too long, and who may be in the way."""
        return (
            f"{self.where} did not answer within the time that is allowed ({self.reason}): nothing "
            "was changed, and trying again is safe. If it stays so, look for a transaction that "
            "is kept open (pg_stat_activity), or for a server with too much to do"
        )

    def gone(self) -> str:
        """Say that the server is not there, and that nothing of it remains."""
        retry = "roll back and try again" if self.callers_transaction else "trying again is safe"
        return (
            f"{self.where} cannot be reached, or has broken off ({self.reason}): nothing was "
            f"changed, and {retry}"
        )

    def standby(self) -> str:
        """Say why a server refuses to write, and how another one is found."""
        return (
            f"{self.where} takes no writes ({self.reason}): it is a standby, or "
            "default_transaction_read_only is set. With several hosts in the URL, "
            "?target_session_attrs=read-write finds the one that does"
        )

    def denied(self) -> str:
        """Say whose rights are missing."""
        return (
            f"{self.where} refuses this user ({self.reason}): the role needs SELECT, INSERT, "
            "UPDATE and DELETE on the tables mailqueue_*, and USAGE on their sequences"
        )

    @property
    def reason(self) -> str:
        """The server's own words, in one line."""
        return " ".join(str(self.error).split())

    def read_only(self) -> str:
        """Name the modes that file and directory need, for reading too."""
        if self.reading and self._is_readable():
            return (
                f"{self.where} cannot be read from here: to read it SQLite needs the files -wal "
                "and -shm beside it, and this user may not make them. The directory needs the "
                "mode 2770 and this user its group; on a read-only file system, copy the file, "
                "with its -wal if there is one, to where it can be written"
            )
        return (
            f"{self.where} cannot be {'opened' if self.reading else 'written'} by this user: the "
            "file needs the mode 0660, its directory 2770, and this user their group; a read-only "
            "file system will not do"
        )

    def _is_readable(self) -> bool:
        path = database_path(self.url)
        return path is not None and os.access(path, os.R_OK, effective_ids=True)

    def full(self) -> str:
        """Say that space is what is missing."""
        return (
            f"there is no space left for {self.where}: nothing was stored. Free some on its disk, "
            "or raise the quota or PRAGMA max_page_count that limits it"
        )

    def foreign(self) -> str:
        """Say that the file is something else."""
        return f"{self.where} is not a SQLite database; check the path, and leave the file as it is"

    def damaged(self) -> str:
        """Say what to do before anything else."""
        return (
            f"{self.where} is damaged ({self.error}): stop what writes to it, copy the file with "
            "its -wal and -shm, and try `sqlite3 copy.db .recover`"
        )

    def directory(self) -> str:
        """Say that a file name is missing."""
        return f"{self.where} is a directory; name a file in it, such as outbox.db"

    def missing(self) -> str:
        """Name the command that creates file and tables."""
        return f"there is no outbox in {self.where} yet; run `mailqueue db upgrade`"

    def outdated(self) -> str:
        """Name the command that brings the tables on."""
        return (
            f"the tables in {self.where} are not those of this mailqueue ({self.error}); "
            "run `mailqueue db upgrade`"
        )


_BUSY = (OutboxBusyError, _Fault.busy)
_READ_ONLY = (OutboxReadOnlyError, _Fault.read_only)
_FULL = (OutboxFullError, _Fault.full)

_SQLITE: Final[dict[int, _Kind]] = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_PROTOCOL: _BUSY,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_NOTADB: (NotAnOutboxError, _Fault.foreign),
    sqlite3.SQLITE_CORRUPT: (NotAnOutboxError, _Fault.damaged),
}
_CONFLICT = (OutboxBusyError, _Fault.conflicting)
_SLOW = (OutboxBusyError, _Fault.slow)
_GONE = (OutboxUnavailableError, _Fault.gone)
_UNDEFINED: Final = ("42P01", "42703")
# postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL: Final[dict[str, _Kind]] = {
    "40001": _CONFLICT,  # serialization_failure
    "40P01": _CONFLICT,  # deadlock_detected
    "55P03": _SLOW,  # lock_not_available
    "57014": _SLOW,  # query_canceled, as by statement_timeout
    "25P03": _GONE,  # idle_in_transaction_session_timeout
    "25P04": _GONE,  # transaction_timeout
    "57P01": _GONE,  # admin_shutdown
    "57P02": _GONE,  # crash_shutdown
    "57P03": _GONE,  # cannot_connect_now
    "57P05": _GONE,  # idle_session_timeout
    "53300": _GONE,  # too_many_connections
    "25006": (OutboxReadOnlyError, _Fault.standby),  # read_only_sql_transaction
    "42501": (OutboxReadOnlyError, _Fault.denied),  # insufficient_privilege
    "53100": _FULL,  # disk_full
    "42P01": (SchemaMissingError, _Fault.missing),  # undefined_table
    "42703": (SchemaOutdatedError, _Fault.outdated),  # undefined_column
}
_TURNED_AWAY: Final = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
)
"""What waiting does not mend, where the server speaks English."""
_POSTGRESQL_CLASS: Final[dict[str, _Kind]] = {
    "08": _GONE,  # connection_exception
}
