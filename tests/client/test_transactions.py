from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from mailqueue import (
    AsyncOutbox,
    IdempotencyError,
    Outbox,
    OutboxBusyError,
    OutboxError,
    SchemaMissingError,
    configure_sqlite,
)
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.schema import create
from tests.client.parts import RAW, Awaited, query
from tests.support.rows import make_tables
from tests.support.shell import shell_on

COUNT = "SELECT count(*) FROM mailqueue_messages"
KINDS = ["Connection", "Session", "scoped_session", "AsyncConnection", "AsyncSession"]


@dataclass(frozen=True, slots=True)
class Application:
    """An application with a table of its own beside the outbox, and a transaction under way."""

    outbox: Any
    transaction: Any

    async def order(self) -> None:
        """Write something of the application's own."""
        statement = "INSERT INTO orders (id) VALUES (1)"
        if isinstance(self.transaction, AsyncConnection):
            await self.transaction.exec_driver_sql(statement)
        elif isinstance(self.transaction, AsyncSession):
            await (await self.transaction.connection()).exec_driver_sql(statement)
        elif isinstance(self.transaction, Session | scoped_session):
            self.transaction.connection().exec_driver_sql(statement)
        else:
            self.transaction.exec_driver_sql(statement)

    async def enqueue(self, **wishes: Any) -> Any:
        """Enqueue in the application's transaction."""
        return await self.outbox.enqueue(RAW, connection=self.transaction, **wishes)

    async def commit(self) -> None:
        """Commit the application's transaction."""
        if (done := self.transaction.commit()) is not None:
            await done

    async def roll_back(self) -> None:
        """Roll the application's transaction back."""
        if (done := self.transaction.rollback()) is not None:
            await done

    async def close(self) -> None:
        """Give the connection back."""
        if (done := self.transaction.close()) is not None:
            await done
        if isinstance(self.transaction, scoped_session):
            self.transaction.remove()


def begin(kind: str, engine: Any) -> Any:
    """Return a connection or session of ``kind`` that has not done anything yet."""
    match kind:
        case "Connection" | "AsyncConnection":
            return engine.connect()
        case "Session":
            return Session(engine)
        case "scoped_session":
            return scoped_session(sessionmaker(engine))
        case _:
            return AsyncSession(engine)


@pytest.fixture
def database(url: str) -> str:
    """The URL of an application's database that has our tables too."""
    engine = create_engine(url)
    configure_sqlite(engine)
    make_tables(engine)
    engine.dispose()
    shell = shell_on(url)
    shell.execute("CREATE TABLE orders (id INTEGER)")
    shell.close()
    return url


@pytest.fixture(params=["configured", "as it comes"])
def configured(request: pytest.FixtureRequest) -> bool:
    """Whether the application has called `configure_sqlite`."""
    return bool(request.param == "configured")


@pytest.fixture(params=KINDS)
async def application(
    request: pytest.FixtureRequest, database: str, configured: bool
) -> AsyncIterator[Application]:
    """Begin a transaction of each kind, with engines of both makes."""
    engine: Engine | AsyncEngine
    if request.param.startswith("Async"):
        engine = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
        outbox: Any = AsyncOutbox(engine)
    else:
        engine = create_engine(database)
        outbox = Awaited(Outbox(engine))
    if configured:
        configure_sqlite(engine)
    transaction = begin(request.param, engine)
    if isinstance(transaction, AsyncConnection):
        await transaction.start()
    application = Application(outbox, transaction)
    yield application
    await application.close()
    if isinstance(engine, AsyncEngine):
        await engine.dispose()
    else:
        engine.dispose()


async def test_commit(application: Application, url: str) -> None:
    """With the application's own changes the mail becomes visible, and not a moment earlier."""
    await application.order()
    receipt = await application.enqueue()
    assert query(url, COUNT) == [(0,)]
    await application.commit()
    assert query(url, "SELECT id FROM mailqueue_messages") == [(receipt.id,)]
    assert query(url, "SELECT count(*) FROM orders") == [(1,)]


async def test_roll_back(application: Application, url: str) -> None:
    """What the application rolls back was never in the outbox, nor is what it wrote itself."""
    await application.order()
    await application.enqueue()
    await application.roll_back()
    assert query(url, COUNT) == [(0,)]
    assert query(url, "SELECT count(*) FROM mailqueue_recipients") == [(0,)]
    assert query(url, "SELECT count(*) FROM orders") == [(0,)]


