"""The fence: it stands in the database, and stops whoever writes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import URL, Connection, Engine, delete, func, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from mailqueue import AsyncOutbox, Outbox, OutboxFencedError
from mailqueue.clock import SystemClock
from mailqueue.mail.lifecycle import Event
from mailqueue.outbox import schema
from mailqueue.outbox.acts import act, of_messages
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.fence import Fence, Phase, passing, put_up, standing, take_away
from mailqueue.outbox.location import database_path, parse_url
from mailqueue.outbox.pauses import Pause, pause
from mailqueue.outbox.record import record
from mailqueue.outbox.relays import RelayRow, save
from mailqueue.outbox.tables import actions, attempts, contents, messages, recipients
from tests.support import rows
from tests.support.leases import ACCEPTED, result_of, take, take_one

RAW = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\r\n\r\nhello\r\n"
PLACE = "postgresql+psycopg://mail:***@db.example.org/it's :100% 'ours'"
FENCE = Fence("c1", Phase.DRAINING, PLACE, rows.NOW)
SEALED = (Phase.COPYING, Phase.MOVED, Phase.ARRIVING)


def _fence(engine: Engine, phase: Phase) -> None:
    with engine.begin() as connection:
        put_up(connection, replace(FENCE, phase=phase), patience=1)


def _place(engine: Engine) -> URL | Path:
    return database_path(engine.url) or engine.url


def _outbox(engine: Engine) -> Outbox:
    return Outbox(_place(engine))


@pytest.mark.parametrize("phase", Phase)
def test_nothing_can_be_enqueued_and_the_error_names_the_other_place(
    engine: Engine, phase: Phase
) -> None:
    """A producer gets an error of its own kind, whatever kind of transaction it writes in."""
    _fence(engine, phase)
    with _outbox(engine) as outbox:
        with pytest.raises(OutboxFencedError) as alone:
            outbox.enqueue(RAW)
        with engine.connect() as connection, pytest.raises(OutboxFencedError) as joined:
            outbox.enqueue(RAW, connection=connection)
        with pytest.raises(OutboxFencedError):
            outbox.enqueue_many([RAW, RAW])
    assert alone.value.place == joined.value.place == PLACE
    assert PLACE in str(alone.value)
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(messages)) == 0


async def test_an_asynchronous_producer_hears_the_same(engine: Engine) -> None:
    """Each of those whose mail would have shared a commit gets the error."""
    _fence(engine, Phase.DRAINING)
    async with AsyncOutbox(_place(engine)) as outbox:
        told = await asyncio.gather(
            *(outbox.enqueue(RAW) for _ in range(5)), return_exceptions=True
        )
    assert [type(error) for error in told] == [OutboxFencedError] * 5


@pytest.mark.parametrize("phase", Phase)
def test_nothing_can_be_claimed(engine: Engine, phase: Phase) -> None:
    """No daemon, of whatever version, gets a lease."""
    with engine.begin() as connection:
        rows.add_message(connection)
    _fence(engine, phase)
    with (
        pytest.raises(OutboxFencedError),
        translating(engine.url),
        engine.begin() as connection,
    ):
        take(connection)


def test_what_is_leased_is_settled_while_it_drains(engine: Engine) -> None:
    """A result is written, and so is what an operator decides about the others."""
    with engine.begin() as connection:
        rows.add_message(connection)
        lease = take_one(connection)
        other = rows.add_message(connection)
    _fence(engine, Phase.DRAINING)
    with engine.begin() as connection:
        assert record(connection, [result_of(lease, ACCEPTED)]) == []
        act(connection, of_messages([other]), Event.HOLD, actor="olga", now=rows.NOW)
    with engine.connect() as connection:
        assert [*connection.scalars(select(recipients.c.state).order_by(recipients.c.id))] == [
            "sent",
            "held",
        ]


_Write = Callable[[Connection], object]
_WRITES: dict[str, _Write] = {
    "a message": rows.add_message,
    "a recipient": lambda known: rows.add_recipient(known, 1),
    "an attempt": lambda known: rows.add_attempt(known, 1),
    "an action": lambda known: rows.add_action(known, 1),
    "a result": lambda known: known.execute(update(recipients).values(attempts=9)),
    "a prune of contents": lambda known: known.execute(delete(contents)),
    "a prune of messages": lambda known: known.execute(delete(messages)),
    "a changed content": lambda known: known.execute(update(contents).values(raw=b"")),
    "an altered record": lambda known: known.execute(update(actions).values(actor="x")),
    "an altered attempt": lambda known: known.execute(update(attempts).values(text="x")),
}


@pytest.mark.parametrize("phase", SEALED)
@pytest.mark.parametrize("write", _WRITES.values(), ids=_WRITES)
def test_nothing_at_all_is_written_once_it_is_sealed(
    engine: Engine, phase: Phase, write: _Write
) -> None:
    """What is compared at the end must not change behind the back of who compares."""
    with engine.begin() as connection:
        rows.add_message(connection)
        rows.add_attempt(connection, 1)
        rows.add_action(connection, 1)
    _fence(engine, phase)
    with pytest.raises(OutboxFencedError), translating(engine.url), engine.begin() as connection:
        write(connection)


@pytest.mark.parametrize("phase", [Phase.COPYING, Phase.MOVED])
def test_a_pause_is_not_decided_where_nobody_reads_it(engine: Engine, phase: Phase) -> None:
    """What a daemon writes of its breakers passes, so that it can end in order."""
    with engine.begin() as connection:
        rows.add_relay(connection, "main")
    _fence(engine, phase)
    with engine.begin() as connection:
        save(connection, RelayRow("main", "open", rows.NOW))
        save(connection, RelayRow("bulk", "closed", rows.NOW))
    for relay in ("main", "new"):
        with (
            pytest.raises(OutboxFencedError),
            translating(engine.url),
            engine.begin() as connection,
        ):
            pause(connection, relay, Pause(rows.NOW, None, "olga"))


def test_who_fills_the_outbox_passes_and_nobody_else(engine: Engine) -> None:
    """The gate is open in the transaction of the copy alone, and shut behind it."""
    _fence(engine, Phase.ARRIVING)
    with engine.begin() as connection:
        with passing(connection, "c1"):
            rows.add_message(connection)
        with pytest.raises(DBAPIError):
            rows.add_message(connection)
        connection.rollback()
    with pytest.raises(OutboxFencedError), engine.begin() as connection, passing(connection, "c2"):
        pass
    with engine.begin() as connection, passing(connection, "c1"):
        rows.add_message(connection)
    with pytest.raises(OutboxFencedError), _outbox(engine) as outbox:
        outbox.enqueue(RAW)


def test_a_fence_that_is_taken_away_leaves_nothing(engine: Engine) -> None:
    """Afterwards all goes on as if it had never stood, however often it was put up."""
    for phase in Phase:
        _fence(engine, phase)
        with engine.connect() as connection:
            assert standing(connection) == replace(FENCE, phase=phase)
    with engine.begin() as connection:
        take_away(connection)
        take_away(connection)
        assert standing(connection) is None
    with _outbox(engine) as outbox:
        outbox.enqueue(RAW)
    with engine.begin() as connection:
        assert len(take(connection, now=SystemClock().now())) == 1
        left = {
            "sqlite": "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%fence%'",
            "postgresql": "SELECT count(*) FROM pg_proc WHERE proname LIKE '%fence%'",
        }[connection.dialect.name]
        assert connection.scalar(text(left)) == 0


def test_the_tables_are_not_upgraded_behind_a_fence(engine: Engine) -> None:
    """A migration may make a table anew, without the triggers on it."""
    _fence(engine, Phase.MOVED)
    with pytest.raises(OutboxFencedError):
        schema.upgrade(engine)


def test_an_open_connection_of_an_older_version_meets_the_fence(engine: Engine) -> None:
    """A statement that was prepared before the fence stood is refused like any other."""
    if engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL looks at a table's triggers when it takes its lock")
    path = database_path(engine.url)
    assert path is not None
    old = sqlite3.connect(path, isolation_level=None)
    insert = (
        "INSERT INTO mailqueue_messages (enqueued_at, header_message_id, sender, size, "
        "recipient_count, eight_bit, utf8_header, relay, priority, on_doubt) "
        "VALUES (1, '<1@x>', 'a@b', 1, 1, 0, 0, 'default', 1, 'retry')"
    )
    old.execute(insert)
    _fence(engine, Phase.DRAINING)
    with pytest.raises(sqlite3.IntegrityError, match=r"this outbox is being moved to"):
        old.execute(insert)
    old.close()


def test_the_fence_waits_for_who_has_written_already(engine: Engine) -> None:
    """A transaction that enqueued before it commits first, or it is not put up."""
    with engine.connect() as connection, _outbox(engine) as outbox:
        outbox.enqueue(RAW, connection=connection)
        other = write_engine_of(engine)
        with pytest.raises(DBAPIError), other.begin() as late:
            put_up(late, FENCE, patience=0.2)
        connection.commit()
        with other.begin() as late:
            put_up(late, FENCE, patience=0.2)
        other.dispose()
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(messages)) == 1


def write_engine_of(engine: Engine) -> Engine:
    """Return another engine on the same outbox."""
    return write_engine(parse_url(_place(engine)), busy_timeout=0.2)


def test_an_integrity_error_of_another_kind_stays_what_it_is(engine: Engine) -> None:
    """Only the fence's own words make an error one of the fence."""
    with pytest.raises(IntegrityError), translating(engine.url), engine.begin() as connection:
        rows.add_recipient(connection, 1, state="queued", due_at=None)
