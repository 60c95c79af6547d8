"""The tables as PostgreSQL has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import ProgrammingError

from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.tables import metadata
from tests.outbox.test_schema import alembic
from tests.support.databases import Databases

CATALOGUE = {
    "tables": """
        SELECT c.relname, c.relkind, (SELECT array_agg(o ORDER BY o) FROM unnest(c.reloptions) o)
        FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1""",
    "columns": """
        SELECT table_name, ordinal_position, column_name, data_type, is_nullable, column_default
        FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "views": "SELECT viewname, definition FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
}


def catalogue(connection: Connection) -> dict[str, list[Any]]:
    """Return all that the database knows of what stands in it."""
    return {
        kind: [tuple(row) for row in connection.execute(text(query))]
        for kind, query in CATALOGUE.items()
    }


@pytest.fixture
def bare(databases: Databases) -> Iterator[Engine]:
    """The write engine of a database without a table."""
    url = databases.bare()
    engine = write_engine(url)
    yield engine
    engine.dispose()
    databases.give_back(url)


@pytest.fixture
def migrated(postgres_url: str) -> Iterator[Engine]:
    """The write engine of an outbox that walked through every migration."""
    engine = write_engine(postgres_url)
    yield engine
    engine.dispose()


def test_migrations_and_tables_are_the_same(bare: Engine, migrated: Engine) -> None:
    """An outbox that was migrated from nothing is in every point the one that the code means."""
    schema.create(bare)
    with bare.connect() as created, migrated.connect() as upgraded:
        assert catalogue(created) == catalogue(upgraded)


def test_autogenerate_finds_nothing_to_do(migrated: Engine) -> None:
    """A table changed without a migration does not go unnoticed."""
    with migrated.connect() as connection:
        options = {"version_table": schema.VERSION_TABLE, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_what_changes_is_vacuumed_often_and_has_room(migrated: Engine) -> None:
    """A queue's rows die fast: its table is not left to settings made for tables that grow."""
    with migrated.connect() as connection:
        tables = {name: options for name, kind, options in catalogue(connection)["tables"]}
    assert "fillfactor=75" in tables["mailqueue_recipients"]
    assert "autovacuum_vacuum_scale_factor=0.02" in tables["mailqueue_recipients"]
    assert "autovacuum_vacuum_scale_factor=0.05" in tables["mailqueue_contents"]


def walk(engine: Engine, way: Callable[[Config, str], None], to: str) -> dict[str, list[Any]]:
    """Go up or down to a revision, and return what stands there then."""
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        way(config, to)
    with engine.connect() as connection:
        return catalogue(connection)


def test_each_step_back_undoes_its_step(bare: Engine) -> None:
    """Every revision leaves what the one before it had made, and the first leaves nothing."""
    revisions = [f"{number:04}" for number in range(1, int(schema.HEAD) + 1)]
    made = {revision: walk(bare, command.upgrade, revision) for revision in revisions}
    for revision in reversed(revisions[:-1]):
        assert walk(bare, command.downgrade, revision) == made[revision]
    left = walk(bare, command.downgrade, "base")
    assert [name for name, *_ in left["tables"]] == [
        schema.VERSION_TABLE,
        f"{schema.VERSION_TABLE}_pkc",
    ]


def test_an_upgrade_happens_wholly_or_not_at_all(bare: Engine) -> None:
    """A migration that fails on the way leaves the database as it was."""
    with bare.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mailqueue_workers (theirs int)")
    with pytest.raises(ProgrammingError, match="already exists"):
        schema.upgrade(bare)
    with bare.connect() as connection:
        assert schema.current(connection) is None
        assert [name for name, *_ in catalogue(connection)["tables"]] == ["mailqueue_workers"]


def test_two_may_upgrade_at_once(bare: Engine) -> None:
    """Two services that start together do not trip over each other."""
    failed: list[Exception] = []

    def upgrade() -> None:
        engine = write_engine(bare.url)
        try:
            barrier.wait(10)
            schema.upgrade(engine)
        except Exception as error:  # noqa: BLE001 - told to the test
            failed.append(error)
        finally:
            engine.dispose()

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=upgrade) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failed == []
    with bare.connect() as connection:
        schema.check(connection)


def test_what_was_written_out_makes_the_same_outbox(bare: Engine, migrated: Engine) -> None:
    """The statements, run by hand, lead to the same tables as the upgrade."""
    written = alembic("-x", "url=postgresql://db/mail", "upgrade", "head", "--sql")
    with bare.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.execute(written)
        connection.rollback()
    with bare.connect() as by_hand, migrated.connect() as upgraded:
        assert catalogue(by_hand) == catalogue(upgraded)


def test_an_applications_own_tables_are_not_proposed_for_dropping(migrated: Engine) -> None:
    """In an application's database Alembic sees our tables and no others."""
    with migrated.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (x int)")
    url = migrated.url.render_as_string(hide_password=False)
    assert "No new upgrade operations" in alembic("-x", f"url={url}", "check")
