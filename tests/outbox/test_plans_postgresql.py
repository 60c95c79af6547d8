"""How PostgreSQL finds what is due, leased or asked for among very many that are done."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text

from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority
from mailqueue.outbox import lookup
from mailqueue.outbox.claim import mark_dot, renew
from mailqueue.outbox.due import next_due, oldest
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.prune import Retention, preview, prune
from mailqueue.outbox.reap import expire, live_relays
from mailqueue.outbox.record import record
from mailqueue.outbox.standing import Facts, ahead, facts, under_way
from mailqueue.outbox.story import story
from mailqueue.outbox.volume import queued_octets
from tests.outbox.test_claim_plans import reap_all
from tests.support.leases import ACCEPTED, WORKER, result_of, take
from tests.support.outboxes import LendOutbox
from tests.support.rows import NOW, SECOND

pytestmark = pytest.mark.backend("postgresql")

Act = Callable[[Connection], object]
UNFINISHED = tuple(state for state in State if not state.is_final)
MINE = Facts("default", 1, 1, 1, None)
DUE, LEASED, LIVE = (f"ix_mailqueue_recipients_{name}" for name in ("due", "leased", "live"))

# Of 30,000 that were ever enqueued, 300 wait, 30 of them are due and 30 are leased.
_FILL = (
    """
    INSERT INTO mailqueue_messages (enqueued_at, header_message_id, sender, size, recipient_count,
        eight_bit, utf8_header, relay, priority, on_doubt)
    SELECT :now - n, '<' || n || '@example.org>', 's@example.org', 100, 1, false, false,
        'default', 1, 'retry' FROM generate_series(1, 30000) AS n
    """,
    "INSERT INTO mailqueue_contents SELECT id, '\\x61' FROM mailqueue_messages",
    """
    INSERT INTO mailqueue_recipients (message_id, address, state, relay, priority, due_at,
        lifetime_from, expires_at, finished_at, worker, lease)
    SELECT id, 'r' || id || '@example.net',
        CASE WHEN id % 1000 = 0 THEN 'sending' WHEN id % 100 = 0 THEN 'queued' ELSE 'sent' END,
        'default', 1,
        CASE WHEN id % 1000 IN (0, 500) THEN :now - 1000 WHEN id % 100 = 0 THEN :now + id END,
        :now - id, CASE WHEN id % 100 = 0 THEN :now + 60000000 END,
        CASE WHEN id % 100 <> 0 THEN :now - id END,
        CASE WHEN id % 1000 = 0 THEN 'w1' END, 1
    FROM mailqueue_messages
    """,
    """
    INSERT INTO mailqueue_attempts (recipient_id, number, charged, started_at, ended_at, relay,
        worker, stage, verdict, scope, rule)
    SELECT id, 1, true, :now - id, :now - id, 'default', 'w1', 'rcpt', 'sent', 'recipient', 'x'
    FROM mailqueue_recipients WHERE state = 'sent'
    """,
)


@contextlib.contextmanager
def made(lend_outbox: LendOutbox, *statements: str) -> Iterator[Engine]:
    """Lend an outbox that has been through ``statements``, each committed by itself."""
    with lend_outbox() as url:
        engine = write_engine(url)
        for statement in statements:
            with engine.begin() as connection:
                connection.execute(text(statement.replace(":now", str(NOW))))
        yield engine
        engine.dispose()


@pytest.fixture(scope="module")
def filled(lend_outbox: LendOutbox) -> Iterator[Engine]:
    """An outbox in which nearly everything is done, with fresh statistics."""
    with made(lend_outbox, *_FILL, "ANALYZE") as engine:
        yield engine


@pytest.fixture
def connection(filled: Engine) -> Iterator[Connection]:
    """One transaction, which is rolled back."""
    with filled.connect() as connection:
        yield connection


class _Noting(psycopg.Cursor[Any]):
    """A cursor that notes what it is asked, with one set of values."""

    asked: ClassVar[list[tuple[Any, Any]]] = []

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        self.asked.append((query, params))
        return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> Any:
        rows = list(params_seq)
        self.asked.append((query, rows[0]))
        return super().executemany(query, rows, **options)


def plan(connection: Connection, act: Act) -> list[dict[str, Any]]:
    """Return the steps of the plans for what ``act`` asks, innermost last."""
    connection.execute(text("SELECT 1"))
    driver: Any = connection.connection.driver_connection
    usual, driver.cursor_factory, _Noting.asked = driver.cursor_factory, _Noting, []
    try:
        act(connection)
    finally:
        driver.cursor_factory = usual
    steps: list[dict[str, Any]] = []
    for query, values in _Noting.asked:
        if query.lstrip().upper().startswith(("SELECT", "UPDATE", "INSERT", "DELETE", "WITH")):
            explained = driver.execute(f"EXPLAIN (FORMAT JSON) {query}", values).fetchone()[0]
            found = json.loads(explained) if isinstance(explained, str) else explained
            steps += _steps(found[0]["Plan"])
    assert steps
    return steps


def _steps(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _steps(inner)


def walks(steps: list[dict[str, Any]]) -> list[str]:
    """Return the tables that are walked as a whole."""
    big = {f"mailqueue_{name}" for name in ("messages", "contents", "recipients", "attempts")}
    found = (step for step in steps if step["Node Type"] == "Seq Scan")
    return [step["Relation Name"] for step in found if step["Relation Name"] in big]


def indexes(steps: list[dict[str, Any]]) -> set[str]:
    """Return the indexes that are used."""
    return {step["Index Name"] for step in steps if "Index Name" in step}


@pytest.mark.parametrize("priority", Priority)
def test_a_claim_seeks_what_is_due_and_sorts_nothing(
    connection: Connection, priority: Priority
) -> None:
    """One seek by name, priority and time finds it in order, past none of those that wait."""
    steps = plan(connection, lambda c: take(c, priority=priority))
    (seek,) = [step for step in steps if step.get("Index Name") == DUE]
    for column in ("relay", "priority", "due_at"):
        assert column in seek["Index Cond"]
    assert walks(steps) == []
    assert not [step for step in steps if step["Node Type"] in ("Sort", "Hash Join")]


def test_a_claim_is_planned_once_and_for_any_values(connection: Connection) -> None:
    """After some rounds the driver prepares it; the plan for all values is as good."""
    connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
    steps = plan(connection, take)
    assert DUE in indexes(steps)
    assert walks(steps) == []


def test_leases_and_contents_go_by_the_rows_that_were_chosen(connection: Connection) -> None:
    """What a claim writes and reads is found by its id."""
    steps = plan(connection, take)
    assert {"pk_mailqueue_recipients", "pk_mailqueue_contents"} <= indexes(steps)


@pytest.mark.parametrize(
    ("act", "index"),
    [
        pytest.param(lambda c: next_due(c, ("default",), now=NOW), DUE, id="next due"),
        pytest.param(lambda c: oldest(c, now=NOW), DUE, id="oldest"),
        pytest.param(reap_all, LEASED, id="reap"),
        pytest.param(lambda c: reap_all(c, dead=("w1",)), LEASED, id="reap the dead"),
        pytest.param(
            lambda c: expire(c, {"default": 60.0}, now=NOW - 10 * SECOND, default=60.0),
            "ix_mailqueue_recipients_expiring",
            id="expire by deadline",
        ),
        pytest.param(
            lambda c: expire(c, {"default": 1e6}, now=NOW, default=60.0), LIVE, id="expire by age"
        ),
        pytest.param(live_relays, LIVE, id="relays of live mail"),
        pytest.param(lambda c: under_way(c, ["default"]), LEASED, id="under way"),
        pytest.param(lambda c: ahead(c, MINE, now=NOW), DUE, id="ahead"),
        pytest.param(lambda c: lookup.listing(c, states=UNFINISHED), LIVE, id="list what waits"),
        pytest.param(lambda c: lookup.counts(c, states=UNFINISHED), LIVE, id="count what waits"),
        pytest.param(
            lambda c: lookup.find(c, "<7@example.org>"),
            "ix_mailqueue_messages_header_message_id",
            id="find",
        ),
        pytest.param(lookup.listing, "pk_mailqueue_recipients", id="list"),
        pytest.param(lambda c: lookup.status(c, 7), "ix_mailqueue_recipients_message", id="status"),
        pytest.param(lambda c: story(c, 7), "ix_mailqueue_attempts_recipient", id="story"),
        pytest.param(lambda c: facts(c, 7), "ix_mailqueue_recipients_message", id="facts"),
        pytest.param(
            lambda c: c.execute(text("SELECT * FROM mailqueue_history WHERE message_id = 7")),
            "ix_mailqueue_recipients_message",
            id="history of a message",
        ),
        pytest.param(
            lambda c: c.execute(text("SELECT * FROM mailqueue_in_doubt")),
            "ix_mailqueue_attempts_doubt",
            id="in doubt",
        ),
    ],
)
def test_each_question_goes_by_the_index_made_for_it(
    connection: Connection, act: Act, index: str
) -> None:
    """Mail that is done with costs nobody time who asks for what is not."""
    steps = plan(connection, act)
    assert index in indexes(steps), indexes(steps)
    assert walks(steps) == []


def test_renewing_and_recording_go_by_the_rows(connection: Connection) -> None:
    """A heartbeat and a result touch what they are about, however long the queue is."""
    messages = take(connection)
    leases = [lease for message in messages for lease in message.leases]
    results = [result_of(lease, ACCEPTED) for lease in leases]

    def act(connection: Connection) -> None:
        renew(connection, WORKER, [message.id for message in messages], until=NOW)
        mark_dot(connection, leases, worker=WORKER, now=NOW)
        record(connection, results)

    assert walks(plan(connection, act)) == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c: prune(c, Retention(NOW, NOW)), id="prune"),
        pytest.param(queued_octets, id="octets that wait"),
        pytest.param(lambda c: c.execute(text("SELECT * FROM mailqueue_backlog")), id="backlog"),
    ],
)
def test_what_touches_hundreds_has_a_way_by_indexes(connection: Connection, act: Act) -> None:
    """Some hundred rows of thirty thousand are found as fast by a walk; of millions they are not.

    With walks made as dear as they are there, none is left.
    """
    connection.execute(text("SET LOCAL seq_page_cost = 100"))
    connection.execute(text("SET LOCAL cpu_tuple_cost = 1"))
    assert walks(plan(connection, act)) == []


def test_every_foreign_key_has_an_index(connection: Connection) -> None:
    """A pruned message takes its rows along without a walk through their tables."""
    for table, column in (
        ("contents", "message_id"),
        ("recipients", "message_id"),
        ("attempts", "recipient_id"),
        ("actions", "recipient_id"),
    ):
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # one of them is empty
        query = text(f"SELECT * FROM mailqueue_{table} WHERE {column} = 7")
        assert indexes(plan(connection, lambda c, query=query: c.execute(query)))  # type: ignore[misc]


MAILS = 300
_FEW = tuple(statement.replace("30000", str(MAILS)) for statement in _FILL)
_EMPTY = "DELETE FROM mailqueue_messages"
_UNWATCHED = tuple(
    f"ALTER TABLE mailqueue_{name} SET (autovacuum_enabled = off)"
    for name in ("messages", "contents", "recipients")
)
_ALL_WAIT = "UPDATE mailqueue_recipients SET state = 'queued', due_at = 1, finished_at = NULL"
_READ = "SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables"


@pytest.fixture(scope="module")
def refilled(lend_outbox: LendOutbox) -> Iterator[Engine]:
    """An outbox whose statistics are those of the night in which it was emptied."""
    with made(lend_outbox, *_UNWATCHED, *_FEW, _EMPTY, "ANALYZE", *_FEW) as engine:
        yield engine


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda c: prune(c, Retention(NOW, None)), id="prune contents"),
        pytest.param(
            # Contents first, as they age: the server's own cascade walks a table that is small.
            lambda c: [prune(c, Retention(NOW, None)), prune(c, Retention(None, NOW))],
            id="prune messages",
        ),
        pytest.param(lambda c: preview(c, Retention(NOW, NOW)), id="preview of a prune"),
        pytest.param(
            lambda c: [c.execute(text(_ALL_WAIT)), queued_octets(c)], id="octets that wait"
        ),
    ],
)
def test_statistics_of_an_empty_outbox_make_nobody_walk_it_for_each_row(
    refilled: Engine, act: Act
) -> None:
    """A batch reads rows in proportion to those there are, whatever the planner takes them for.

    Where it expects one row, a walk through an index costs it as much as a seek; of three tables
    joined so, a few thousand mails keep the daemon's only writer for minutes.
    """
    with refilled.connect() as connection:
        before = connection.scalar(text(_READ))
        act(connection)
        assert connection.scalar(text(_READ)) - before <= 20 * MAILS
