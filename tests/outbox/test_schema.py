from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from mailqueue.errors import SchemaMissingError, SchemaOutdatedError, SchemaTooNewError
from mailqueue.outbox import schema, views
from mailqueue.outbox.engine import create_file, write_engine
from mailqueue.outbox.tables import metadata
from tests.support.rows import add_message

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def empty(place: str, path: Path) -> Iterator[Engine]:
    """The write engine of a file without tables."""
    create_file(path)
    engine = write_engine(place, busy_timeout=30)
    yield engine
    engine.dispose()


def master(path: Path) -> dict[str, str]:
    """Return the whole schema of a file: what there is, and how it was made, less white space."""
    with sqlite3.connect(path) as connection:
        rows = connection.execute(
            "SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master"
        )
        found = {name: re.sub(r"\s+", " ", sql).strip() for name, sql in rows}
    connection.close()
    return found


def set_version(connection: Connection, version: str) -> None:
    """Let the tables claim to be of another version."""
    connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = :v"), {"v": version})


def test_migrations_and_tables_are_the_same(tmp_path: Path) -> None:
    """An outbox that was migrated from nothing is in every word the one that the code means."""
    paths = (tmp_path / "created.db", tmp_path / "migrated.db")
    for path, make in zip(paths, (schema.create, schema.upgrade), strict=True):
        engine = write_engine(f"sqlite:///{path}")
        make(engine)
        engine.dispose()

    created, migrated = map(master, paths)
    assert created == migrated
    assert "view mailqueue_failures" in created
    assert "STRICT" in created["table mailqueue_recipients"]


def test_autogenerate_finds_nothing_to_do(empty: Engine) -> None:
    """A table changed without a migration does not go unnoticed."""
    schema.upgrade(empty)
    with empty.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": schema.VERSION_TABLE}
        )
        assert compare_metadata(context, metadata) == []


def test_head_is_the_last_migration() -> None:
    """A new migration comes with a new `HEAD`, or every check of the version would be wrong."""
    config = Config()
    config.set_main_option("script_location", str(schema.migrations()))

    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


def migration(name: str) -> ModuleType:
    """Load a migration as Alembic does."""
    specification = importlib.util.spec_from_file_location(
        name, schema.migrations() / "versions" / f"{name}.py"
    )
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_last_migration_has_the_views_of_the_code() -> None:
    """The frozen views are those of today, in both dialects, until a migration changes them."""
    frozen = migration("0001_outbox")  # the last that touched a view

    assert frozen.VIEWS == views.VIEWS
    assert frozen.DIALECTS == views.DIALECTS


def test_upgrading_twice_is_harmless(empty: Engine) -> None:
    """Whoever upgrades at every start finds the work done."""
    schema.upgrade(empty)
    with empty.begin() as connection:
        add_message(connection)
    schema.upgrade(empty)

    with empty.connect() as connection:
        schema.check(connection)
        assert connection.scalar(text("SELECT count(*) FROM mailqueue_messages")) == 1


def test_upgrading_creates_the_file(place: str, path: Path) -> None:
    """One command makes a new outbox, in a file that the group may write."""
    engine = write_engine(place)
    schema.upgrade(engine)
    engine.dispose()

    assert path.stat().st_mode & 0o777 == 0o660


def test_an_upgrade_happens_wholly_or_not_at_all(empty: Engine) -> None:
    """A migration that fails on the way leaves the database as it was."""
    with empty.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE mailqueue_workers (theirs)")
    with pytest.raises(OperationalError, match="already exists"):
        schema.upgrade(empty)

    with empty.connect() as connection:
        assert schema.current(connection) is None
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master").scalars().all()
    assert names == ["mailqueue_workers"]


UPGRADE = """
import sys
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
engine = write_engine(sys.argv[1], busy_timeout=60)
schema.upgrade(engine)
"""


def test_processes_may_upgrade_at_once(place: str, empty: Engine) -> None:
    """Two services that start together do not trip over each other."""
    running = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, place], cwd=CHECKOUT) for _ in range(2)
    ]
    assert [process.wait(90) for process in running] == [0, 0]

    with empty.connect() as connection:
        schema.check(connection)


def test_tables_that_are_missing_are_named(empty: Engine, path: Path) -> None:
    """A new database is told apart from an old one, and the command is named."""
    with empty.connect() as connection:
        assert schema.current(connection) is None
        with pytest.raises(SchemaMissingError, match=f"{path}.*mailqueue db upgrade"):
            schema.check(connection)


def test_old_tables_are_named(connection: Connection) -> None:
    """Tables of an earlier version ask for an upgrade."""
    set_version(connection, "0000")
    with pytest.raises(SchemaOutdatedError, match=r"0000.*mailqueue db upgrade"):
        schema.check(connection)


