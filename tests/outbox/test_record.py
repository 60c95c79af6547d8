"""What a result writes, and when it may not."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from sqlalchemy import Connection, func, select, update

from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import State
from mailqueue.mail.reply import EnhancedStatus, Evidence, NoReply, NoReplyKind, Reply, Unsendable
from mailqueue.mail.stage import Stage
from mailqueue.outbox.record import record
from mailqueue.outbox.tables import attempts, recipients
from tests.support.leases import (
    ACCEPTED,
    CUT_OFF,
    DEFERRED,
    OVERLOADED,
    REFUSED,
    SHUTDOWN,
    SILENCE,
    UNREACHABLE,
    WORKER,
    attempts_of,
    result_of,
    row_of,
    take,
    take_one,
)
from tests.support.rows import NOW, SECOND, add_message

FIRST_PAUSE = 300 * SECOND

LOCAL = Evidence(Stage.MAIL, NoReply(NoReplyKind.LOCAL, "a bad row"))
UNSENDABLE = Evidence(Stage.RCPT, Unsendable(EnhancedStatus(5, 6, 7), "SMTPUTF8 is not offered"))


@pytest.mark.parametrize(
    ("evidence", "state", "due_at", "charged", "doubts", "written"),
    [
        pytest.param(ACCEPTED, State.SENT, None, 1, 0, 1, id="a 250 to the dot"),
        pytest.param(DEFERRED, State.DEFERRED, NOW + FIRST_PAUSE, 1, 0, 1, id="a 450 to RCPT"),
        pytest.param(REFUSED, State.FAILED, None, 1, 0, 1, id="a 550 to RCPT"),
        pytest.param(UNSENDABLE, State.FAILED, None, 1, 0, 1, id="unsendable"),
        pytest.param(CUT_OFF, State.DEFERRED, NOW + FIRST_PAUSE, 1, 0, 1, id="lost before the dot"),
        pytest.param(SILENCE, State.DEFERRED, NOW + FIRST_PAUSE, 1, 1, 1, id="silence after it"),
        pytest.param(OVERLOADED, State.DEFERRED, NOW + FIRST_PAUSE, 0, 0, 1, id="421 to MAIL"),
        pytest.param(UNREACHABLE, State.QUEUED, NOW, 0, 0, 0, id="a refused connection"),
        pytest.param(SHUTDOWN, State.QUEUED, NOW, 0, 0, 0, id="our own shutdown"),
        pytest.param(LOCAL, State.DEFERRED, NOW + FIRST_PAUSE, 0, 0, 1, id="a fault of our own"),
    ],
)
def test_what_a_result_changes(
    connection: Connection,
    evidence: Evidence,
    state: State,
    due_at: int | None,
    charged: int,
    doubts: int,
    written: int,
) -> None:
    """State, due time, counters and attempts follow the verdict; the lease is over either way."""
    add_message(connection)
    lease = take_one(connection)
    assert record(connection, [result_of(lease, evidence)]) == []
    row = row_of(connection, lease.recipient)
    assert (row.state, row.due_at, row.worker) == (state, due_at, None)
    assert (row.attempts, row.doubts) == (charged, doubts)
    assert row.finished_at == (NOW if state.is_final else None)
    assert len(attempts_of(connection, lease.recipient)) == written


def test_doubt_that_is_to_be_held_waits_for_an_operator(connection: Connection) -> None:
    """At most once: nobody sends it again unless a person says so."""
    add_message(connection, on_doubt="hold")
    lease = take_one(connection)
    record(connection, [result_of(lease, SILENCE, on_doubt=OnDoubt.HOLD)])
    row = row_of(connection, lease.recipient)
    assert (row.state, row.due_at, row.doubts) == (State.HELD, None, 1)
    assert [one.verdict for one in attempts_of(connection, lease.recipient)] == ["in-doubt"]


def test_an_attempt_keeps_everything_that_was_known(connection: Connection) -> None:
    """Whoever asks SQL why a mail did not go finds the whole circumstance."""
    add_message(connection)
    lease = take_one(connection)
    record(connection, [result_of(lease, DEFERRED, rcpt=Reply(250, "ok"))])
    (row,) = attempts_of(connection, lease.recipient)
    kept = dict(row._mapping)
    del kept["id"]
    assert kept == {
        "recipient_id": lease.recipient,
        "number": 1,
        "charged": True,
        "started_at": NOW - SECOND,
        "ended_at": NOW,
        "relay": "main",
        "worker": WORKER,
        "session": "s1",
        "peer": "192.0.2.1:25",
        "tls": "TLSv1.3",
        "stage": "rcpt",
        "command": "RCPT",
        "code": 450,
        "enhanced": "4.2.1",
        "text": "mailbox busy, id 12",
        "reason": "mailbox busy, id #",
        "rcpt_reply": "250 ok",
        "verdict": "defer",
        "scope": "recipient",
        "rule": "recipient-4xx",
        "due_at": NOW + FIRST_PAUSE,
    }


@pytest.mark.parametrize(
    "taken_over",
    [
        pytest.param({"lease": 2}, id="a later claim of the same worker"),
        pytest.param({"worker": "w2"}, id="another worker"),
        pytest.param({"worker": "w2", "lease": 2}, id="a claim of another worker"),
        pytest.param({"worker": None}, id="nobody"),
        pytest.param({"state": str(State.DEFERRED), "due_at": NOW + 1}, id="the janitor"),
        pytest.param({"state": str(State.HELD), "due_at": None}, id="an operator"),
        pytest.param({"state": str(State.SENT), "finished_at": NOW, "due_at": None}, id="the end"),
    ],
)
@pytest.mark.parametrize("evidence", [ACCEPTED, DEFERRED, REFUSED, SILENCE, SHUTDOWN])
def test_a_result_without_the_lease_changes_nothing_and_writes_no_attempt(
    connection: Connection, taken_over: dict[str, Any], evidence: Evidence
) -> None:
    """A stalled worker that wakes up late is told so; the row belongs to whoever has it now."""
    add_message(connection)
    lease = take_one(connection)
    connection.execute(update(recipients).values(**taken_over))
    before = row_of(connection, lease.recipient)
    late = result_of(lease, evidence)
    assert record(connection, [late]) == [late]
    assert row_of(connection, lease.recipient) == before
    assert attempts_of(connection, lease.recipient) == []


def test_a_refused_result_costs_the_others_nothing(connection: Connection) -> None:
    """In one transaction those that hold their leases are written and the late one is named."""
    add_message(connection, "a@example.net", "b@example.net", "c@example.net")
    (message,) = take(connection)
    results = [result_of(lease, ACCEPTED) for lease in message.leases]
    lost = message.leases[1].recipient
    connection.execute(update(recipients).where(recipients.c.id == lost).values(lease=7))
    assert record(connection, results) == [results[1]]
    states = [row_of(connection, lease.recipient).state for lease in message.leases]
    assert states == [State.SENT, State.SENDING, State.SENT]


def test_a_result_is_written_once(connection: Connection) -> None:
    """The same result again is late: the first one has ended the lease."""
    add_message(connection)
    result = result_of(take_one(connection), ACCEPTED)
    assert record(connection, [result]) == []
    assert record(connection, [result]) == [result]
    assert len(attempts_of(connection, result.lease.recipient)) == 1


def test_of_two_results_for_one_lease_the_first_is_written(connection: Connection) -> None:
    """A lease ends once, also within one call: what says something else of it is refused."""
    add_message(connection)
    lease = take_one(connection)
    first, second = result_of(lease, ACCEPTED), result_of(lease, REFUSED)
    assert record(connection, [first, second]) == [second]
    assert row_of(connection, lease.recipient).state == State.SENT
    assert [one.code for one in attempts_of(connection, lease.recipient)] == [250]


def test_silence_never_replaces_a_real_reply(connection: Connection) -> None:
    """An expired recipient keeps the last thing that its relay really said."""
    add_message(connection)
    record(connection, [result_of(take_one(connection), DEFERRED)])
    later = NOW + 2 * FIRST_PAUSE
    lease = take_one(connection, now=later)
    record(connection, [result_of(lease, CUT_OFF, now=later)])
    row = row_of(connection, lease.recipient)
    assert (row.last_code, row.last_enhanced, row.last_at) == (450, "4.2.1", NOW)
    assert row.last_text == "mailbox busy, id 12"
    assert row.attempts == 2


def test_silence_is_kept_where_nothing_was_ever_said(connection: Connection) -> None:
    """Better a word about the silence than none; a later one takes its place."""
    add_message(connection)
    lease = take_one(connection)
    record(connection, [result_of(lease, CUT_OFF)])
    row = row_of(connection, lease.recipient)
    assert (row.last_code, row.last_text, row.last_at) == (None, "no reply (lost: reset)", NOW)
    later = NOW + 2 * FIRST_PAUSE
    record(connection, [result_of(take_one(connection, now=later), SILENCE, now=later)])
    assert row_of(connection, lease.recipient).last_text == "no reply (timeout: 600 s)"


def test_a_hand_back_after_charged_attempts_waits_as_deferred(connection: Connection) -> None:
    """Handing back takes nothing off the history, and adds nothing to it."""
    add_message(connection, recipient={"state": State.DEFERRED, "attempts": 3, "last_text": "x"})
    lease = take_one(connection)
    record(connection, [result_of(lease, SHUTDOWN)])
    row = row_of(connection, lease.recipient)
    assert (row.state, row.attempts, row.last_text) == (State.DEFERRED, 3, "x")


def test_attempts_are_numbered_by_the_charged_ones(connection: Connection) -> None:
    """The number of an attempt is the count that the schedule goes by."""
    add_message(connection)
    numbers = []
    for step, evidence in enumerate((DEFERRED, OVERLOADED, DEFERRED)):
        now = NOW + step * 100_000 * SECOND // 2
        lease = take_one(connection, now=now)
        record(connection, [result_of(lease, evidence, now=now)])
        numbers = [(one.number, one.charged) for one in attempts_of(connection, lease.recipient)]
    assert numbers == [(1, True), (1, False), (2, True)]


@pytest.mark.backend("sqlite")
def test_more_results_than_a_statement_has_parameters(connection: Connection) -> None:
    """What gathered while the database was busy is written, however much it is."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    usual = driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 600)
    try:
        add_message(connection, *(f"r{number}@example.net" for number in range(1500)))
        (message,) = take(connection)
        assert record(connection, [result_of(one, ACCEPTED) for one in message.leases]) == []
    finally:
        driver.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, usual)
    assert connection.scalar(select(func.count()).select_from(attempts)) == 1500


def test_hostile_text_is_stored_as_text(connection: Connection) -> None:
    """A reply that looks like SQL is data."""
    add_message(connection)
    text = "'); DROP TABLE mailqueue_recipients; --"
    lease = take_one(connection)
    record(connection, [result_of(lease, Evidence(Stage.RCPT, Reply(450, text)))])
    assert row_of(connection, lease.recipient).last_text == text
    assert attempts_of(connection, lease.recipient)[0].text == text
