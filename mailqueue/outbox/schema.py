"""The version of the tables: which one this code knows, which one is there, and how to get on."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
)
from sqlalchemy.schema import PrimaryKeyConstraint

from mailqueue.errors import SchemaMissingError, SchemaOutdatedError, SchemaTooNewError
from mailqueue.outbox import fence, views
from mailqueue.outbox.engine import create_file
from mailqueue.outbox.location import database_path, describe
from mailqueue.outbox.session import take_time
from mailqueue.outbox.tables import PREFIX, metadata

HEAD: Final = "0003"
"""The revision that this code works with; revisions are numbers in the order of their making."""
VERSION_TABLE: Final = f"{PREFIX}schema_version"

# As Alembic makes it: one row, one column.
_version = Table(
    VERSION_TABLE,
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name=f"{VERSION_TABLE}_pkc"),
)


def check(connection: Connection) -> None:
    """Do nothing if the tables are of the version that this code knows.

    Raises `SchemaMissingError`, `SchemaOutdatedError` or `SchemaTooNewError`, each with
    what to do about it.
    """
    found, where = current(connection), describe(connection.engine.url)
    if found is None:
        raise SchemaMissingError(f"there is no outbox in {where} yet; run `mailqueue db upgrade`")
    _refuse_newer(found, where)
    if found != HEAD:
        raise SchemaOutdatedError(
            f"the tables in {where} are of version {found} and this mailqueue needs {HEAD}; "
            "run `mailqueue db upgrade`"
        )


def current(connection: Connection) -> str | None:
    """Return the revision of the tables that are there, or None where there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.scalar(select(_version.c.version_num))


def upgrade(engine: Engine) -> None:
    """Bring the tables to `HEAD`, creating file and tables where there are none.

    One transaction: other processes see all of it or nothing, and of two that upgrade at
    once the second finds the work done. Raises `SchemaTooNewError` and changes nothing where a
    newer mailqueue has been, and `OutboxFencedError` where the outbox is being copied or was.
    """
    # Only whoever migrates loads Alembic; producers enqueue without it.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations()).replace("%", "%%"))
    _create_file(engine)
    with engine.begin() as connection:
        take_time(connection)
        _wait_for_turn(connection)
        _refuse_newer(current(connection) or "", describe(engine.url))
        # SQLite alters a table by making it anew, without the triggers on it.
        fence.check(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def create(engine: Engine) -> None:
    """Create tables and views as they are at `HEAD`, without walking through the migrations.

    For tests: a test shows that the outcome is the same.
    """
    _create_file(engine)
    with engine.begin() as connection:
        metadata.create_all(connection)
        for statement in views.statements(connection.dialect.name):
            connection.exec_driver_sql(statement)
        _version.create(connection)
        connection.execute(insert(_version).values(version_num=HEAD))


def migrations() -> Path:
    """Return the directory of the migrations: inside an installed package, beside a checkout."""
    # From this file and not by import, which would find the copy that an editable
    # installation leaves in site-packages.
    package = Path(__file__).parents[1]
    packaged = package / "_migrations"
    return packaged if packaged.is_dir() else package.parent / "migrations"


def _create_file(engine: Engine) -> None:
    path = database_path(engine.url)
    if path is not None:
        create_file(path)


def _wait_for_turn(connection: Connection) -> None:
    # SQLite's write lock does this by itself.
    if connection.dialect.name == "postgresql":
        # However long the one before takes. What it alters is waited for no longer than usual.
        usual = connection.scalar(select(func.current_setting("lock_timeout")))
        connection.execute(select(func.set_config("lock_timeout", "0", True)))
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(VERSION_TABLE))))
        connection.execute(select(func.set_config("lock_timeout", usual, True)))


def _refuse_newer(found: str, where: str) -> None:
    # What is no number was not made by any version of ours that came before.
    if not found or (found.isdecimal() and int(found) <= int(HEAD)):
        return
    raise SchemaTooNewError(
        f"the tables in {where} are of version {found}, which is newer than the {HEAD} that this "
        "mailqueue knows; install the version of mailqueue that made them"
    )