async def test_enqueue_begins_the_transaction(application: Application, url: str) -> None:
    """Mail that is the first thing in a transaction can be rolled back like everything else."""
    await application.enqueue()
    assert query(url, COUNT) == [(0,)]
    await application.roll_back()
    assert query(url, COUNT) == [(0,)]


async def test_every_verb_sees_it(application: Application, url: str) -> None:
    """Within the transaction the message can be asked for, cancelled and enqueued along others."""
    receipt = await application.enqueue(idempotency_key="k")
    assert (await application.enqueue(idempotency_key="k")).duplicate
    outbox, transaction = application.outbox, application.transaction
    assert (await outbox.status(receipt.id, connection=transaction)).id == receipt.id
    assert (await outbox.cancel(receipt.id, connection=transaction)).is_complete
    assert len(await outbox.enqueue_many([RAW, RAW], connection=transaction)) == 2
    assert query(url, COUNT) == [(0,)]
    await application.commit()
    assert query(url, "SELECT state FROM mailqueue_recipients ORDER BY id") == [
        ("cancelled",),
        ("queued",),
        ("queued",),
    ]


async def test_an_error_leaves_the_rest_to_the_caller(application: Application, url: str) -> None:
    """After bad input the application may go on and commit what it has: no part of it is ours."""
    await application.enqueue(idempotency_key="k")
    await application.order()
    with pytest.raises(IdempotencyError):
        await application.enqueue(idempotency_key="k", recipients=["b@example.net"])
    await application.commit()
    assert query(url, COUNT) == [(1,)]
    assert query(url, "SELECT count(*) FROM orders") == [(1,)]


async def test_the_daemon_is_woken_after_the_commit(application: Application, path: Path) -> None:
    """The doorbell rings when the application has committed, and not when it has rolled back."""
    rung = asyncio.Event()
    seen: list[Any] = []

    def wake() -> None:
        seen.extend(query(path, COUNT))
        rung.set()

    bell = Doorbell(path, "w1")
    bell.start(wake)
    try:
        await application.enqueue()
        await application.roll_back()
        await application.enqueue()
        await application.commit()
        await application.close()
        await asyncio.wait_for(rung.wait(), 10)
    finally:
        bell.stop()
    assert seen[0] == (1,)


async def test_a_savepoint_that_is_taken_back_takes_the_mail_along(
    application: Application, url: str
) -> None:
    """What a part of the transaction has enqueued goes with that part, and the rest stays."""
    await application.enqueue(idempotency_key="kept")
    savepoint = application.transaction.begin_nested()
    if isinstance(application.transaction, AsyncConnection | AsyncSession):
        savepoint = await savepoint
    await application.enqueue(idempotency_key="taken back")
    if (done := savepoint.rollback()) is not None:
        await done
    again = await application.enqueue(idempotency_key="taken back")
    assert not again.duplicate
    await application.commit()
    keys = query(url, "SELECT idempotency_key FROM mailqueue_messages ORDER BY id")
    assert keys == [("kept",), ("taken back",)]


async def busy(application: Application, path: Path) -> OutboxBusyError:
    """Enqueue in a transaction that has read, after somebody else has written; return the error."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(OutboxBusyError) as error:
            await application.enqueue()
        return error.value
    finally:
        other.close()


async def test_busy_in_the_callers_transaction(database: str, path: Path) -> None:
    """A BUSY in the caller's transaction is typed, retryable, and names the recipe."""
    engine = create_engine(database, connect_args={"timeout": 0.1})
    outbox = Awaited(Outbox(engine))
    with engine.connect() as connection:
        application = Application(outbox, connection)
        error = await busy(application, path)
        assert "mailqueue.configure_sqlite(engine)" in str(error)
        assert "Roll back and try again" in str(error)
        connection.rollback()
        await application.enqueue()
        connection.commit()
    engine.dispose()
    assert query(path, COUNT) == [(1,)]


async def test_busy_when_the_session_begins(database: str, path: Path) -> None:
    """A BUSY that comes as early as the BEGIN of a configured session is the same error."""
    engine = create_engine(database)
    configure_sqlite(engine, busy_timeout=0.1)
    with Session(engine) as session:
        error = await busy(Application(Awaited(Outbox(engine)), session), path)
        assert "nothing was stored" in str(error)
    engine.dispose()