NEXT = f"{int(schema.HEAD) + 1:04}"


@pytest.mark.parametrize("version", [NEXT, "9999", "somebody-elses"])
def test_newer_tables_are_refused(connection: Connection, version: str) -> None:
    """A daemon does not work on tables that it does not know."""
    set_version(connection, version)
    with pytest.raises(SchemaTooNewError, match=version):
        schema.check(connection)


def test_newer_tables_are_not_upgraded(engine: Engine) -> None:
    """An old mailqueue leaves what a newer one has made."""
    with engine.begin() as connection:
        set_version(connection, NEXT)
    with pytest.raises(SchemaTooNewError):
        schema.upgrade(engine)

    with engine.connect() as connection:
        assert schema.current(connection) == NEXT


def test_tables_of_this_version_pass(connection: Connection) -> None:
    """Nothing is said where nothing is wrong."""
    schema.check(connection)


@pytest.mark.parametrize(
    ("made", "expected"), [("mailqueue/_migrations", "mailqueue/_migrations"), ("", "migrations")]
)
def test_the_migrations_are_those_of_the_running_package(
    tmp_path: Path, made: str, expected: str
) -> None:
    """Installed they are inside the package, in a checkout beside it, and never another copy's."""
    shutil.copytree(CHECKOUT / "mailqueue", tmp_path / "mailqueue")
    (tmp_path / made).mkdir(exist_ok=True)
    code = "from mailqueue.outbox import schema; print(schema.migrations())"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout == f"{tmp_path / expected}\n"


def test_migrations_are_where_they_are_looked_for() -> None:
    """The tests run against the migrations of this checkout."""
    assert schema.migrations() == CHECKOUT / "migrations"
    assert (schema.migrations() / "env.py").is_file()


def test_producers_do_not_load_alembic() -> None:
    """A web process that only checks the version and enqueues stays light."""
    code = "import sys, mailqueue.outbox.schema; print('alembic' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"


def alembic(*arguments: str, **environment: str) -> str:
    """Run plain Alembic in the checkout and return what it wrote."""
    run = subprocess.run(
        [sys.executable, "-m", "alembic", *arguments],
        cwd=CHECKOUT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_plain_alembic_upgrades_the_url_of_the_variable(place: str, path: Path) -> None:
    """Developers need no configuration file, and the daemon's variable works for both."""
    alembic("upgrade", "head", MAILQUEUE_DATABASE__URL=place)

    assert "table mailqueue_messages" in master(path)


def test_plain_alembic_goes_up_and_down(place: str, path: Path) -> None:
    """Every step back undoes its step up, and leaves the application's own tables alone."""
    create_file(path)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    alembic("-x", f"url={place}", "upgrade", "head")
    alembic("-x", f"url={place}", "downgrade", "base")

    tables = {name for name in master(path) if name.startswith("table") and "sqlite_" not in name}
    assert tables == {"table theirs", f"table {schema.VERSION_TABLE}"}


def test_an_applications_own_tables_are_not_proposed_for_dropping(place: str, path: Path) -> None:
    """In an application's database Alembic sees our tables and no others."""
    engine = write_engine(place)
    schema.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (x)")
    engine.dispose()

    assert "No new upgrade operations" in alembic("-x", f"url={place}", "check")


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
def test_the_steps_can_be_written_out(dialect: str, tmp_path: Path) -> None:
    """Administrators who let nobody else change their database get the statements to read."""
    urls = {"postgresql": "postgresql://db/mail", "sqlite": f"sqlite:///{tmp_path}/outbox.db"}
    written = alembic("-x", f"url={urls[dialect]}", "upgrade", "head", "--sql")

    for name in metadata.tables:
        assert f"CREATE TABLE {name} " in written
    for statement in views.statements(dialect):
        assert statement in written
    assert ("BIGSERIAL" in written) is (dialect == "postgresql")
    assert ("STRICT" in written) is (dialect == "sqlite")
    assert written.count("WHERE due_at IS NOT NULL") == 1


def test_what_was_written_out_makes_the_same_outbox(tmp_path: Path) -> None:
    """The statements, run by hand, lead to the same tables as the upgrade."""
    written = alembic("-x", f"url=sqlite:///{tmp_path}/unused.db", "upgrade", "head", "--sql")
    with sqlite3.connect(tmp_path / "by-hand.db") as connection:
        connection.executescript(written)
    connection.close()
    engine = write_engine(f"sqlite:///{tmp_path}/upgraded.db")
    schema.upgrade(engine)
    engine.dispose()

    assert master(tmp_path / "by-hand.db") == master(tmp_path / "upgraded.db")
    assert not (tmp_path / "unused.db").exists()
