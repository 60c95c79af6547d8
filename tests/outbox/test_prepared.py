"""Statements that are compiled once: what goes in is what the driver gets."""

from __future__ import annotations

import sqlite3

import pytest
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Update,
    bindparam,
    insert,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql.psycopg import dialect as postgresql_dialect
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.exc import IntegrityError

from mailqueue.outbox.clauses import among, listed
from mailqueue.outbox.prepared import ROWS_AT_ONCE, Batch, Prepared, Savepoint
from mailqueue.outbox.tables import recipients
from tests.support.rows import add_message


def test_values_find_their_places_whatever_order_the_statement_has(connection: Connection) -> None:
    """The names say what comes first in a row; where it stands in the SQL is another matter."""
    add_message(connection)
    turned = Prepared(
        select(
            literal_column("'x'"), bindparam("a"), bindparam("b"), bindparam("a", unique=False)
        ).limit(bindparam("most")),
        "most",
        "b",
        "a",
    )
    assert turned.all(connection, 5, "B", "A") == [("x", "A", "B", "A")]


def test_a_parameter_that_no_name_stands_for_is_noticed(connection: Connection) -> None:
    """Forgotten, it would be NULL, and the condition true of nothing."""
    forgetful = Prepared(select(bindparam("a"), bindparam("b")), "a")
    with pytest.raises(AssertionError, match="not all parameters"):
        forgetful.all(connection, 1)


def test_many_rows_are_one_batch_whose_changes_are_counted_together(
    connection: Connection,
) -> None:
    """The count tells whether every row was met, without asking for each; however many there are,
    each is written once.
    """
    add_message(connection, *(f"r{number}@example.net" for number in range(ROWS_AT_ONCE[0] + 11)))
    ids = connection.execute(select(recipients.c.id)).scalars().all()

    def change(count: int) -> Update:
        rows = [
            select(
                bindparam(f"one_{row}", type_=BigInteger).label("one"),
                bindparam(f"n_{row}", type_=BigInteger).label("n"),
            )
            for row in range(count)
        ]
        new = union_all(*rows).subquery("new")
        return update(recipients).where(recipients.c.id == new.c.one).values(doubts=new.c.n)

    batch = Batch(change, "one", "n")
    assert batch.run(connection, [(number, number) for number in ids] + [(999, 7)]) == len(ids)
    found = connection.execute(select(recipients.c.id, recipients.c.doubts)).all()
    assert [number for number, _ in found] == [doubts for _, doubts in found]
    assert batch.run(connection, []) == 0


@pytest.mark.backend("sqlite")
def test_what_the_driver_raises_arrives_as_an_error_of_sqlalchemy(connection: Connection) -> None:
    """Whoever tells errors apart has one family of them to know, and no parameters are shown."""
    wrong = Prepared(insert(recipients).values(message_id=bindparam("message")), "message")
    with pytest.raises(IntegrityError) as caught:
        wrong.run(connection, "secret")
    assert isinstance(caught.value.orig, sqlite3.IntegrityError)
    assert "secret" not in str(caught.value)


def test_it_runs_in_the_transaction_of_its_connection(engine: Engine) -> None:
    """What is not committed is not there, even where it was the first statement of all."""
    with engine.begin() as before:
        add_message(before)
    change = Prepared(update(recipients).values(doubts=bindparam("n")), "n")
    with engine.connect() as connection:
        assert change.run(connection, 3) == 1
        connection.rollback()
        assert connection.execute(select(recipients.c.doubts)).scalars().all() == [0]


def test_a_savepoint_takes_back_what_came_after_it_and_nothing_else(
    connection: Connection,
) -> None:
    """The transaction goes on as if that part of it had not been tried."""
    add_message(connection, "before@example.net")
    with Savepoint(connection) as savepoint:
        add_message(connection, "tried@example.net")
        savepoint.rollback()
        add_message(connection, "after@example.net")
    found = connection.execute(select(recipients.c.address)).scalars().all()
    assert found == ["before@example.net", "after@example.net"]


def test_one_parameter_holds_any_number_of_ids(connection: Connection) -> None:
    """More than a statement may have parameters, and none at all."""
    add_message(connection, *(f"r{number}@example.net" for number in range(40)))
    ids = connection.execute(select(recipients.c.id)).scalars().all()
    found = Prepared(select(recipients.c.id).where(among(recipients.c.id, "ids")), "ids")

    def these(*wanted: int) -> set[int]:
        return {number for (number,) in found.all(connection, listed(connection, wanted))}

    assert these(*ids, *range(10**6, 10**6 + 100_000)) == set(ids)
    assert these(ids[3]) == {ids[3]}
    assert these() == set()


def test_each_database_is_asked_in_its_own_words() -> None:
    """SQLite has no arrays, and PostgreSQL no json_each of a bare list."""
    condition = select(recipients.c.id).where(among(recipients.c.id, "ids"))
    assert "json_each(?)" in str(condition.compile(dialect=sqlite_dialect()))
    assert "= ANY (%(ids)s" in str(
        condition.compile(
            dialect=postgresql_dialect()  # type: ignore[no-untyped-call]
        )
    )
