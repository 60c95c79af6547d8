"""How the outbox's database is created and opened."""

from __future__ import annotations

import os
import stat
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from mailqueue.errors import OutboxError, OutboxReadOnlyError
from mailqueue.outbox.location import POOL_MODE, database_path, is_pooled, parse_url
from mailqueue.outbox.recipe import Recipe, install
from mailqueue.outbox.session import arguments, limit

BUSY_TIMEOUT = 10.0
"""Seconds that a transaction waits for another writer."""
FILE_MODE = 0o660
"""The file belongs to the group of its directory: to producers and the daemon alike."""


def configure_sqlite(
    engine: Engine | AsyncEngine,
    *,
    busy_timeout: float = BUSY_TIMEOUT,
    begin: Literal["IMMEDIATE", "DEFERRED"] = "IMMEDIATE",
) -> None:
    """Give an application's own SQLite engine what the outbox relies on.

    For applications that keep the outbox's tables in their own file. From then on every
    connection of ``engine`` uses WAL, ``synchronous=FULL`` and foreign keys, and waits
    ``busy_timeout`` seconds for another writer. With ``IMMEDIATE`` a transaction waits for
    its turn when it begins; with ``DEFERRED`` one that writes after it has read fails
    at once if another has written meanwhile. A file that is still empty is made ready
    for incremental vacuum.

    Calling it again changes nothing, and neither does a database other than SQLite.
    Connections raise `OutboxError` where WAL cannot be used.
    """
    plain = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
    install(plain, Recipe.callers(busy_timeout, begin))


def write_engine(url: str | URL, *, busy_timeout: float = BUSY_TIMEOUT) -> Engine:
    """Return an engine whose transactions take the write lock when they begin.

    It opens the file and never creates it (`create_file` does). Raises `OutboxError` for a
    URL that cannot be an outbox.
    """
    engine = create_engine(_driver_url(url, "pysqlite"), **_writing(url, busy_timeout))
    install(engine, Recipe.writing(busy_timeout))
    limit(engine, busy_timeout=busy_timeout, pooled=is_pooled(url))
    return engine


def read_engine(url: str | URL, *, busy_timeout: float = BUSY_TIMEOUT) -> Engine:
    """Return an engine that cannot write and waits for no writer; raises like `write_engine`."""
    engine = create_engine(_driver_url(url, "pysqlite"), **_reading(url, busy_timeout))
    install(engine, Recipe.reading(busy_timeout))
    limit(engine, busy_timeout=busy_timeout, pooled=is_pooled(url))
    return engine


def async_write_engine(url: str | URL, *, busy_timeout: float = BUSY_TIMEOUT) -> AsyncEngine:
    """Return the asynchronous twin of `write_engine`."""
    engine = create_async_engine(_driver_url(url, "aiosqlite"), **_writing(url, busy_timeout))
    install(engine.sync_engine, Recipe.writing(busy_timeout))
    limit(engine.sync_engine, busy_timeout=busy_timeout, pooled=is_pooled(url))
    return engine


def async_read_engine(url: str | URL, *, busy_timeout: float = BUSY_TIMEOUT) -> AsyncEngine:
    """Return the asynchronous twin of `read_engine`."""
    engine = create_async_engine(_driver_url(url, "aiosqlite"), **_reading(url, busy_timeout))
    install(engine.sync_engine, Recipe.reading(busy_timeout))
    limit(engine.sync_engine, busy_timeout=busy_timeout, pooled=is_pooled(url))
    return engine


def create_file(path: Path) -> bool:
    """Create an empty database file that its group may write; False if it was there already.

    SQLite itself would create it so that only its owner may write. The log and the shared
    memory beside it take mode and group from this file and its (setgid) directory.
    Raises `OutboxReadOnlyError` where the directory may not be written, and `OutboxError`
    where it is missing or a symbolic link, directory or device stands in the place.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_RDWR | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileExistsError:
        return _check_existing(path)
    except PermissionError:
        raise OutboxReadOnlyError(
            f"{path} cannot be created: this user may not write to {path.parent}; give that "
            "directory the mode 2770 and a group that producers and daemon share"
        ) from None
    except FileNotFoundError:
        raise OutboxError(
            f"{path} cannot be created: the directory {path.parent} does not exist; correct the "
            "path, or create the directory with the mode 2770 and a group that producers and "
            "daemon share"
        ) from None
    except OSError as error:
        raise OutboxError(f"{path} cannot be created: {error.strerror}") from None
    try:
        os.fchmod(descriptor, FILE_MODE)  # the umask has taken its share of the mode above
    finally:
        os.close(descriptor)
    return True


def _check_existing(path: Path) -> bool:
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OutboxError(f"{path} is not a regular file, so no outbox can be kept there")
    return False


def _driver_url(url: str | URL, driver: str) -> URL:
    known = parse_url(url)
    path = database_path(known)
    if path is None:
        _require_psycopg()
        return known.set(drivername="postgresql+psycopg").difference_update_query([POOL_MODE])
    # mode=rw: a mistyped path is an error, and not a second, empty outbox.
    return URL.create(
        f"sqlite+{driver}", database=path.as_uri(), query={"mode": "rw", "uri": "true"}
    )


def _require_psycopg() -> None:
    if find_spec("psycopg") is None:
        raise OutboxError(
            "PostgreSQL needs a driver that is not installed here: pip install "
            "'mailqueue[postgres]'"
        )


def _writing(url: str | URL, busy_timeout: float) -> dict[str, Any]:
    if database_path(url) is None:
        return _ours(pool_timeout=busy_timeout, connect_args=arguments(parse_url(url)))
    # SQLite has one writer at a time: more connections would only wait, and in no order.
    return _ours(pool_size=1, max_overflow=0, pool_timeout=busy_timeout)


def _reading(url: str | URL, busy_timeout: float) -> dict[str, Any]:
    if database_path(url) is None:
        return _ours(
            pool_timeout=busy_timeout,
            connect_args=arguments(parse_url(url)),
            execution_options={"postgresql_readonly": True},
        )
    return _ours(pool_timeout=busy_timeout)


def _ours(**options: Any) -> dict[str, Any]:
    # Parameters are addresses and whole mails: they have no place in an error message.
    return {"hide_parameters": True, **options}
