from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, delete

from mailqueue.outbox.recent import SLACK, first_since
from mailqueue.outbox.tables import attempts
from tests.support.rows import NOW, add_attempt, add_message, recipient_ids


def tried(connection: Connection, *ends: int) -> list[int]:
    """Insert attempts that ended then, in this order; returns their ids."""
    (recipient,) = recipient_ids(connection, add_message(connection))
    return [add_attempt(connection, recipient, ended_at=at) for at in ends]


def test_where_nothing_was_tried(connection: Connection) -> None:
    """An empty outbox has no first attempt, and asking is no error."""
    assert first_since(connection, NOW) == 0


@pytest.mark.parametrize("late", [0, SLACK])
def test_what_is_written_late_is_not_missed(connection: Connection, late: int) -> None:
    """An attempt that waited for the database, behind later ones, is within the place found."""
    old, *recent = tried(connection, NOW - 10 * SLACK, NOW + late, NOW)
    first = first_since(connection, NOW)
    assert old < first <= min(recent)


@settings(max_examples=40)
@given(
    steps=st.lists(st.integers(min_value=0, max_value=SLACK), min_size=1, max_size=30),
    since=st.integers(min_value=-2 * SLACK, max_value=20 * SLACK),
    gone=st.sets(st.integers(min_value=0, max_value=29)),
)
def test_nothing_recent_is_left_out(
    shared: Engine, steps: list[int], since: int, gone: set[int]
) -> None:
    """Whatever was pruned in between, all attempts from then on follow the place found."""
    with shared.connect() as connection:
        ends = [NOW + sum(steps[: number + 1]) for number in range(len(steps))]
        ids = tried(connection, *ends)
        pruned = [ids[number] for number in gone if number < len(ids)]
        connection.execute(delete(attempts).where(attempts.c.id.in_(pruned)))
        first = first_since(connection, NOW + since)
        recent = [one for one, at in zip(ids, ends, strict=True) if at >= NOW + since]
        assert all(one >= first for one in recent)
        old = [one for one, at in zip(ids, ends, strict=True) if at < NOW + since - SLACK]
        assert all(one < first for one in old if one not in pruned)
