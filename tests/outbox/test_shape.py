from __future__ import annotations

import pytest
from sqlalchemy import Connection

from mailqueue.mail.lifecycle import State
from mailqueue.outbox.shape import MINUTES, Ages, Side, shape
from tests.support.rows import NOW, SECOND, add_message

MINUTE = 60 * SECOND


@pytest.mark.parametrize(
    ("minutes", "column"),
    [(0, 0), (4, 0), (5, 1), (9, 1), (10, 2), (39, 3), (40, 4), (1279, 8), (1280, 9), (99999, 9)],
)
def test_each_age_has_its_column(minutes: int, column: int) -> None:
    """The columns are qshape's: up to 5 minutes, 10, 20 and so on, and beyond 1280."""
    ages = Ages()
    ages.note(minutes * MINUTE)
    assert ages.counts.index(1) == column
    assert len(ages.counts) == len(MINUTES) + 1


def test_what_is_not_to_be_sent_yet_has_no_age() -> None:
    """Mail with a send_at to come stands apart, and counts in the total."""
    ages = Ages()
    ages.note(-1)
    assert (ages.later, sum(ages.counts), ages.total) == (1, 0, 1)


@pytest.mark.parametrize(
    ("side", "names"),
    [
        (Side.DOMAIN, {"one.example": 2, "two.example": 1}),
        (Side.SENDER, {"shop.example": 2, "<>": 1}),
        (Side.RELAY, {"main": 2, "bulk": 1}),
    ],
)
def test_what_waits_by_where_it_goes(
    connection: Connection, side: Side, names: dict[str, int]
) -> None:
    """Rows are domains, senders or relays; what is finished is in none."""
    add_message(connection, "a@One.example", sender="x@shop.example", relay="main")
    add_message(connection, "b@one.example", sender="y@shop.example", relay="main")
    add_message(connection, "c@two.example", sender="", relay="bulk")
    add_message(connection, "d@two.example", recipient={"state": State.SENT})
    found = shape(connection, now=NOW, side=side)
    assert {name: ages.total for name, ages in found.items()} == names


def test_only_some_states(connection: Connection) -> None:
    """Those that were named, and no others."""
    for state in State:
        add_message(connection, recipient={"state": state})
    chosen = [State.DEFERRED, State.HELD, State.SENT]
    (ages,) = shape(connection, now=NOW, states=chosen).values()
    assert ages.total == 2
