from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from mailqueue.mail.lifecycle import State
from mailqueue.outbox import views
from tests.support.rows import (
    NOW,
    SECOND,
    add_action,
    add_attempt,
    add_message,
    add_recipient,
    add_relay,
    recipient_ids,
)
from tests.support.shell import Shell, shell_on

AT_NOW = "2023-11-14T22:13:20.000000Z"


@pytest.fixture
def shell(url: str) -> Iterator[Shell]:
    """What a person has who looks at the outbox by SQL."""
    shell = shell_on(url)
    yield shell
    shell.close()


def ask(shell: Shell, query: str) -> list[dict[str, Any]]:
    """Return what the query finds, by the names of its columns."""
    return [dict(row) for row in shell.ask(query)]


def test_failures_say_why_a_mail_did_not_go(engine: Engine, shell: Shell) -> None:
    """A refused recipient is there with the reply, the stage and the rule that decided."""
    with engine.begin() as connection:
        message = add_message(
            connection,
            "anna@example.net",
            tags=json.dumps({"order": "42"}),
            recipient={
                "state": State.FAILED,
                "attempts": 2,
                "last_at": NOW,
                "last_code": 550,
                "last_enhanced": "5.1.1",
                "last_text": "no such user",
            },
        )
        (recipient,) = recipient_ids(connection, message)
        add_attempt(connection, recipient, ended_at=NOW - SECOND)
        add_attempt(connection, recipient, number=2, code=550, verdict="fail", rule="recipient-5xx")

    assert ask(shell, "SELECT * FROM mailqueue_failures") == [
        {
            "message_id": message,
            "header_message_id": "<1@example.org>",
            "recipient_id": recipient,
            "sender": "sender@example.org",
            "recipient": "anna@example.net",
            "state": "failed",
            "failed_at": AT_NOW,
            "code": 550,
            "enhanced": "5.1.1",
            "text": "no such user",
            "stage": "rcpt",
            "rule": "recipient-5xx",
            "attempts": 2,
            "relay": "default",
            "tags": '{"order": "42"}',
            "enqueued_at": AT_NOW,
            "failed_by": None,
            "failed_because": None,
        }
    ]


def test_expired_mail_keeps_the_last_reply(engine: Engine, shell: Shell) -> None:
    """Why it was deferred so long is told, and not the silence that came after it."""
    with engine.begin() as connection:
        message = add_message(
            connection,
            recipient={
                "state": State.EXPIRED,
                "finished_at": NOW + SECOND,
                "last_at": NOW - SECOND,
                "last_code": 450,
            },
        )
        (recipient,) = recipient_ids(connection, message)
        add_attempt(connection, recipient, ended_at=NOW - SECOND)
        add_attempt(connection, recipient, code=None, stage="data", rule="lost-before-dot")

    (row,) = ask(shell, "SELECT state, code, stage, rule FROM mailqueue_failures")
    assert row == {"state": "expired", "code": 450, "stage": "rcpt", "rule": "recipient-4xx"}


def test_mail_that_expired_untried_is_a_failure_too(engine: Engine, shell: Shell) -> None:
    """Nobody is left out for want of an attempt."""
    with engine.begin() as connection:
        add_message(connection, recipient={"state": State.EXPIRED})

    (row,) = ask(shell, "SELECT state, code, stage FROM mailqueue_failures")
    assert row == {"state": "expired", "code": None, "stage": None}


def test_failures_name_who_gave_up_by_hand(engine: Engine, shell: Shell) -> None:
    """What an operator failed has his name and reason, and the last reply as it was."""
    with engine.begin() as connection:
        replied = {"last_at": NOW, "last_code": 450, "last_text": "busy"}
        message = add_message(connection, recipient={"state": State.FAILED, **replied})
        (recipient,) = recipient_ids(connection, message)
        add_action(connection, recipient, verb="fail-by-hand", at=NOW - 1, reason="long ago")
        add_action(connection, recipient, verb="fail-by-hand", reason="account closed")

    rows = ask(shell, "SELECT code, text, failed_by, failed_because FROM mailqueue_failures")
    assert [tuple(row.values()) for row in rows] == [(450, "busy", "olga", "account closed")]


