"""How Alembic reaches an outbox.

`mailqueue db upgrade` and the daemon hand over an open connection. In a checkout plain
`alembic upgrade head` works too: on the URL of `-x url=…`, of the variable
MAILQUEUE_DATABASE__URL, or on outbox.db in the current directory.
"""

from __future__ import annotations

import os
from typing import Any

from alembic import context
from sqlalchemy import Connection

from mailqueue.outbox.engine import create_file, write_engine
from mailqueue.outbox.location import database_path, parse_url
from mailqueue.outbox.schema import VERSION_TABLE
from mailqueue.outbox.tables import PREFIX, metadata

DEFAULT_URL = "sqlite:///outbox.db"


def run() -> None:
    """Write the SQL out, or migrate the connection that was given or the URL that was named."""
    if context.is_offline_mode():
        _write_out(_url())
    elif (connection := context.config.attributes.get("connection")) is not None:
        _migrate(connection)
    else:
        _open_and_migrate(_url())


def _url() -> str:
    given: str | None = context.get_x_argument(as_dictionary=True).get("url")
    return given or os.environ.get("MAILQUEUE_DATABASE__URL") or DEFAULT_URL


def _write_out(url: str) -> None:
    dialect = parse_url(url).get_backend_name()
    _configure(dialect, dialect_name=dialect, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def _open_and_migrate(url: str) -> None:
    path = database_path(url)
    if path is not None:
        create_file(path)
    engine = write_engine(url)
    try:
        with engine.begin() as connection:
            _migrate(connection)
    finally:
        engine.dispose()


def _migrate(connection: Connection) -> None:
    _configure(connection.dialect.name, connection=connection)
    with context.begin_transaction():
        context.run_migrations()


def _configure(dialect: str, **options: Any) -> None:
    context.configure(
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        include_name=_is_ours,
        # SQLite alters a table by making it anew.
        render_as_batch=dialect == "sqlite",
        # With our engine's BEGIN, tables are made and changed in a transaction on SQLite too.
        transactional_ddl=True,
        # On SQLite Alembic takes a default of '' for a changed one.
        compare_server_default=dialect == "postgresql",
        **options,
    )


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Tell our tables from those of an application that keeps them in the same database."""
    return kind != "table" or (name is not None and name.startswith(PREFIX))


run()
