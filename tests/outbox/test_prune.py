from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, Table, create_engine, func, select

from mailqueue.mail.lifecycle import State
from mailqueue.outbox import schema
from mailqueue.outbox.engine import configure_sqlite
from mailqueue.outbox.prune import Pruned, Retention, preview, prune, reclaim
from mailqueue.outbox.tables import actions, attempts, contents, messages, metadata, recipients
from tests.support.rows import (
    CONTENT,
    NOW,
    SECOND,
    add_action,
    add_attempt,
    add_message,
    add_recipient,
    recipient_ids,
)

SENT_LONG_AGO = {"state": State.SENT, "finished_at": NOW - 100 * SECOND}
CONTENTS = Retention(contents_before=NOW)
MESSAGES = Retention(messages_before=NOW)


def add_old(connection: Connection, raw: bytes = CONTENT) -> int:
    """Insert a message that was sent long ago."""
    return add_message(connection, raw=raw, enqueued_at=NOW - 200 * SECOND, recipient=SENT_LONG_AGO)


def left(connection: Connection, table: Table = messages) -> int:
    """Count the rows of a table."""
    return connection.scalar(select(func.count()).select_from(table)) or 0


def test_contents_go_first_and_the_record_stays(connection: Connection) -> None:
    """The bytes of finished mail are pruned, and who got it and when can still be asked."""
    add_old(connection)

    assert prune(connection, CONTENTS) == Pruned(contents=1, messages=0, last=None)
    assert (left(connection, contents), left(connection, recipients)) == (0, 1)


def test_a_whole_message_goes_with_all_that_belongs_to_it(connection: Connection) -> None:
    """Nothing is left behind of a pruned message."""
    message = add_old(connection)
    (recipient,) = recipient_ids(connection, message)
    add_attempt(connection, recipient)
    add_action(connection, recipient)

    assert prune(connection, MESSAGES) == Pruned(contents=0, messages=1, last=None)
    for table in (messages, contents, recipients, attempts, actions):
        assert left(connection, table) == 0


@pytest.mark.parametrize("state", [state for state in State if not state.is_final])
@pytest.mark.parametrize("retention", [CONTENTS, MESSAGES])
def test_nothing_unfinished_is_pruned(
    connection: Connection, state: State, retention: Retention
) -> None:
    """One recipient who still waits keeps the whole message, however old it is."""
    message = add_old(connection)
    add_recipient(connection, message, state=state)

    assert prune(connection, retention) == Pruned(0, 0, None)


@pytest.mark.parametrize(("finished_at", "gone"), [(NOW - 1, 1), (NOW, 0), (NOW + 1, 0)])
def test_a_message_is_as_old_as_its_last_recipient(
    connection: Connection, finished_at: int, gone: int
) -> None:
    """Retention counts from when the last recipient was done, and not from the first."""
    message = add_old(connection)
    add_recipient(connection, message, state=State.FAILED, finished_at=finished_at)

    assert prune(connection, MESSAGES).messages == gone


def test_each_age_is_its_own(connection: Connection) -> None:
    """In one sweep old contents go, and very old messages as a whole."""
    add_old(connection)
    add_message(connection, recipient={"state": State.SENT, "finished_at": NOW - 10 * SECOND})
    add_message(connection, recipient={"state": State.SENT, "finished_at": NOW})
    retention = Retention(contents_before=NOW, messages_before=NOW - 50 * SECOND)

    assert prune(connection, retention) == Pruned(contents=1, messages=1, last=None)
    assert (left(connection), left(connection, contents)) == (2, 1)


def test_a_preview_removes_nothing(connection: Connection) -> None:
    """It says what pruning would do: contents of a message that goes as a whole count with it."""
    add_old(connection)
    add_message(connection, recipient={"state": State.SENT, "finished_at": NOW - 10 * SECOND})
    retention = Retention(contents_before=NOW, messages_before=NOW - 50 * SECOND)

    assert preview(connection, retention) == Pruned(contents=1, messages=1, last=None)
    assert (left(connection), left(connection, contents)) == (2, 2)
    assert prune(connection, retention) == Pruned(contents=1, messages=1, last=None)


