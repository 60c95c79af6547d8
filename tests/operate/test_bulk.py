"""The operator's verbs for everybody whom a filter selects."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, select

from mailqueue.clock import FakeClock
from mailqueue.errors import FilterError, OutboxBusyError
from mailqueue.mail.lifecycle import Event, State
from mailqueue.operate import Filter, Moved, Operator, Step
from mailqueue.operate.stride import FEWEST, MOST, TARGET, Stride
from mailqueue.outbox.tables import actions, recipients
from tests.support.rows import NOW, add_message, add_relay


@pytest.fixture
def operator(engine: Engine, url: str) -> Iterator[Operator]:
    """Somebody named olga at the outbox, whose clock stands still."""
    with Operator(url, actor="olga", clock=FakeClock(NOW), busy_timeout=0.1) as operator:
        yield operator


def add(engine: Engine, *addresses: str, **columns: Any) -> int:
    """Put a message into the outbox."""
    with engine.begin() as connection:
        return add_message(connection, *addresses, **columns)


def add_many(engine: Engine, count: int) -> None:
    """Put a message for so many recipients into the outbox."""
    add(engine, *(f"r{number}@example.net" for number in range(count)))


def states(engine: Engine) -> list[str]:
    """Return the states of all recipients."""
    with engine.connect() as connection:
        return [*connection.scalars(select(recipients.c.state).order_by(recipients.c.id))]


@pytest.mark.parametrize(
    ("verb", "after"),
    [
        ("hold", ["held", "held", "held", "failed", "sending"]),
        ("release", ["queued", "deferred", "queued", "failed", "sending"]),
        ("cancel", ["cancelled", "cancelled", "cancelled", "failed", "sending"]),
        ("fail", ["failed", "failed", "failed", "failed", "sending"]),
        ("retry", ["queued", "queued", "held", "failed", "sending"]),
    ],
)
def test_verbs(engine: Engine, operator: Operator, verb: str, after: list[str]) -> None:
    """Each verb moves whom it is for, leaves the others alone, and puts it on record."""
    before = [State.QUEUED, State.DEFERRED, State.HELD, State.FAILED, State.SENDING]
    for state in before:
        add(engine, recipient={"state": state, "attempts": int(state is State.DEFERRED)})
    moved = getattr(operator.where(Filter(domain="example.net")), verb)(reason="maintenance")
    assert states(engine) == after
    changed = [state for state, then in zip(before, after, strict=True) if state != then]
    assert moved.moved == moved.chosen >= len(changed)
    with engine.connect() as connection:
        rows = connection.execute(select(actions)).all()
    assert len(rows) == moved.moved
    assert {(row.actor, row.reason, row.at) for row in rows} == {("olga", "maintenance", NOW)}


def test_only_those_who_are_meant(engine: Engine, operator: Operator) -> None:
    """Nobody is touched whom the filter does not select."""
    add(engine, "ann@example.net", "bob@example.com")
    assert operator.where(Filter(domain="example.com")).hold() == Moved(1, 1)
    assert states(engine) == ["queued", "held"]
    assert operator.where(Filter(domain="example.org")).hold() == Moved(0, 0)


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED, State.CANCELLED, State.HELD])
def test_what_is_over_is_retried_only_where_it_is_named(
    engine: Engine, operator: Operator, state: State
) -> None:
    """A retry of everything for a domain does not repeat what was refused, or resend in doubt."""
    message = add(engine, recipient={"state": state})
    assert operator.where(Filter(domain="example.net")).retry() == Moved(0, 0)
    assert operator.where(Filter(state=state)).retry() == Moved(1, 1)
    assert states(engine) == ["queued"]
    operator.cancel(message)
    assert operator.where(Filter(message=message)).retry() == Moved(1, 1)


@pytest.mark.parametrize(("verb", "state"), [("hold", "sent"), ("cancel", "sending")])
def test_a_verb_for_states_it_is_not_for(operator: Operator, verb: str, state: str) -> None:
    """Where only states are named that the verb does not happen to, that is an error."""
    with pytest.raises(FilterError, match="happens to those who are queued, deferred"):
        getattr(operator.where(Filter(state=state)), verb)()


def test_the_default_relay_is_known_from_the_daemon_or_the_caller(engine: Engine, url: str) -> None:
    """Mail that names no relay belongs to the default one, and what a daemon wrote goes first."""
    add(engine)
    with Operator(url, actor="olga", default_relay="main") as operator:
        assert operator.count(Filter(relay="main")).total == 1
        with engine.begin() as connection:
            add_relay(connection, "bulk", is_default=True)
        assert operator.count(Filter(relay="main")).total == 0
        assert operator.count(Filter(relay="bulk")).total == 1


def test_a_count_is_of_all_states(engine: Engine, operator: Operator) -> None:
    """It counts whom the filter selects, whatever could be done about them."""
    for state in State:
        add(engine, recipient={"state": state})
    counted = operator.count(Filter())
    assert counted.by_state == dict.fromkeys(State, 1)


def test_those_chosen_are_those_counted(engine: Engine, operator: Operator) -> None:
    """What comes after the count is not done anything to: nobody has confirmed it."""
    add(engine, "ann@example.net")
    choice = operator.where(Filter()).choose(Event.HOLD)
    add(engine, "bob@example.net")
    assert (len(choice), choice.tally.total) == (1, 1)
    assert [one.recipient.address for one in choice.first(5)] == ["ann@example.net"]
    assert choice.all() == Moved(1, 1)
    assert states(engine) == ["held", "queued"]


def test_who_was_claimed_meanwhile_is_left_alone(engine: Engine, operator: Operator) -> None:
    """A worker's recipients are its own, also if it came between the count and the deed."""
    add(engine, "ann@example.net", "bob@example.net")
    choice = operator.where(Filter()).choose(Event.CANCEL)
    with engine.begin() as connection:
        bob = recipients.c.address == "bob@example.net"
        connection.execute(recipients.update().where(bob).values(state="sending"))
    done = choice.all()
    assert (done, done.left_alone) == (Moved(2, 1), 1)
    assert states(engine) == ["cancelled", "sending"]