@pytest.mark.parametrize(
    ("until", "shown"), [(None, "olga"), (NOW + 10**9 * SECOND, "olga"), (NOW, None)]
)
def test_the_backlog_says_that_an_operator_paused_the_relay(
    engine: Engine, shell: Shell, until: int | None, shown: str | None
) -> None:
    """A pause in force stands beside the breaker, and one that has ended does not."""
    with engine.begin() as connection:
        pause = {"paused_by": "olga", "paused_at": NOW, "paused_until": until}
        add_relay(connection, "bulk", pause_reason="new address", **pause)
        add_message(connection, relay="bulk")

    (row,) = ask(shell, "SELECT breaker, paused_by, paused_at, pause_reason FROM mailqueue_backlog")
    assert row["breaker"] == "closed"
    assert (row["paused_by"], row["paused_at"] and AT_NOW) == (shown, shown and AT_NOW)
    assert row["pause_reason"] == (shown and "new address")


def test_each_recipient_is_in_exactly_one_of_failures_and_backlog(
    engine: Engine, shell: Shell
) -> None:
    """Failures hold what failed or expired, the backlog what is unfinished, and nobody else."""
    with engine.begin() as connection:
        message = add_message(connection, recipient={"state": State.QUEUED})
        for state in set(State) - {State.QUEUED}:
            add_recipient(connection, message, state=state)

    failures = ask(shell, "SELECT state FROM mailqueue_failures")
    backlog = ask(shell, "SELECT state FROM mailqueue_backlog")
    assert {row["state"] for row in failures} == {"failed", "expired"}
    assert {row["state"] for row in backlog} == {"queued", "deferred", "sending", "held"}


def test_the_backlog_says_what_is_waited_for(engine: Engine, shell: Shell) -> None:
    """A waiting recipient is there with its due time, its last reply and its relay's breaker."""
    with engine.begin() as connection:
        add_relay(connection, "bulk", breaker="open", probe_at=NOW + SECOND)
        add_message(
            connection,
            relay="bulk",
            recipient={
                "state": State.DEFERRED,
                "attempts": 3,
                "doubts": 1,
                "last_at": NOW,
                "last_code": 450,
                "last_text": "busy",
            },
        )

    (row,) = ask(shell, "SELECT * FROM mailqueue_backlog")
    assert row["due_at"] == AT_NOW
    assert row["leased_until"] is None
    assert (row["breaker"], row["breaker_since"]) == ("open", AT_NOW)
    assert row["probe_at"] == "2023-11-14T22:13:21.000000Z"
    assert (row["attempts"], row["doubts"]) == (3, 1)
    assert (row["last_at"], row["last_code"], row["last_text"]) == (AT_NOW, 450, "busy")


def test_the_backlog_counts_how_long_mail_is_overdue(engine: Engine, shell: Shell) -> None:
    """Overdue is measured by the machine's clock, and what is due later is not overdue."""
    with engine.begin() as connection:
        message = add_message(connection, recipient={"due_at": NOW})
        add_recipient(connection, message, due_at=NOW + 10**9 * SECOND)
        add_recipient(connection, message, state=State.HELD)
    expected = datetime.now(UTC) - datetime.fromtimestamp(NOW / SECOND, UTC)

    rows = ask(shell, "SELECT overdue_seconds FROM mailqueue_backlog ORDER BY recipient_id")
    overdue, later, held = (row["overdue_seconds"] for row in rows)
    assert abs(overdue - expected.total_seconds()) < 10
    assert (later, held) == (0, 0)


def test_a_leased_recipient_is_not_due(engine: Engine, shell: Shell) -> None:
    """While a worker has it, its instant is the end of the lease, and it is not overdue."""
    with engine.begin() as connection:
        add_message(connection, recipient={"state": State.SENDING, "worker": "w1"})

    (row,) = ask(shell, "SELECT * FROM mailqueue_backlog")
    assert (row["due_at"], row["overdue_seconds"]) == (None, 0)
    assert (row["leased_until"], row["worker"]) == (AT_NOW, "w1")


def test_every_doubt_is_there_with_what_became_of_it(engine: Engine, shell: Shell) -> None:
    """One row for each doubtful attempt, whether the recipient was sent to again or is held."""
    with engine.begin() as connection:
        message = add_message(connection, "anna@example.net", "bob@example.net", on_doubt="hold")
        anna, bob = recipient_ids(connection, message)
        for number in (1, 2):
            add_attempt(connection, anna, number=number, verdict="in-doubt", stage="end-of-data")
        add_attempt(connection, bob, verdict="sent")

    rows = ask(
        shell,
        "SELECT recipient, number, state, on_doubt FROM mailqueue_in_doubt ORDER BY number",
    )
    assert rows == [
        {"recipient": "anna@example.net", "number": number, "state": "queued", "on_doubt": "hold"}
        for number in (1, 2)
    ]


