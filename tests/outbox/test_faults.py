from __future__ import annotations

import shutil
import sqlite3
import traceback
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError

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
from mailqueue.outbox.engine import async_write_engine, configure_sqlite, create_file, write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.tables import messages
from tests.support.rows import add_message, add_relay


def test_a_writer_that_keeps_the_database_is_busy(engine: Engine, url: str, path: Path) -> None:
    """Another's transaction longer than the busy timeout is named as such, with what to do."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(OutboxBusyError, match="trying again is safe"), translating(url):
        engine.connect().begin()
    other.close()


@pytest.mark.backend("sqlite")
def test_waiting_for_the_one_connection_is_busy_too(engine: Engine, url: str) -> None:
    """A thread whose turn did not come hears the same as a process."""
    with engine.begin(), pytest.raises(OutboxBusyError), translating(url):
        engine.connect()


async def test_asynchronous_errors_are_translated_alike(
    engine: Engine, url: str, path: Path
) -> None:
    """The asynchronous driver's errors carry the same codes."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    twin = async_write_engine(url, busy_timeout=0.05)
    with pytest.raises(OutboxBusyError), translating(url):
        async with twin.begin():
            pass
    await twin.dispose()
    other.close()


@pytest.fixture
def application(url: str, engine: Engine) -> Iterator[Engine]:
    """An application's engine on the outbox, whose transactions lock at the first write."""
    application = create_engine(url)
    configure_sqlite(application, busy_timeout=0.1, begin="DEFERRED")
    yield application
    application.dispose()


@pytest.mark.backend("sqlite")
def test_a_callers_transaction_that_cannot_wait_is_told_the_recipe(
    application: Engine, engine: Engine, url: str
) -> None:
    """A deferred transaction that has read fails at once, and the text names the remedy."""
    with application.connect() as connection:
        connection.execute(select(messages)).all()
        with engine.begin() as other:
            add_message(other)
        with (
            pytest.raises(OutboxBusyError, match=r"mailqueue\.configure_sqlite\(engine\)"),
            translating(url, callers_transaction=True),
        ):
            add_message(connection)


def test_what_may_not_be_written_is_read_only(reader: Engine, url: str, path: Path) -> None:
    """A database that this user cannot write is named with the modes that it needs."""
    with (
        pytest.raises(OutboxReadOnlyError, match=f"{path}.*0660.*2770"),
        translating(url),
        reader.begin() as connection,
    ):
        add_message(connection)


@pytest.mark.backend("sqlite")
def test_a_used_up_disk_is_full(engine: Engine, url: str) -> None:
    """No space left is said in so many words, and nothing was stored."""
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        with pytest.raises(OutboxFullError, match="nothing was stored"), translating(url):
            add_message(connection, raw=b"x" * 100_000)
        connection.rollback()
        assert connection.execute(select(messages)).all() == []


def test_a_file_of_another_kind_is_not_an_outbox(url: str, path: Path) -> None:
    """Somebody else's file is left as it is."""
    path.write_bytes(b"#!/bin/sh\n" * 1000)
    engine = write_engine(url)
    with pytest.raises(NotAnOutboxError, match="not a SQLite database"), translating(url):
        engine.connect()
    engine.dispose()

    assert path.read_bytes() == b"#!/bin/sh\n" * 1000


def test_a_damaged_database_is_not_an_outbox(url: str, path: Path, engine: Engine) -> None:
    """Damage is told apart from a wrong path, and the first thing to do is to copy the file."""
    engine.dispose()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    damaged = write_engine(url)
    with (
        pytest.raises(NotAnOutboxError, match=r"damaged.*copy the file"),
        translating(url),
        damaged.begin() as connection,
    ):
        add_message(connection)
    damaged.dispose()


def test_a_directory_is_not_an_outbox(tmp_path: Path) -> None:
    """A path without a file name is named as such."""
    url = f"sqlite:///{tmp_path}"
    engine = write_engine(url)
    with pytest.raises(NotAnOutboxError, match="is a directory"), translating(url):
        engine.connect()
    engine.dispose()


@pytest.mark.parametrize("name", ["outbox.db", "missing/outbox.db"])
def test_a_missing_file_has_no_outbox_yet(tmp_path: Path, name: str) -> None:
    """Where there is no file, the text names the command that creates it."""
    url = f"sqlite:///{tmp_path / name}"
    engine = write_engine(url)
    with pytest.raises(SchemaMissingError, match="mailqueue db upgrade"), translating(url):
        engine.connect()
    engine.dispose()


def test_a_database_without_our_tables_has_no_outbox_yet(place: str, path: Path) -> None:
    """An application that forgot to create the tables is told the command."""
    create_file(path)
    engine = write_engine(place)
    with (
        pytest.raises(SchemaMissingError, match="mailqueue db upgrade"),
        translating(place),
        engine.begin() as connection,
    ):
        add_message(connection)
    engine.dispose()