@pytest.fixture
def commits(operator: Operator) -> Iterator[list[int]]:
    """Collect for each committed transaction of the operator's how many it has moved."""
    writer, seen, counts = operator._access._writer, [], [0]

    def count(_connection: object, cursor: Any, statement: str, *_: object) -> None:
        if statement.startswith("UPDATE"):
            counts[0] += cursor.rowcount

    def note(_connection: object) -> None:
        seen.append(counts[0])
        counts[0] = 0

    event.listen(writer, "after_cursor_execute", count)
    event.listen(writer, "commit", note)
    yield seen
    event.remove(writer, "after_cursor_execute", count)
    event.remove(writer, "commit", note)


def test_no_transaction_is_large(engine: Engine, operator: Operator, commits: list[int]) -> None:
    """Many are moved in many transactions, none of which is larger than the stride allows."""
    add_many(engine, 5_000)
    assert operator.where(Filter()).hold() == Moved(5_000, 5_000)
    assert sum(commits) == 5_000
    assert max(commits) <= MOST
    assert commits[0] == Stride().size
    assert set(states(engine)) == {"held"}


def test_others_write_in_between(engine: Engine, operator: Operator, path: Path) -> None:
    """After each transaction the lock is free, and what is done so far is committed."""
    add_many(engine, 1_000)
    steps = operator.where(Filter()).choose(Event.HOLD).steps()
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as shell:
        for step in steps:
            shell.execute("BEGIN IMMEDIATE")
            held = "SELECT count(*) FROM mailqueue_recipients WHERE state = 'held'"
            assert shell.execute(held).fetchone() == (step.moved,)
            shell.execute("COMMIT")


def test_whoever_stops_ends_it_there(engine: Engine, operator: Operator) -> None:
    """What was told is done, and the rest is as before."""
    add_many(engine, 1_000)
    first = next(operator.where(Filter()).choose(Event.HOLD).steps())
    assert first == Step(Stride().size, Stride().size)
    assert states(engine).count("held") == first.moved
    assert operator.where(Filter()).hold() == Moved(800, 800)


def test_a_locked_database_ends_it(engine: Engine, operator: Operator, path: Path) -> None:
    """Another's transaction that does not end is an error; what was told before is done."""
    add_many(engine, 1_000)
    steps = operator.where(Filter()).choose(Event.HOLD).steps()
    done = next(steps)
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutboxBusyError):
            next(steps)
    assert states(engine).count("held") == done.moved


def test_an_engine_of_the_application_is_enough(engine: Engine) -> None:
    """Verbs work over an engine that was given, and look through one that holds nobody up."""
    add(engine)
    with Operator(engine, actor="olga") as operator, engine.begin():
        assert operator.count(Filter()).total == 1
    with Operator(engine, actor="olga") as operator:
        assert operator.where(Filter()).hold() == Moved(1, 1)


@pytest.mark.parametrize(
    ("size", "seconds", "following"),
    [
        (800, TARGET, 800),
        (800, 0.0, 1200),
        (800, TARGET / 10, 1200),
        (800, TARGET * 2, 400),
        (800, TARGET * 3.2, 250),
        (800, 100.0, FEWEST),
        (MOST, TARGET / 10, MOST),
    ],
)
def test_the_stride_follows_the_time(size: int, seconds: float, following: int) -> None:
    """Slow transactions are followed by smaller ones at once, quick ones by larger ones slowly."""
    assert Stride(size).after(seconds) == Stride(following)


def test_the_pause_is_as_long_as_the_transaction() -> None:
    """Others have the lock half of the time; where they had it before, they need no pause."""
    stride = Stride()
    assert stride.pause(TARGET, waited=0.0) == TARGET
    assert 0 < stride.pause(0.0, waited=0.0) < TARGET
    assert stride.pause(10.0, waited=0.0) == 2 * TARGET
    assert 0 < stride.pause(TARGET, waited=TARGET) < TARGET


@pytest.mark.parametrize("field", ["message", "state", "relay", "recipient", "domain", "tag"])
def test_a_list_that_came_out_empty_is_not_everybody(field: str) -> None:
    """Whoever computes whom he means and finds nobody must not end all mail."""
    with pytest.raises(FilterError, match="names nothing"):
        Filter(**{field: []})  # type: ignore[arg-type]


def test_what_ends_mail_takes_a_filter_that_leaves_somebody_out(
    engine: Engine, operator: Operator
) -> None:
    """As on the command line, where those two verbs have no --all."""
    add(engine)
    for verb in (operator.where(Filter()).cancel, operator.where(Filter()).fail):
        with pytest.raises(FilterError, match="would end all mail"):
            verb()
    assert states(engine) == ["queued"]