def test_history_interleaves_attempts_and_actions(engine: Engine, shell: Shell) -> None:
    """Ordered by time, what the daemon did and what operators did tell one story."""
    with engine.begin() as connection:
        message = add_message(connection)
        (recipient,) = recipient_ids(connection, message)
        add_attempt(connection, recipient, ended_at=NOW)
        add_action(connection, recipient, at=NOW + 1)
        add_action(connection, recipient, at=NOW + 2, verb="release", from_state="held")
        add_attempt(connection, recipient, number=2, ended_at=NOW + 3, verdict="sent", code=250)
        add_message(connection, "somebody@example.net")

    rows = ask(
        shell,
        "SELECT at, kind, what, actor, code, text, from_state FROM mailqueue_history "
        f"WHERE message_id = {message} ORDER BY at",
    )
    assert [(row["kind"], row["what"], row["actor"]) for row in rows] == [
        ("attempt", "defer", "w1"),
        ("action", "hold", "olga"),
        ("action", "release", "olga"),
        ("attempt", "sent", "w1"),
    ]
    assert [row["code"] for row in rows] == [450, None, None, 250]
    assert rows[1]["text"] == "asked by the customer"
    assert rows[2]["from_state"] == "held"
    assert rows[1]["at"] == "2023-11-14T22:13:20.000001Z"


def test_reasons_group_what_relays_say(engine: Engine, shell: Shell) -> None:
    """Alike refusals are counted together, whatever address or number stands in them."""
    with engine.begin() as connection:
        message = add_message(connection, "anna@example.net", "bob@example.net")
        anna, bob = recipient_ids(connection, message)
        add_attempt(connection, anna, ended_at=NOW, text="<anna@example.net>: try later, id 1")
        add_attempt(connection, bob, ended_at=NOW + 1, text="<bob@example.net>: try later, id 2")
        add_attempt(connection, bob, ended_at=NOW + 2, text="<bob@example.net>: try later, id 3")
        add_attempt(connection, anna, verdict="sent", code=250, reason="queued")

    (row,) = ask(shell, "SELECT * FROM mailqueue_reasons")
    assert (row["count"], row["recipients"]) == (3, 2)
    assert (row["code"], row["enhanced"]) == (450, "4.2.1")
    assert row["reason"] == "<address>: try later, id #"
    assert (row["first_at"], row["last_at"]) == (AT_NOW, "2023-11-14T22:13:20.000002Z")
    assert row["example_recipient"] == "bob@example.net"
    assert row["example_text"] == "<bob@example.net>: try later, id 3"


@pytest.mark.parametrize(
    "difference",
    [
        {"code": 451},
        {"enhanced": None},
        {"reason": "another"},
        {"relay": "bulk"},
        {"stage": "mail"},
        {"verdict": "fail"},
        {"code": None, "enhanced": None, "reason": "no reply (timeout)"},
    ],
)
def test_reasons_keep_apart_what_differs(
    engine: Engine, shell: Shell, difference: dict[str, Any]
) -> None:
    """Another code, text, stage, relay or verdict is another reason, and silence is one too."""
    with engine.begin() as connection:
        (recipient,) = recipient_ids(connection, add_message(connection))
        add_attempt(connection, recipient)
        add_attempt(connection, recipient, **difference)

    rows = ask(shell, "SELECT count FROM mailqueue_reasons")
    assert [row["count"] for row in rows] == [1, 1]


@given(st.integers(min_value=0, max_value=253_402_300_799_999_999))
def test_instants_are_exact_and_sort_as_text(at: int) -> None:
    """Up to the year 9999 no microsecond is lost on the way to ISO-8601."""
    query = views.expanded("SELECT iso(x.at) FROM (SELECT ? AS at) AS x", "sqlite")
    with sqlite3.connect(":memory:") as connection:
        (written,) = connection.execute(query, (at,)).fetchone()
    connection.close()

    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)
    assert written == moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def test_no_instant_is_no_text(engine: Engine, shell: Shell) -> None:
    """What has not happened has no time."""
    with engine.begin() as connection:
        add_message(connection)

    (row,) = ask(shell, "SELECT last_at, expires_at FROM mailqueue_backlog")
    assert row == {"last_at": None, "expires_at": None}


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_view_is_spelt_out_for_every_dialect(dialect: str) -> None:
    """No placeholder of ours is left over for a database to stumble on."""
    written = [*views.statements(dialect)]

    assert len(written) == len(views.VIEWS) == 5
    assert not [statement for statement in written if "iso(" in statement or " now()" in statement]
