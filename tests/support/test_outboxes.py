"""The fixtures that let a test run on both databases."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, create_engine, select, text

from mailqueue.outbox import schema
from mailqueue.outbox.tables import messages
from tests.support.databases import Databases
from tests.support.rows import add_message


def test_an_outbox_has_its_tables_and_nothing_in_them(outbox_engine: Engine, backend: str) -> None:
    """A test that asks for an engine runs on the database that its id names."""
    assert outbox_engine.dialect.name == backend
    with outbox_engine.begin() as connection:
        schema.check(connection)
        assert connection.execute(select(messages)).all() == []
        assert add_message(connection) == 1


@pytest.mark.backend("postgresql")
def test_a_marked_test_runs_on_one_database(outbox_engine: Engine) -> None:
    """What is by nature of one database is not run on the other."""
    assert outbox_engine.dialect.name == "postgresql"


def test_what_is_given_back_is_as_good_as_new(databases: Databases) -> None:
    """Rows are gone and ids begin anew, even where somebody still holds a transaction open."""
    url = databases.outbox()
    engine = create_engine(url)
    with engine.begin() as connection:
        add_message(connection)
    left = engine.connect()
    left.execute(text("LOCK TABLE mailqueue_messages"))
    databases.give_back(url)
    left.invalidate()

    assert databases.outbox() == url
    with engine.begin() as connection:
        assert add_message(connection) == 1
    engine.dispose()
    databases.give_back(url)


@pytest.mark.parametrize("change", ["CREATE TABLE theirs (x int)", "DROP VIEW mailqueue_reasons"])
def test_what_has_another_shape_is_not_used_again(databases: Databases, change: str) -> None:
    """A test that changed the tables leaves nothing behind for the next."""
    url = databases.outbox()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(change))
    engine.dispose()
    databases.give_back(url)

    other = databases.outbox()
    assert other != url
    databases.give_back(other)