async def test_busy_after_reading(database: str, path: Path) -> None:
    """In a deferred transaction that has read before others wrote, waiting cannot help."""
    engine = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
    configure_sqlite(engine, begin="DEFERRED", busy_timeout=30)
    outbox = AsyncOutbox(engine)
    async with engine.connect() as connection:
        await connection.exec_driver_sql("SELECT * FROM orders")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("INSERT INTO orders VALUES (7)")
        other.close()
        with pytest.raises(OutboxBusyError, match="configure_sqlite"):
            await outbox.enqueue(RAW, connection=connection)
        await connection.rollback()
        await outbox.enqueue(RAW, connection=connection)
        await connection.commit()
    await engine.dispose()
    assert query(path, COUNT) == [(1,)]


def test_a_key_raced_for_in_the_callers_transaction(database: str, url: str) -> None:
    """Where no lock keeps others out, the loser of a race for a key can try again."""
    engine = create_engine(database)
    rivals: list[Any] = []

    @event.listens_for(engine, "before_cursor_execute")
    def _overtake(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO mailqueue_messages") and not rivals:
            with Outbox(database) as rival:
                rivals.append(rival.enqueue(RAW, idempotency_key="k"))

    outbox = Outbox(engine)
    with engine.connect() as connection:
        with pytest.raises(OutboxBusyError, match="the same idempotency key"):
            outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        connection.rollback()
        receipt = outbox.enqueue(RAW, idempotency_key="k", connection=connection)
        connection.commit()
    engine.dispose()
    assert (receipt.id, receipt.duplicate) == (rivals[0].id, True)
    assert query(url, COUNT) == [(1,)]


def autocommit(engine: Engine) -> Any:
    """Return a connection that commits each statement by SQLAlchemy's word."""
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def no_begin(engine: Engine) -> Any:
    """Return a connection whose driver begins nothing, and nobody else either."""

    @event.listens_for(engine, "connect")
    def _half_a_recipe(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    return engine.connect()


@pytest.mark.parametrize(
    "opened", [autocommit, pytest.param(no_begin, marks=pytest.mark.backend("sqlite"))]
)
def test_autocommit_is_refused(database: str, url: str, opened: Callable[[Engine], Any]) -> None:
    """Where no rollback could take the mail back, it is not put in."""
    engine = create_engine(database)
    outbox = Outbox(engine)
    with opened(engine) as connection, pytest.raises(OutboxError, match="autocommit"):
        outbox.enqueue(RAW, connection=connection)
    engine.dispose()
    assert query(url, COUNT) == [(0,)]


@pytest.mark.backend("sqlite")
def test_another_database_is_refused(database: str, tmp_path: Path) -> None:
    """A connection to another file than the outbox's would put the mail where nobody looks."""
    engine = create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    create(engine)
    with (
        Outbox(database) as outbox,
        engine.connect() as connection,
        pytest.raises(OutboxError, match=r"writes to .*other\.db, but this outbox is .*outbox\.db"),
    ):
        outbox.enqueue(RAW, connection=connection)
    engine.dispose()


def test_no_tables_are_created_in_a_callers_transaction(url: str, path: Path) -> None:
    """Without our tables the error says how to make them; the transaction is not used for it."""
    query(path, "CREATE TABLE orders (id INTEGER)")
    engine = create_engine(url)
    with engine.connect() as connection, pytest.raises(SchemaMissingError):
        Outbox(engine).enqueue(RAW, connection=connection)
    engine.dispose()
    assert query(path, "SELECT name FROM sqlite_master") == [("orders",)]


@pytest.mark.parametrize("given", ["sqlite:///outbox.db", object()])
async def test_what_is_no_transaction(opening: Any, url: str, given: Any) -> None:
    """Something that holds no transaction is an error that says what is taken."""
    with pytest.raises(TypeError, match="Connection or Session"):
        await opening(url).enqueue(RAW, connection=given)


async def test_the_other_kind_of_connection(database: str) -> None:
    """A synchronous connection given to AsyncOutbox, or the reverse, names the right one."""
    engine = create_engine(database)
    async_engine = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
    with engine.connect() as connection, pytest.raises(TypeError, match="in Outbox a"):
        await AsyncOutbox(async_engine).enqueue(RAW, connection=connection)  # type: ignore[arg-type]
    async with async_engine.connect() as connection_too:
        with pytest.raises(TypeError, match="in AsyncOutbox an"):
            Outbox(engine).enqueue(RAW, connection=connection_too)  # type: ignore[arg-type]
    engine.dispose()
    await async_engine.dispose()