def test_a_column_that_is_not_there_means_old_tables(engine: Engine, url: str) -> None:
    """Code that is newer than the tables names the command that brings them on."""
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE mailqueue_relays DROP COLUMN troubles")
        with pytest.raises(SchemaOutdatedError, match="troubles"), translating(url):
            add_relay(connection, troubles=1)


def test_mistakes_in_the_applications_own_sql_are_not_ours(
    connection: Connection, url: str
) -> None:
    """A table that is none of ours is not taken for a missing outbox."""
    with pytest.raises(_NOT_OURS, match="theirs") as caught, translating(url):
        connection.exec_driver_sql("SELECT * FROM theirs")

    assert type(caught.value) in _NOT_OURS


def test_a_column_of_the_applications_own_is_not_ours(connection: Connection, url: str) -> None:
    """A column that is none of ours says nothing about the version of our tables."""
    connection.exec_driver_sql("CREATE TEMPORARY TABLE theirs (x int)")
    with pytest.raises(_NOT_OURS, match="nonsense") as caught, translating(url):
        connection.exec_driver_sql("SELECT nonsense FROM theirs")

    assert type(caught.value) in _NOT_OURS


# SQLite does not tell a mistake from a state of the database.
_NOT_OURS = (OutboxError, ProgrammingError)


def test_a_violated_constraint_goes_through_unchanged(engine: Engine, url: str) -> None:
    """What a program did wrong is for its programmer, and not a state of the database."""
    with pytest.raises(IntegrityError), translating(url), engine.begin() as connection:
        add_message(connection, on_doubt="perhaps")


@pytest.mark.backend("sqlite")
def test_neither_text_nor_traceback_holds_parameters(
    application: Engine, engine: Engine, url: str
) -> None:
    """Addresses and contents stay out of logs, even through an application's own engine."""
    with application.connect() as connection, engine.begin() as other:
        add_message(other)
        with pytest.raises(OutboxBusyError) as caught, translating(url, callers_transaction=True):
            connection.execute(
                insert(messages).values(sender="secret@example.org"),
                {
                    "enqueued_at": 0,
                    "header_message_id": "",
                    "size": 0,
                    "recipient_count": 0,
                    "eight_bit": 0,
                    "utf8_header": 0,
                    "relay": "",
                    "priority": 0,
                    "on_doubt": "retry",
                },
            )

    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_passwords_do_not_stand_in_texts() -> None:
    """A URL with a password is named without it."""
    url = "postgresql://mail:secret@db/mail"
    with pytest.raises(OutboxBusyError) as caught, translating(url):
        raise _postgresql("40P01")

    assert "secret" not in str(caught.value)
    assert "@db/mail" in str(caught.value)


class PostgresqlError(Exception):
    """What psycopg raises: an error with the SQLSTATE of the server."""

    sqlstate: str


def _postgresql(sqlstate: str) -> DBAPIError:
    error = PostgresqlError("the server's own words")
    error.sqlstate = sqlstate
    return OperationalError("SELECT 1 FROM mailqueue_relays", None, error)


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("40001", OutboxBusyError),
        ("40P01", OutboxBusyError),
        ("55P03", OutboxBusyError),
        ("25006", OutboxReadOnlyError),
        ("42501", OutboxReadOnlyError),
        ("53100", OutboxFullError),
        ("42P01", SchemaMissingError),
        ("42703", SchemaOutdatedError),
        ("42P02", OutboxError),
        ("57014", OutboxBusyError),
        ("57P01", OutboxUnavailableError),
        ("57P02", OutboxUnavailableError),
        ("57P03", OutboxUnavailableError),
        ("53300", OutboxUnavailableError),
        ("08006", OutboxUnavailableError),
        ("25P03", OutboxUnavailableError),
    ],
)
def test_postgresql_is_translated_by_its_codes(sqlstate: str, expected: type[OutboxError]) -> None:
    """The five digits of SQLSTATE decide, in whatever language the server speaks."""
    with pytest.raises(OutboxError) as caught, translating("postgresql://db/mail"):
        raise _postgresql(sqlstate)

    assert type(caught.value) is expected


def _disk_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


_Usage = namedtuple("_Usage", "total used free")


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize(("free", "expected"), [(0, OutboxFullError), (4096, OutboxError)])
def test_a_disk_error_means_full_only_where_nothing_is_free(
    monkeypatch: pytest.MonkeyPatch, url: str, free: int, expected: type[OutboxError]
) -> None:
    """A quota shows as an error of the disk; a dying disk is not mistaken for a full one."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(10_000, 10_000 - free, free))
    with pytest.raises(OutboxError) as caught, translating(url):
        raise _disk_error()

    assert type(caught.value) is expected


def test_what_is_no_error_of_the_database_goes_through(url: str) -> None:
    """Only the database's errors are translated."""
    with pytest.raises(ZeroDivisionError), translating(url):
        _ = 1 // 0


def test_without_an_error_nothing_happens(connection: Connection, url: str) -> None:
    """The border is not felt by those who pass it properly."""
    with translating(url):
        assert connection.scalar(text("SELECT 1")) == 1
