"""When the next recipient falls due, and how much waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from mailqueue.mail.lifecycle import State
from mailqueue.mail.priority import Priority
from mailqueue.outbox.due import Backlog, backlog, have_due, next_due
from tests.support.leases import LEASE, take
from tests.support.rows import NOW, SECOND, add_message


def wait_until(connection: Connection, due_at: int | None, **columns: Any) -> None:
    """Add somebody who waits until ``due_at``."""
    add_message(connection, recipient={"due_at": due_at}, **columns)


@given(
    waiting=st.lists(
        st.tuples(st.sampled_from(("a", "b", "c")), st.sampled_from(Priority), st.integers(-9, 9)),
        max_size=12,
    )
)
def test_the_earliest_after_now_in_the_queues_asked_for(
    shared: Engine, waiting: list[tuple[str, Priority, int]]
) -> None:
    """Of all priorities, and of none but these queues."""
    with shared.connect() as connection:
        for relay, priority, later in waiting:
            wait_until(connection, NOW + later, relay=relay, priority=int(priority))
        times = [NOW + later for relay, _, later in waiting if relay != "c" and later > 0]
        assert next_due(connection, ("a", "b"), now=NOW) == min(times, default=None)
        connection.rollback()


@given(
    waiting=st.lists(
        st.tuples(st.sampled_from(("a", "b", "c")), st.sampled_from(Priority), st.integers(-3, 3)),
        max_size=12,
    )
)
def test_the_names_and_priorities_of_those_who_are_due(
    shared: Engine, waiting: list[tuple[str, Priority, int]]
) -> None:
    """Of these names and no others; asked for twice, a name is asked for once."""
    with shared.connect() as connection:
        for relay, priority, later in waiting:
            wait_until(connection, NOW + later, relay=relay, priority=int(priority))
        due = {
            (relay, priority) for relay, priority, later in waiting if relay != "c" and later <= 0
        }
        assert have_due(connection, ("a", "b", "a"), now=NOW) == due
        assert have_due(connection, (), now=NOW) == set()
        connection.rollback()


def test_what_is_due_already_does_not_count(connection: Connection) -> None:
    """It was left for a reason, such as its age, and must not be asked for again and again."""
    wait_until(connection, NOW)
    assert next_due(connection, ("default",), now=NOW) is None


def test_the_end_of_a_lease_counts(connection: Connection) -> None:
    """Whoever holds it may be dead by then."""
    add_message(connection)
    take(connection)
    assert next_due(connection, ("default",), now=NOW) == NOW + LEASE


@pytest.mark.parametrize("state", [State.HELD, State.SENT, State.FAILED])
def test_who_waits_for_no_daemon_does_not_count(connection: Connection, state: State) -> None:
    """Held and finished recipients have no due time."""
    add_message(connection, recipient={"state": state})
    assert next_due(connection, ("default",), now=NOW) is None
    assert backlog(connection, now=NOW) == Backlog(0, is_more=False, oldest_due=None)


def test_the_backlog_says_how_much_waits_and_since_when(connection: Connection) -> None:
    """What falls due later waits too, but is not late."""
    wait_until(connection, NOW - 5 * SECOND)
    wait_until(connection, NOW - 9 * SECOND)
    wait_until(connection, NOW + 9 * SECOND)
    assert backlog(connection, now=NOW) == Backlog(3, is_more=False, oldest_due=NOW - 9 * SECOND)


def test_nothing_is_late_where_all_falls_due_later(connection: Connection) -> None:
    """No time is shown as one that has passed."""
    wait_until(connection, NOW + 1)
    assert backlog(connection, now=NOW).oldest_due is None


@pytest.mark.parametrize(("count", "is_more"), [(2, False), (3, False), (4, True), (6, True)])
def test_the_backlog_is_counted_up_to_a_limit(
    connection: Connection, count: int, is_more: bool
) -> None:
    """A status line does not walk through a million rows."""
    for _ in range(count):
        wait_until(connection, NOW)
    found = backlog(connection, now=NOW, most=3)
    assert (found.waiting, found.is_more) == (min(count, 3), is_more)
