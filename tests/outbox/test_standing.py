from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.due import Oldest, oldest
from mailqueue.outbox.standing import ahead, facts, under_way
from tests.support.rows import NOW, SECOND, add_message, recipient_ids

LATER = NOW + SECOND


def test_what_the_row_says(connection: Connection) -> None:
    """Each recipient of the message with its own facts, and nobody else's."""
    number = add_message(connection, "a@x.example", "b@x.example", relay="main", priority=0)
    add_message(connection)
    found = facts(connection, number)
    assert [*found] == recipient_ids(connection, number)
    (one, _) = found.values()
    assert (one.relay, one.priority, one.due_at, one.dot_at) == ("main", 0, NOW, None)


def test_messages_under_way(connection: Connection) -> None:
    """Messages are counted and not recipients, only leased ones, only of these names."""
    leased = {"state": State.SENDING, "worker": "w1", "due_at": LATER}
    add_message(connection, "a@x.example", "b@x.example", recipient=leased)
    add_message(connection, relay="main", recipient=leased)
    add_message(connection, relay="bulk", recipient=leased)
    add_message(connection)
    assert under_way(connection, ["default", "main"]) == 2
    assert under_way(connection, []) == 0


@pytest.mark.parametrize(
    ("other", "is_ahead"),
    [
        pytest.param({"due_at": NOW - SECOND}, True, id="due before it"),
        pytest.param({"due_at": NOW + 1}, False, id="due after it"),
        pytest.param({"due_at": NOW, "priority": 0}, True, id="more urgent"),
        pytest.param({"due_at": LATER, "priority": 0}, False, id="more urgent, and not due"),
        pytest.param({"due_at": NOW - SECOND, "priority": 2}, False, id="less urgent"),
        pytest.param({"due_at": NOW - SECOND, "relay": "bulk"}, False, id="for another relay"),
        pytest.param({"state": State.HELD}, False, id="held"),
    ],
)
def test_the_place_in_the_line(
    connection: Connection, other: dict[str, object], is_ahead: bool
) -> None:
    """Before a recipient are those of its name that the daemon would claim first."""
    number = add_message(connection)
    add_message(connection, recipient=other)
    (mine,) = facts(connection, number).values()
    assert ahead(connection, mine, now=NOW) == int(is_ahead)


def test_a_long_line_is_counted_up_to_a_bound(connection: Connection) -> None:
    """Nobody needs to know how much more than that it is."""
    number = add_message(connection)
    add_message(connection, *"abcd", recipient={"due_at": NOW - SECOND})
    (mine,) = facts(connection, number).values()
    assert ahead(connection, mine, now=NOW, most=3) == 3


def test_who_has_been_due_for_longest(connection: Connection) -> None:
    """Among all names and priorities, and nobody where all are due later."""
    assert oldest(connection, now=NOW) is None
    add_message(connection, recipient={"due_at": NOW + 1})
    assert oldest(connection, now=NOW) is None
    add_message(connection, recipient={"due_at": NOW - 1})
    number = add_message(connection, relay="bulk", priority=2, recipient={"due_at": NOW - 5})
    add_message(connection, relay="bulk", priority=2, recipient={"due_at": NOW - 3})
    assert oldest(connection, now=NOW) == Oldest(NOW - 5, number)
