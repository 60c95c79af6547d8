from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import OperationalError, StatementError
from sqlalchemy.ext.asyncio import create_async_engine

from mailqueue.errors import OutboxError
from mailqueue.outbox import schema
from mailqueue.outbox.engine import (
    async_read_engine,
    async_write_engine,
    configure_sqlite,
    create_file,
    read_engine,
    write_engine,
)
from mailqueue.outbox.tables import messages, recipients
from tests.support.rows import add_message

pytestmark = pytest.mark.backend("sqlite")

INCREMENTAL, FULL, ON, OFF = 2, 2, 1, 0


def pragma(connection: Connection, name: str) -> object:
    """Ask a connection how it is set."""
    return connection.exec_driver_sql(f"PRAGMA {name}").scalar()


@pytest.fixture
def umask() -> Iterator[None]:
    """The umask of a careful administrator, which would take the group's rights away."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("journal_mode", "wal"),
        ("synchronous", FULL),
        ("foreign_keys", ON),
        ("auto_vacuum", INCREMENTAL),
        ("busy_timeout", 100),
        ("trusted_schema", OFF),
        ("cell_size_check", ON),
        ("wal_autocheckpoint", 10_000),
    ],
)
def test_a_writing_connection_follows_the_recipe(engine: Engine, name: str, value: object) -> None:
    """What the promises rest on is set on the connections that write."""
    with engine.connect() as connection:
        assert pragma(connection, name) == value


def test_the_driver_begins_nothing_by_itself(engine: Engine) -> None:
    """When a transaction begins, and of which kind it is, is said by us alone."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        assert driver.isolation_level is None


async def test_an_asynchronous_connection_follows_the_same_recipe(url: str, engine: Engine) -> None:
    """Asynchronous engines are set up as the others are."""
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    twin = async_write_engine(url, busy_timeout=0.1)
    async with twin.connect() as connection:
        found = [(await connection.exec_driver_sql(f"PRAGMA {name}")).scalar() for name in names]
    await twin.dispose()

    assert found == ["wal", FULL, ON, 100]


def test_a_write_transaction_takes_its_turn_when_it_begins(engine: Engine, url: str) -> None:
    """Who only has begun to write keeps others from beginning, so nobody fails half-way."""
    other = write_engine(url, busy_timeout=0)
    with (
        engine.begin(),
        other.connect() as late,
        pytest.raises(OperationalError, match="locked"),
    ):
        late.begin()
    other.dispose()


def test_a_transaction_that_could_not_begin_can_be_begun_again(engine: Engine, url: str) -> None:
    """After a busy database the same connection is as good as before."""
    other = write_engine(url, busy_timeout=0)
    with other.connect() as late:
        with engine.begin(), pytest.raises(OperationalError):
            late.begin()
        with late.begin():
            add_message(late)
    other.dispose()

    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(messages)) == 1


def test_tables_are_made_in_transactions(engine: Engine) -> None:
    """DDL is rolled back with everything else, which SQLite's driver alone does not do."""
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE made (x)")
        connection.rollback()
        assert not connection.dialect.has_table(connection, "made")


def test_readers_do_not_wait_for_a_writer(engine: Engine, reader: Engine) -> None:
    """A read sees the last commit while a write is under way."""
    with engine.begin() as writing:
        add_message(writing)
        with reader.connect() as reading:
            assert reading.scalar(select(func.count()).select_from(messages)) == 0


def test_a_read_engine_cannot_write(reader: Engine) -> None:
    """Whoever was given the read side changes nothing, whatever statement it is."""
    with reader.connect() as connection, pytest.raises(OperationalError, match="readonly"):
        add_message(connection)


async def test_an_asynchronous_read_engine_cannot_write(url: str, engine: Engine) -> None:
    """The asynchronous read side changes nothing either."""
    twin = async_read_engine(url)
    async with twin.connect() as connection:
        with pytest.raises(OperationalError, match="readonly"):
            await connection.run_sync(add_message)
    await twin.dispose()


