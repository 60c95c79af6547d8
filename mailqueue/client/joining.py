"""A transaction of the caller's: is it one, and is it on this outbox?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from mailqueue.errors import OutboxError
from mailqueue.outbox.location import opened_path


def check_joinable(connection: Connection, path: Path | None) -> None:
    """See that what is written with ``connection`` goes into this outbox, and can be rolled back.

    ``path`` is the outbox's SQLite file, if it is one. Begins the transaction if the
    caller has not used it yet. Raises `OutboxError`.
    """
    if not connection.in_transaction():
        # SQLAlchemy begins with the first statement; what the driver does then is looked at below.
        connection.execute(select(1))
    opened = opened_path(connection)
    if opened != path:
        raise OutboxError(
            f"connection= writes to {_name(opened)}, but this outbox is {_name(path)}: the daemon "
            "would never see the message. Create the Outbox with the application's own engine"
        )
    if _commits_by_itself(connection):
        raise OutboxError(
            "connection= is in autocommit mode, so a rollback could not take the message back. "
            "Give it a transaction; for SQLite, mailqueue.configure_sqlite(engine) does it"
        )


def _name(path: Path | None) -> str:
    return "a database that is no SQLite file" if path is None else str(path)


def _commits_by_itself(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    if getattr(driver, "autocommit", None) is True:
        return True
    # With isolation_level None, sqlite3 leaves BEGIN to whoever sends it, and nobody has.
    # With any other, it sends one itself before the first INSERT.
    if connection.dialect.name != "sqlite":
        return False
    return bool(driver.isolation_level is None and not driver.in_transaction)
