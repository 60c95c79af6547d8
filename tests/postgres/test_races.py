"""What two do at once on PostgreSQL, where nobody waits for a lock on the whole."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.exc import DBAPIError

from mailqueue.mail.lifecycle import Event, State
from mailqueue.outbox import reap as reaping
from mailqueue.outbox import record as recording
from mailqueue.outbox.acts import act
from mailqueue.outbox.pauses import Pause, pause, pauses
from mailqueue.outbox.prune import Pruned, Retention, prune
from mailqueue.outbox.reap import expire, reap
from mailqueue.outbox.record import Entry, Result, record
from mailqueue.outbox.relays import RelayRow, load, show
from mailqueue.outbox.tables import contents, messages, recipients, relays
from tests.postgres.places import WAITING, query
from tests.support.leases import ACCEPTED, LEASE, POLICY, attempts_of, result_of, row_of, take
from tests.support.rows import NOW, SECOND, add_message

FAILED_LONG_AGO = {"state": State.FAILED, "finished_at": NOW - 100 * SECOND}


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """As many connections as one likes."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def _reap(connection: Connection, now: int) -> list[Result]:
    return [*reap(connection, lambda _relay: POLICY, now=now, jitter=lambda: 0.0)]


def test_a_lease_that_was_looked_at_cannot_go_before_its_result_is_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one of several results is refused, the others are still the holder's to write.

    Somebody who reaps at this very moment leaves them alone: otherwise an attempt would stand on
    record that its recipient knows nothing of.
    """
    late = NOW + LEASE + SECOND
    with engine.begin() as connection:
        add_message(connection, "anna@example.net")
        add_message(connection, "bert@example.net", header_message_id="<2@example.org>")
    with engine.begin() as connection:
        lost, kept = (message.leases[0] for message in take(connection))
    with engine.begin() as connection:
        connection.execute(
            recipients.update().where(recipients.c.id == kept.recipient).values(due_at=2 * late)
        )
        assert len(_reap(connection, late)) == 1
        connection.execute(
            recipients.update().where(recipients.c.id == kept.recipient).values(due_at=NOW)
        )
    look = recording._held

    def look_and_be_overtaken(connection: Connection, entries: Sequence[Entry]) -> Any:
        found = look(connection, entries)
        with engine.begin() as other:
            _reap(other, late)
        return found

    monkeypatch.setattr(recording, "_held", look_and_be_overtaken)
    with engine.begin() as connection:
        results = [result_of(lease, ACCEPTED) for lease in (lost, kept)]
        assert record(connection, results) == results[:1]
    with engine.begin() as connection:
        row = row_of(connection, kept.recipient)
        assert (row.state, row.attempts) == (State.SENT, 1)
        assert len(attempts_of(connection, kept.recipient)) == 1


def test_who_was_claimed_at_the_last_moment_is_not_said_to_have_expired(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told is what was done."""
    with engine.begin() as connection:
        add_message(connection, recipient={"expires_at": NOW + SECOND})
    find = reaping._passed

    def find_and_be_overtaken(connection: Connection, *conditions: Any) -> Any:
        found = find(connection, *conditions)
        with engine.begin() as other:
            take(other)
        return found

    monkeypatch.setattr(reaping, "_passed", find_and_be_overtaken)
    with engine.begin() as connection:
        assert expire(connection, {}, now=NOW + 2 * SECOND, default=432_000.0) == []


@pytest.mark.parametrize(
    "retention",
    [
        pytest.param(Retention(contents_before=NOW), id="contents"),
        pytest.param(Retention(messages_before=NOW), id="messages"),
    ],
)
def test_what_somebody_has_just_asked_to_be_sent_again_is_not_pruned(
    engine: Engine, url: str, retention: Retention
) -> None:
    """A retry that is not committed yet is waited for, and its mail is kept whole."""
    pruned: list[Pruned] = []

    def clear() -> None:
        with engine.begin() as connection:
            pruned.append(prune(connection, retention))

    with engine.begin() as connection:
        add_message(connection, enqueued_at=NOW - 200 * SECOND, recipient=FAILED_LONG_AGO)
    with engine.begin() as connection:
        (done,) = act(
            connection, recipients.c.id > 0, Event.RETRY, actor="olga", reason="", now=NOW
        )
        assert done.after == State.QUEUED
        clearing = threading.Thread(target=clear)
        clearing.start()
        while query(url, WAITING) == [(0,)]:
            assert clearing.is_alive(), f"nobody was waited for: {pruned}"
    clearing.join(10)
    with engine.begin() as connection:
        assert connection.scalar(select(recipients.c.state)) == State.QUEUED
        for table in (messages, contents):
            assert connection.scalar(select(func.count()).select_from(table)) == 1
    assert pruned == [Pruned(0, 0, None)]


def test_daemons_that_begin_at_once_write_the_same_relays(engine: Engine) -> None:
    """Each finds no row of its relay and writes one; whoever comes second changes that."""
    rows = [
        RelayRow("main", "closed", since=NOW, is_default=True),
        RelayRow("spare", "closed", since=NOW),
    ]
    _at_once(engine, lambda connection: show(connection, rows, worker="w", stale=()), times=20)
    with engine.begin() as connection:
        assert sorted(load(connection)) == ["main", "spare"]


def test_operators_who_pause_a_new_relay_at_once_do_not_collide(engine: Engine) -> None:
    """Both have paused it, and the row says who was last."""
    decided = Pause(NOW, None, "olga")
    _at_once(engine, lambda connection: pause(connection, "main", decided), times=20)
    with engine.begin() as connection:
        assert pauses(connection, now=NOW) == {"main": decided}


def _at_once(engine: Engine, work: Callable[[Connection], object], *, times: int) -> None:
    """Do it in four transactions at once, and that so often, each time with no relay known."""
    barrier, failed = threading.Barrier(4, action=partial(_forget_relays, engine)), []

    def begin() -> None:
        for _ in range(times):
            barrier.wait(10)
            try:
                with engine.begin() as connection:
                    work(connection)
            except DBAPIError as error:
                failed.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed[0]


def _forget_relays(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(relays.delete())
