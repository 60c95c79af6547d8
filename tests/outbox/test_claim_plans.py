"""How SQLite finds what is due, leased or too late, however long the queue is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, Engine

from mailqueue.mail.priority import Priority
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox.claim import mark_dot, renew
from mailqueue.outbox.due import next_due
from mailqueue.outbox.reap import expire, live_relays, reap
from mailqueue.outbox.record import record
from tests.outbox.test_plans import plan, scans
from tests.support.leases import ACCEPTED, WORKER, result_of, take
from tests.support.rows import NOW, add_message

pytestmark = pytest.mark.backend("sqlite")

Act = Callable[[Connection], object]

_DUE = "SEARCH recipients USING INDEX ix_recipients_due (relay=? AND priority=? AND due_at<?)"


def reap_all(connection: Connection, *, dead: tuple[str, ...] = ()) -> object:
    """Reap, with some messages spared as a busy daemon does."""
    return reap(
        connection,
        lambda _: Backoff(),
        now=NOW * 2,
        jitter=lambda: 0.0,
        dead_workers=dead,
        spared={1, 2, 3},
    )


def walks(steps: list[str]) -> list[str]:
    """Return the steps that walk all recipients, through an index or not."""
    return [step for step in steps if step.startswith("SCAN recipients")]


@pytest.mark.parametrize("priority", Priority)
def test_a_claim_seeks_its_priority_and_scans_nothing(
    engine: Engine, connection: Connection, priority: Priority
) -> None:
    """One seek finds what is due, past none of those that wait."""
    add_message(connection, priority=int(priority))
    steps = plan(engine, connection, lambda c: take(c, priority=priority))
    assert steps.count(_DUE) == 1
    assert scans(steps) == []
    assert walks(steps) == []
    assert not [step for step in steps if "TEMP B-TREE" in step]


def test_a_claim_joins_messages_to_what_is_due_and_not_the_other_way(
    engine: Engine, connection: Connection
) -> None:
    """The order is that in which they fell due; a walk over the messages would lose it."""
    add_message(connection)
    steps = plan(engine, connection, take)
    joined = "SEARCH messages USING INTEGER PRIMARY KEY (rowid=?)"
    assert {steps[number + 1] for number, step in enumerate(steps) if step == _DUE} == {joined}


def test_the_companions_of_a_hundred_messages_are_found_by_their_messages(
    engine: Engine, connection: Connection
) -> None:
    """What goes along with a large batch is sought, not looked for among all that is due."""
    for number in range(100):
        add_message(connection, f"a{number}@example.net", f"b{number}@example.net")
    steps = [step for step in plan(engine, connection, take) if "recipients" in step]
    assert set(steps) == {
        _DUE,
        "SEARCH recipients USING INDEX ix_recipients_message (message_id=?)",
        "SEARCH recipients USING INTEGER PRIMARY KEY (rowid=?)",
    }


@pytest.mark.parametrize(
    ("act", "step"),
    [
        pytest.param(
            lambda c: next_due(c, ("default",), now=NOW),
            "SEARCH recipients USING COVERING INDEX ix_recipients_due"
            " (relay=? AND priority=? AND due_at>?)",
            id="next due",
        ),
        pytest.param(
            reap_all,
            "SEARCH recipients USING INDEX ix_recipients_leased (due_at<?)",
            id="reap",
        ),
        pytest.param(
            lambda c: expire(c, {"default": 60.0}, now=NOW, default=60.0),
            "SEARCH recipients USING INDEX ix_recipients_expiring (expires_at>? AND expires_at<?)",
            id="expire by deadline",
        ),
        pytest.param(
            lambda c: expire(c, {"default": 60.0}, now=NOW, default=60.0),
            "SEARCH recipients USING INDEX ix_recipients_live (relay=? AND lifetime_from<?)",
            id="expire by age",
        ),
        pytest.param(
            live_relays,
            "SEARCH recipients USING INDEX ix_recipients_live (relay>?)",
            id="relays of live mail",
        ),
    ],
)
def test_each_question_goes_by_the_index_made_for_it(
    engine: Engine, connection: Connection, act: Act, step: str
) -> None:
    """What the daemon asks every few seconds costs as much in a long queue as in a short one."""
    add_message(connection)
    steps = plan(engine, connection, act)
    assert step in steps, steps
    assert scans(steps) == []
    assert walks(steps) == []


def test_renewing_looks_at_nothing_but_the_messages_named_or_the_leased(
    engine: Engine, connection: Connection
) -> None:
    """A heartbeat does not walk the queue."""
    add_message(connection)
    steps = plan(engine, connection, lambda c: renew(c, WORKER, [1, 2], until=NOW))
    (step,) = [step for step in steps if "recipients" in step]
    assert "ix_recipients_leased" in step or "ix_recipients_message" in step


def test_the_leases_of_the_dead_are_looked_for_among_the_leased(
    engine: Engine, connection: Connection
) -> None:
    """At its start a daemon walks through what is leased, and not through what waits."""
    add_message(connection)
    steps = plan(engine, connection, lambda c: reap_all(c, dead=("w1",)))
    walked = [step for step in steps if "recipients" in step]
    assert walked
    assert all("ix_recipients_leased" in step for step in walked), steps
    assert scans(steps) == []


def test_results_and_marks_go_by_the_row(engine: Engine, connection: Connection) -> None:
    """What a delivery writes is found by its id."""
    add_message(connection)
    (message,) = take(connection)
    results = [result_of(lease, ACCEPTED) for lease in message.leases]

    def act(connection: Connection) -> None:
        mark_dot(connection, message.leases, worker=WORKER, now=NOW)
        record(connection, results)

    steps = [step for step in plan(engine, connection, act) if "recipients" in step]
    assert set(steps) == {"SEARCH recipients USING INTEGER PRIMARY KEY (rowid=?)"}