def test_without_an_age_everything_is_kept(connection: Connection) -> None:
    """Nothing is pruned that nobody asked to have pruned."""
    add_old(connection)

    assert prune(connection, Retention()) == Pruned(0, 0, None)


def test_pruning_goes_on_where_it_stopped(connection: Connection) -> None:
    """Batch after batch the whole outbox is walked, past what has to stay."""
    stays = [add_message(connection), add_old(connection), add_message(connection)]
    add_recipient(connection, stays[1], state=State.HELD)
    for _ in range(5):
        add_old(connection)

    batches = [prune(connection, MESSAGES, limit=3)]
    while (last := batches[-1].last) is not None:
        batches.append(prune(connection, MESSAGES, after=last, limit=3))
    assert [batch.messages for batch in batches] == [0, 3, 2]
    assert [*connection.scalars(select(messages.c.id))] == stays


def test_an_empty_outbox_is_at_its_end(connection: Connection) -> None:
    """Where there is nothing, there is no next batch."""
    assert prune(connection, MESSAGES) == Pruned(0, 0, None)


def test_ids_are_not_given_again(connection: Connection) -> None:
    """A receipt never comes to stand for somebody else's message."""
    message = add_old(connection)
    prune(connection, MESSAGES)

    assert add_message(connection) > message


AGES = st.integers(min_value=-3, max_value=3)


@st.composite
def finishes(draw: st.DrawFn) -> dict[str, Any]:
    """How a recipient ended and when, or that it has not."""
    state = draw(st.sampled_from(State))
    return {"state": state, "finished_at": NOW + draw(AGES) if state.is_final else None}


@settings(max_examples=50)
@given(
    outbox=st.lists(
        st.tuples(AGES, st.lists(finishes(), min_size=1, max_size=3)),
        max_size=6,
    ),
    limit=st.integers(min_value=1, max_value=4),
)
def test_exactly_what_is_finished_and_old_goes(
    shared: Engine, outbox: list[tuple[int, list[dict[str, Any]]]], limit: int
) -> None:
    """Whatever the order of ids and ages, all that may go goes, and nothing else."""
    stays: list[int] = []
    with shared.connect() as connection:
        for age, (first, *others) in outbox:
            message = add_message(connection, enqueued_at=NOW + age, recipient=first)
            for other in others:
                add_recipient(connection, message, **other)
            ends = [recipient["finished_at"] for recipient in (first, *others)]
            if age >= 0 or any(end is None or end >= NOW for end in ends):
                stays.append(message)
        last: int | None = 0
        while last is not None:
            foreseen = preview(connection, MESSAGES, after=last, limit=limit)
            pruned = prune(connection, MESSAGES, after=last, limit=limit)
            assert foreseen == pruned
            last = pruned.last

        assert [*connection.scalars(select(messages.c.id).order_by("id"))] == stays


def test_free_pages_go_back_to_the_file_system(engine: Engine, path: Path) -> None:
    """The file shrinks after much was pruned, a bounded number of pages at a time."""
    with engine.begin() as connection:
        for _ in range(5):
            add_old(connection, raw=b"x" * 100_000)
    with engine.begin() as connection:
        prune(connection, CONTENTS)
        assert reclaim(connection, pages=10) == 10
        assert reclaim(connection, pages=10_000) > 100
        assert reclaim(connection) == 0
    engine.dispose()

    assert path.stat().st_size < 200_000


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Engine]:
    """An application's file that was there before, without incremental vacuum."""
    with sqlite3.connect(tmp_path / "application.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    engine = create_engine(f"sqlite:///{tmp_path / 'application.db'}")
    configure_sqlite(engine)
    schema.create(engine)
    yield engine
    engine.dispose()


def test_a_file_that_cannot_shrink_is_left_as_it_is(application: Engine) -> None:
    """In an older file free pages are used again, and nobody tries in vain to give them back."""
    with application.begin() as connection:
        add_old(connection, raw=b"x" * 100_000)
    with application.begin() as connection:
        prune(connection, CONTENTS)
        assert reclaim(connection) == 0


def test_every_table_that_hangs_on_another_goes_with_it() -> None:
    """A table added later is pruned with the rest, or this is where it is noticed."""
    for table in metadata.sorted_tables:
        for key in table.foreign_key_constraints:
            assert key.ondelete == "CASCADE"
