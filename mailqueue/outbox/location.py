"""Where an outbox is: its URL, its file, and the files that stand beside it."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError

from mailqueue.errors import OutboxError

POOL_MODE: Final = "pool_mode"
"""What a URL of PostgreSQL may say for us alone; the driver does not know it."""
_WORKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def parse_url(url: str | URL | os.PathLike[str]) -> URL:
    """Return the URL of an outbox, or raise `OutboxError` with the form that was expected.

    Known are SQLite files, by URL or as a path object, and PostgreSQL databases.
    """
    if isinstance(url, os.PathLike):
        # Absolute, or a file called ":memory:" would be none.
        return URL.create("sqlite", database=os.path.abspath(os.fspath(url)))
    try:
        parsed = make_url(url)
    except ArgumentError:
        # The text is not repeated: a mistyped URL may hold a password.
        raise OutboxError(f"this is not a database URL; {_FORMS}") from None
    match parsed.get_backend_name():
        case "sqlite":
            _check_sqlite(parsed)
        case "postgresql":
            _check_pool_mode(parsed)
        case other:
            raise OutboxError(f"an outbox cannot be kept in {other!r}; {_FORMS}")
    return parsed


def database_path(url: str | URL) -> Path | None:
    """Return the absolute path of the SQLite file that ``url`` names, links resolved.

    None for a database that is not a file. Understands the ``file:`` form of our own engines.
    """
    parsed = make_url(url)
    name = parsed.database or ""
    if parsed.get_backend_name() != "sqlite" or parsed.query.get("mode") == "memory":
        return None
    if name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    return None if name in ("", ":memory:") else Path(os.path.realpath(name))


def is_pooled(url: str | URL) -> bool:
    """Whether ``url`` leads to a pooler that gives each transaction another session."""
    return make_url(url).query.get(POOL_MODE) == "transaction"


def opened_path(connection: Connection) -> Path | None:
    """Return the path of the file that ``connection`` has open, or None if it is no file.

    Asks SQLite, because a caller's engine may have been given any kind of URL or none.
    """
    if connection.dialect.name != "sqlite":
        return None
    # What a connection has open does not change as long as it is open.
    if _OPENED not in connection.info:
        connection.info[_OPENED] = _ask_for_path(connection)
    opened: Path | None = connection.info[_OPENED]
    return opened


def _ask_for_path(connection: Connection) -> Path | None:
    for _, name, file in connection.exec_driver_sql("PRAGMA database_list"):
        if name == "main" and file:
            return Path(os.path.realpath(file))
    return None


def describe(url: str | URL) -> str:
    """Return what to call this outbox before people: its path, or a URL without the password."""
    return str(database_path(url) or make_url(url).render_as_string(hide_password=True))


def sidecar(path: Path, kind: str, worker: str) -> Path:
    """Return the file that a worker keeps beside the database, such as ``outbox.db.bell-<worker>``.

    Raises `ValueError` for a worker whose name could lead out of the directory: names
    are read from database rows too.
    """
    if not _WORKER.fullmatch(worker):
        raise ValueError(f"{worker!r} cannot name a worker; use letters, digits and . _ -")
    real = Path(os.path.realpath(path))
    return real.with_name(f"{real.name}.{kind}-{worker}")


_OPENED = "mailqueue.opened"
_FORMS = "use sqlite:///relative/outbox.db or sqlite:////absolute/outbox.db"


def _check_pool_mode(url: URL) -> None:
    if (mode := url.query.get(POOL_MODE, "session")) not in ("session", "transaction"):
        raise OutboxError(
            f"{POOL_MODE}={mode} is no way of pooling that mailqueue knows: write "
            f"{POOL_MODE}=transaction where the URL leads to a pooler such as PgBouncer in "
            "transaction mode, and nothing where it leads to the server"
        )


def _check_sqlite(url: URL) -> None:
    if url.host or url.port or url.username or url.password:
        raise OutboxError(
            f"a SQLite URL names no host; an absolute path is written with four slashes; {_FORMS}"
        )
    if not url.database or url.database == ":memory:":
        raise OutboxError(
            "an outbox in memory would lose every mail when the process ends, and its connections "
            f"share one transaction; {_FORMS}"
        )
    if url.query or url.database.startswith("file:"):
        raise OutboxError(
            f"options in a SQLite URL are not taken, because the outbox sets its own; {_FORMS}"
        )