@pytest.mark.parametrize("opened", [write_engine, read_engine])
def test_opening_creates_no_file(opened: object, place: str, path: Path) -> None:
    """A mistyped path is an error and not a second, empty outbox."""
    engine = opened(place)  # type: ignore[operator]
    with pytest.raises(OperationalError, match="unable to open"):
        engine.connect()
    engine.dispose()

    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("sqlite:///file:outbox?mode=memory&uri=true", "options"),
        ("sqlite:////var/lib/outbox.db?timeout=1", "options"),
        ("sqlite://server/share/outbox.db", "no host"),
        ("sqlite://user:secret@/outbox.db", "no host"),
        ("mysql://root@localhost/mail", "'mysql'"),
        ("/var/lib/outbox.db", "not a database URL"),
        ("", "not a database URL"),
    ],
)
def test_what_cannot_be_an_outbox_is_refused_by_its_url(url: str, said: str) -> None:
    """A URL that would lose or misplace mail is refused with the form that would do."""
    with pytest.raises(OutboxError, match=said) as caught:
        write_engine(url)

    assert "sqlite:////absolute/outbox.db" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["white space.db", "100%.db", "a#b.db", "what?.db", "größe.db"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    """Characters that mean something in a URL are only characters in a path."""
    engine = write_engine(URL.create("sqlite", database=str(tmp_path / name)))
    schema.create(engine)
    engine.dispose()

    assert (tmp_path / name).stat().st_size > 0


def test_a_relative_path_is_settled_when_the_engine_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that changes its directory later still has the same outbox."""
    monkeypatch.chdir(tmp_path)
    engine = write_engine("sqlite:///outbox.db")
    monkeypatch.chdir("/")
    schema.create(engine)
    engine.dispose()

    assert (tmp_path / "outbox.db").exists()


def test_error_messages_hold_no_parameters(connection: Connection) -> None:
    """Addresses and mails do not leak into logs by way of errors."""
    with pytest.raises(StatementError) as caught:
        add_message(connection, "anna@example.net", on_doubt="perhaps", sender="secret@example.org")

    assert "secret@example.org" not in str(caught.value)


def test_the_file_is_created_for_its_group(path: Path, umask: None) -> None:
    """Producers and the daemon are different users of one group, whatever their umask."""
    assert create_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_log_and_shared_memory_are_for_the_group_too(path: Path, place: str, umask: None) -> None:
    """Whoever opens the outbox first must not shut the others out of the log."""
    engine = write_engine(place)
    schema.create(engine)
    with engine.connect():
        modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.glob("outbox.db-*")}
    engine.dispose()

    assert modes == {0o660}


def test_a_file_that_is_there_is_left_alone(path: Path) -> None:
    """Creating it again neither empties the outbox nor changes who may use it."""
    path.write_bytes(b"something")
    path.chmod(0o600)

    assert not create_file(path)
    assert path.read_bytes() == b"something"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    """Nobody gets the outbox written elsewhere by planting a link."""
    target = tmp_path / "elsewhere"
    path.symlink_to(target)

    with pytest.raises(OutboxError, match="not a regular file"):
        create_file(path)
    assert not target.exists()


def test_a_directory_in_its_place_is_refused(tmp_path: Path) -> None:
    """What is no file is named as such."""
    with pytest.raises(OutboxError, match="not a regular file"):
        create_file(tmp_path)


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    """The directory is not created, because its mode and group are for the administrator."""
    missing = tmp_path / "missing"
    with pytest.raises(OutboxError, match=f"the directory {missing} does not exist; correct"):
        create_file(missing / "outbox.db")
    assert not missing.exists()


@pytest.mark.parametrize("open_engine", [write_engine, read_engine, async_write_engine])
def test_postgresql_without_its_driver(
    monkeypatch: pytest.MonkeyPatch, open_engine: Callable[[str], object]
) -> None:
    """Without psycopg the error names the extra, and no password."""
    monkeypatch.setattr("mailqueue.outbox.engine.find_spec", lambda _: None)
    with pytest.raises(OutboxError, match=r"pip install 'mailqueue\[postgres\]'") as error:
        open_engine("postgresql://mail:canary@db/mail")
    assert "canary" not in str(error.value)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Engine]:
    """An application's own engine, as SQLAlchemy makes it."""
    engine = create_engine(f"sqlite:///{tmp_path / 'application.db'}")
    yield engine
    engine.dispose()


def test_a_callers_engine_is_given_what_the_promises_need(application: Engine) -> None:
    """Mail in an application's own file is as durable as in ours, whatever it chose before."""

    @event.listens_for(application, "connect")
    def choose(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    configure_sqlite(application, busy_timeout=3)

    with application.connect() as connection:
        found = [
            pragma(connection, name)
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", FULL, ON, 3000]


def test_a_callers_schema_stays_trusted(application: Engine) -> None:
    """An index on a function of the application's own keeps working."""
    configure_sqlite(application)

    with application.connect() as connection:
        assert pragma(connection, "trusted_schema") == ON


def test_connections_opened_before_are_configured_too(application: Engine) -> None:
    """An engine that was used before it was configured keeps no connection of the old kind."""
    with application.connect() as connection:
        assert pragma(connection, "foreign_keys") == OFF
    configure_sqlite(application)

    with application.connect() as connection:
        assert pragma(connection, "foreign_keys") == ON


@pytest.mark.parametrize(("begin", "waits"), [("IMMEDIATE", True), ("DEFERRED", False)])
def test_the_caller_chooses_when_a_transaction_takes_its_turn(
    application: Engine, begin: str, waits: bool
) -> None:
    """IMMEDIATE locks at the beginning, DEFERRED at the first write."""
    configure_sqlite(application, begin=begin)  # type: ignore[arg-type]
    with application.connect() as connection:
        connection.begin()
        other = sqlite3.connect(str(application.url.database), timeout=0, isolation_level=None)
        if waits:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        else:
            other.execute("BEGIN IMMEDIATE")
        other.close()


def test_configuring_twice_changes_nothing(application: Engine) -> None:
    """Two parts of an application may both ask for it; transactions begin once."""
    begun: list[str] = []
    configure_sqlite(application)
    configure_sqlite(application, begin="DEFERRED")

    @event.listens_for(application, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        begun.append(statement)

    with application.begin():
        pass
    assert begun == ["BEGIN IMMEDIATE"]


async def test_a_callers_asynchronous_engine_is_configured(tmp_path: Path) -> None:
    """Asynchronous applications keep our tables in their own file as well."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'application.db'}")
    configure_sqlite(engine)
    async with engine.begin() as connection:
        found = (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()
    await engine.dispose()

    assert found == FULL


def test_a_database_in_memory_cannot_be_configured() -> None:
    """Where WAL is impossible the application hears of it instead of losing mail later."""
    engine = create_engine("sqlite://")
    configure_sqlite(engine)

    with pytest.raises(OutboxError, match=r"'memory'.*cannot use WAL"):
        engine.connect()
    engine.dispose()


def test_the_file_of_an_application_keeps_its_layout(application: Engine) -> None:
    """Incremental vacuum is settled with the first page, and no later connection writes for it."""
    with application.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (x)")
    configure_sqlite(application)

    with application.connect() as connection:
        assert pragma(connection, "auto_vacuum") == 0


def test_threads_share_the_one_writing_connection(url: str, engine: Engine) -> None:
    """Threads that enqueue at once wait for each other and lose nothing."""
    patient = write_engine(url, busy_timeout=30)

    def produce() -> None:
        for _ in range(20):
            with patient.begin() as connection:
                add_message(connection)

    threads = [threading.Thread(target=produce) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    patient.dispose()

    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(recipients)) == 100


PRODUCER = """
import sys
from mailqueue.outbox.engine import write_engine
from tests.support.rows import add_message
engine = write_engine(sys.argv[1], busy_timeout=30)
for _ in range(50):
    with engine.begin() as connection:
        add_message(connection)
"""


def test_processes_write_to_one_file(url: str, engine: Engine) -> None:
    """Two processes that enqueue at once wait for each other and lose nothing."""
    producers = [
        subprocess.Popen([sys.executable, "-c", PRODUCER, url], cwd=Path(__file__).parents[2])
        for _ in range(2)
    ]
    assert [producer.wait(60) for producer in producers] == [0, 0]

    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(recipients)) == 100


OPENER = """
import sys
from mailqueue.outbox.engine import write_engine
engine = write_engine(sys.argv[1], busy_timeout=30)
with engine.begin() as connection:
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS first (x)")
    print(connection.exec_driver_sql("PRAGMA auto_vacuum").scalar())
"""


def test_a_new_file_may_be_opened_by_several_at_once(url: str, path: Path) -> None:
    """Whoever comes first sets the file up, and all of them find it as it should be."""
    create_file(path)
    openers = [
        subprocess.Popen([sys.executable, "-c", OPENER, url], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [opener.communicate(timeout=60)[0] for opener in openers] == ["2\n"] * 4
