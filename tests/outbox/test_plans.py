"""How SQLite finds the rows: a lost index shows here, and not only once the outbox is large."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority
from mailqueue.outbox import lookup
from mailqueue.outbox.due import have_due, oldest
from mailqueue.outbox.prune import Retention, preview, prune
from mailqueue.outbox.reasons import reasons
from mailqueue.outbox.recent import first_since
from mailqueue.outbox.shape import Side, shape
from mailqueue.outbox.standing import Facts, ahead, facts, under_way
from mailqueue.outbox.story import story
from mailqueue.outbox.traffic import By, traffic, waiting
from tests.support.rows import add_message

pytestmark = pytest.mark.backend("sqlite")

_UNPLANNED = ("BEGIN", "SAVEPOINT", "RELEASE")

MINE = Facts("default", 1, 1, 1, None)
UNFINISHED = tuple(state for state in State if not state.is_final)


def plan(engine: Engine, connection: Connection, act: Callable[[Connection], object]) -> list[str]:
    """Return the steps of SQLite's plans for what ``act`` asks, table names shortened."""
    asked: list[str] = []
    driver: Any = connection.connection.driver_connection
    driver.set_trace_callback(asked.append)
    act(connection)
    driver.set_trace_callback(None)
    steps: list[str] = []
    for statement in asked:
        if not statement.startswith(_UNPLANNED):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
            steps += [row.detail.replace("mailqueue_", "") for row in rows]
    return steps


def scans(steps: list[str]) -> list[str]:
    """Return the steps that walk a whole table."""
    tables = ("messages", "contents", "recipients", "attempts", "actions")
    aliases = ("m", "r", "a", "o", "x")
    names = {f"SCAN {name}" for name in (*tables, *aliases)}
    return [step for step in steps if step in names]


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c: lookup.status(c, 1), id="status"),
        pytest.param(lambda c: lookup.find(c, "<1@example.org>"), id="find"),
        pytest.param(lambda c: lookup.content(c, 1), id="content"),
        pytest.param(lambda c: story(c, 1), id="story"),
        pytest.param(lookup.listing, id="listing"),
        pytest.param(lambda c: lookup.listing(c, states=UNFINISHED), id="unfinished"),
        pytest.param(lambda c: lookup.listing(c, states=[State.FAILED]), id="failed"),
        pytest.param(lambda c: lookup.counts(c, states=UNFINISHED), id="counts"),
        pytest.param(lookup.oldest_due, id="oldest due"),
        pytest.param(lambda c: prune(c, Retention(1, 1)), id="prune"),
        pytest.param(lambda c: preview(c, Retention(1, 1)), id="preview of a prune"),
        pytest.param(lambda c: first_since(c, 1), id="where recent attempts begin"),
        pytest.param(lambda c: traffic(c, since=1), id="traffic by relay"),
        pytest.param(lambda c: traffic(c, since=1, by=By.DOMAIN), id="traffic by domain"),
        pytest.param(lambda c: waiting(c, now=1), id="what waits by relay"),
        pytest.param(lambda c: waiting(c, now=1, by=By.DOMAIN), id="what waits by domain"),
        pytest.param(lambda c: shape(c, now=1), id="shape"),
        pytest.param(lambda c: shape(c, now=1, side=Side.SENDER), id="shape by sender"),
        pytest.param(lambda c: reasons(c, since=1), id="reasons"),
        pytest.param(lambda c: oldest(c, now=1), id="the oldest due"),
        pytest.param(lambda c: facts(c, 1), id="facts"),
        pytest.param(lambda c: under_way(c, ["default"]), id="under way"),
        pytest.param(lambda c: ahead(c, MINE, now=1), id="ahead"),
    ],
)
def test_no_table_is_walked_as_a_whole(
    engine: Engine, connection: Connection, act: Callable[[Connection], object]
) -> None:
    """Each look-up, and each batch of pruning, goes by an index or along the ids."""
    add_message(connection)
    steps = plan(engine, connection, act)

    assert steps
    assert scans(steps) == []


def test_what_waits_is_found_among_what_waits(engine: Engine, connection: Connection) -> None:
    """A million sent mails do not slow down the list of the few that are not."""
    for act in (
        lambda c: lookup.listing(c, states=UNFINISHED),
        lambda c: lookup.counts(c, states=UNFINISHED),
    ):
        assert "SCAN recipients USING INDEX ix_recipients_live" in plan(engine, connection, act)


def test_leases_and_the_line_are_found_by_their_indexes(
    engine: Engine, connection: Connection
) -> None:
    """What a look at one mail asks costs no more with a million others."""
    leases = plan(engine, connection, lambda c: under_way(c, ["default"]))
    assert any("ix_recipients_leased" in step for step in leases)
    line = plan(engine, connection, lambda c: ahead(c, MINE, now=1))
    assert any("ix_recipients_due" in step for step in line)


def test_whether_somebody_is_due_is_seen_by_the_first_who_waits(
    engine: Engine, connection: Connection
) -> None:
    """By one seek for each name and priority, however long the queue is."""
    steps = plan(engine, connection, lambda c: have_due(c, ("main", "default"), now=1))
    seeks = [step for step in steps if "recipients" in step]
    assert len(seeks) == 2 * len(Priority)
    index = "USING COVERING INDEX ix_recipients_due (relay=? AND priority=? AND due_at<?)"
    assert set(seeks) == {f"SEARCH recipients {index}"}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM mailqueue_history WHERE message_id = 1",
        "SELECT * FROM mailqueue_history WHERE message_id = 1 ORDER BY at",
        "SELECT * FROM mailqueue_history WHERE header_message_id = '<1@example.org>'",
        "SELECT * FROM mailqueue_failures WHERE message_id = 1",
        "SELECT * FROM mailqueue_failures WHERE header_message_id = '<1@example.org>'",
        "SELECT * FROM mailqueue_in_doubt WHERE message_id = 1",
        "SELECT * FROM mailqueue_backlog WHERE message_id = 1",
        "SELECT * FROM mailqueue_backlog",
        "SELECT * FROM mailqueue_in_doubt",
    ],
)
def test_views_are_as_quick_as_the_tables(
    engine: Engine, connection: Connection, query: str
) -> None:
    """A condition on a view reaches the indexes below it."""
    steps = plan(engine, connection, lambda c: c.exec_driver_sql(query))

    assert scans(steps) == []


def test_a_pruned_message_takes_its_rows_along_by_indexes(connection: Connection) -> None:
    """Every foreign key has an index on its side, or a deletion would walk the whole table."""
    for table in ("contents", "recipients", "attempts", "actions"):
        name = "message_id" if table in ("contents", "recipients") else "recipient_id"
        rows = connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN SELECT * FROM mailqueue_{table} WHERE {name} = 1"
        )
        assert [row.detail.split(" ")[0] for row in rows] == ["SEARCH"]
