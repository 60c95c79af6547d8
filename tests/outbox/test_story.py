from __future__ import annotations

import pytest
from sqlalchemy import Connection, Engine, event

from mailqueue.errors import UnknownMessageError
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.story import Action, Attempt, story
from tests.support.rows import (
    NOW,
    SECOND,
    add_action,
    add_attempt,
    add_message,
    add_relay,
    recipient_ids,
)


def test_a_story_holds_all_that_happened(connection: Connection) -> None:
    """Envelope, attempts, actions and the relay's state are all there, each in its order."""
    add_relay(connection, "bulk", breaker="open", code=421)
    add_relay(connection, "other")
    message = add_message(
        connection,
        "anna@example.net",
        "bob@example.net",
        relay="bulk",
        on_doubt="hold",
        priority=0,
        send_at=NOW - SECOND,
        idempotency_key="order-42",
        tags='{"order": "42"}',
    )
    anna, bob = recipient_ids(connection, message)
    add_attempt(connection, anna, ended_at=NOW)
    add_attempt(connection, anna, number=2, ended_at=NOW + SECOND, code=250, verdict="sent")
    add_action(connection, bob)

    told = story(connection, message)
    assert (told.id, told.message_id, told.sender) == (
        message,
        "<1@example.org>",
        "sender@example.org",
    )
    assert (told.relay, told.priority, told.on_doubt) == ("bulk", 0, OnDoubt.HOLD)
    assert (told.send_at, told.expires_at, told.enqueued_at) == (NOW - SECOND, None, NOW)
    assert (told.idempotency_key, told.tags) == ("order-42", {"order": "42"})
    assert (told.eight_bit, told.has_content) == (False, True)
    of_anna, of_bob = told.recipients
    assert [attempt.code for attempt in of_anna.attempts] == [450, 250]
    assert of_anna.actions == ()
    assert of_bob.attempts == ()
    assert of_bob.actions == (
        Action(NOW, "hold", "olga", "asked by the customer", "queued", "held"),
    )
    assert of_bob.status.state is State.QUEUED
    assert {name: row.breaker for name, row in told.relays.items()} == {"bulk": "open"}


def test_an_attempt_is_told_as_it_was_recorded(connection: Connection) -> None:
    """Every column of the record has its place."""
    message = add_message(connection)
    (recipient,) = recipient_ids(connection, message)
    add_attempt(
        connection,
        recipient,
        charged=False,
        session="s1",
        peer="192.0.2.1:25",
        tls="TLSv1.3",
        command="RCPT TO:<anna@example.net>",
        rcpt_reply="250 ok",
        due_at=NOW + SECOND,
    )

    (told,) = story(connection, message).recipients
    assert told.attempts == (
        Attempt(
            number=1,
            charged=False,
            started_at=NOW - SECOND,
            ended_at=NOW,
            relay="default",
            worker="w1",
            session="s1",
            peer="192.0.2.1:25",
            tls="TLSv1.3",
            stage="rcpt",
            command="RCPT TO:<anna@example.net>",
            code=450,
            enhanced="4.2.1",
            text="<anna@example.net>: try later, id 4XyZ9",
            rcpt_reply="250 ok",
            verdict="defer",
            scope="recipient",
            rule="recipient-4xx",
            due_at=NOW + SECOND,
        ),
    )


def test_a_story_takes_five_statements(engine: Engine, connection: Connection) -> None:
    """It costs the same however many recipients and attempts there are."""
    message = add_message(connection, *(f"r{number}@example.net" for number in range(20)))
    for recipient in recipient_ids(connection, message):
        add_attempt(connection, recipient)
        add_action(connection, recipient)
    sent: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        sent.append(statement)

    assert len(story(connection, message).recipients) == 20
    assert len(sent) == 5


def test_a_story_says_that_the_content_is_gone(connection: Connection) -> None:
    """After the bytes were pruned the rest is still told."""
    assert not story(connection, add_message(connection, raw=None)).has_content


def test_a_message_that_is_not_there_has_no_story(connection: Connection) -> None:
    """A wrong id is named as such."""
    with pytest.raises(UnknownMessageError, match="no message 42"):
        story(connection, 42)
