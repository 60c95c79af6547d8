from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, text

from mailqueue.outbox.engine import read_engine
from mailqueue.outbox.question import (
    Answer,
    QuestionError,
    TooLongError,
    WritingError,
    answer,
)
from tests.support.rows import add_message

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def reading(engine: Engine, url: str) -> Iterator[Connection]:
    """A connection that reads an outbox with one message."""
    with engine.begin() as connection:
        add_message(connection)
    reader = read_engine(url)
    with reader.begin() as connection:
        yield connection
    reader.dispose()


def only(backend: str) -> pytest.MarkDecorator:
    """Mark a case that one database alone knows."""
    return pytest.mark.backend(backend)


def ask(connection: Connection, sql: str) -> Answer:
    """Ask without a limit of time."""
    return answer(connection, sql, expired=lambda: False)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT address, 1 AS n FROM mailqueue_recipients",
        "WITH one(address, n) AS (SELECT address, 1 FROM mailqueue_recipients) SELECT * FROM one",
        "SELECT recipient AS address, count(*) AS n FROM mailqueue_backlog GROUP BY 1",
    ],
)
def test_a_question_is_answered(reading: Connection, sql: str) -> None:
    """Columns by name, and all rows."""
    assert ask(reading, sql) == Answer(("address", "n"), [("anna@example.net", 1)])


@pytest.mark.parametrize(
    "sql",
    [
        pytest.param("PRAGMA table_info(mailqueue_relays)", marks=only("sqlite")),
        "EXPLAIN SELECT 1",
        pytest.param("SHOW server_version", marks=only("postgresql")),
        "/* a remark */ -- and one more\n SELECT 1",
        pytest.param("(SELECT 1)", marks=only("postgresql")),
        "VALUES (1)",
    ],
)
def test_what_is_there_can_be_asked(reading: Connection, sql: str) -> None:
    """The shape of tables and the plan of a query are questions too."""
    assert ask(reading, sql).rows


WRITING = (
    "DELETE FROM mailqueue_recipients",
    "UPDATE mailqueue_recipients SET state = 'sent'",
    "INSERT INTO mailqueue_relays (name, breaker, since) VALUES ('x', 'open', 1)",
    "DROP VIEW mailqueue_backlog",
    "CREATE TABLE mine (x int)",
    "CREATE TEMP TABLE mine (x int)",
)
WRITING_SQLITE = (
    "ATTACH '/tmp/mailqueue-never-made.db' AS other",
    "PRAGMA query_only=OFF",
    "PRAGMA journal_mode=DELETE",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "REINDEX",
)
WRITING_POSTGRESQL = (
    "WITH gone AS (DELETE FROM mailqueue_recipients RETURNING id) SELECT * FROM gone",
    "EXPLAIN ANALYZE DELETE FROM mailqueue_recipients",
    "SELECT setval('mailqueue_recipients_id_seq', 9)",
    "SELECT 1 FROM mailqueue_recipients FOR UPDATE",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/mailqueue-never-made.db'",
    "COPY mailqueue_recipients TO '/tmp/mailqueue-never-made.db'",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SET TRANSACTION READ WRITE",
    "COMMIT",
    "NOTIFY somebody",
    "LISTEN somebody",
    "LOCK TABLE mailqueue_recipients",
    "VACUUM",
)


@pytest.mark.parametrize(
    "sql",
    [
        *WRITING,
        *(pytest.param(sql, marks=only("sqlite")) for sql in WRITING_SQLITE),
        *(pytest.param(sql, marks=only("postgresql")) for sql in WRITING_POSTGRESQL),
    ],
)
def test_nothing_can_be_changed(reading: Connection, engine: Engine, sql: str) -> None:
    """Whatever would write, or reach outside, is refused by name and does nothing."""
    with pytest.raises(WritingError, match="only reads"):
        ask(reading, sql)
    with engine.connect() as connection:
        states = connection.execute(text("SELECT state FROM mailqueue_recipients"))
        assert states.scalars().all() == ["queued"]
    assert not Path("/tmp/mailqueue-never-made.db").exists()


@pytest.mark.backend("postgresql")
@pytest.mark.parametrize("first", ["SELECT 1", "COMMIT", "SHOW all"])
def test_nothing_follows_a_question(reading: Connection, engine: Engine, first: str) -> None:
    """A second statement behind the first is not carried out, nor is the first."""
    with pytest.raises(QuestionError):
        ask(reading, f"{first}; COMMIT; DELETE FROM mailqueue_recipients")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM mailqueue_recipients")) == 1


@pytest.mark.parametrize("sql", ["SELECT nonsense", "SELECT 1; SELECT 2", "nonsense", "SELECT ?"])
def test_what_cannot_be_answered(reading: Connection, sql: str) -> None:
    """A mistake in the SQL is the database's own sentence, and no fault of ours."""
    with pytest.raises(QuestionError) as caught:
        ask(reading, sql)
    assert type(caught.value) is QuestionError


def test_a_question_without_end_is_stopped(reading: Connection) -> None:
    """The snapshot is not kept open for as long as somebody forgets it."""
    looks = iter([False, False, True])
    with pytest.raises(TooLongError, match="too long"):
        answer(reading, ENDLESS, expired=lambda: next(looks))


@pytest.mark.backend("sqlite")
def test_the_connection_is_as_before(reading: Connection) -> None:
    """What guarded one question does not stay for what others do on the same connection."""
    ask(reading, "SELECT 1")
    reading.exec_driver_sql("PRAGMA query_only=OFF")
    reading.exec_driver_sql("DELETE FROM mailqueue_recipients")
