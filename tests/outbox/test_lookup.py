from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, event

from mailqueue.errors import UnknownMessageError
from mailqueue.mail.lifecycle import State
from mailqueue.outbox import lookup
from mailqueue.outbox.lookup import LastReply
from mailqueue.outbox.tables import recipients
from tests.support.rows import (
    CONTENT,
    NOW,
    SECOND,
    add_message,
    add_recipient,
)


@pytest.fixture
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that were sent to the database, BEGIN left out."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


def test_status_tells_how_each_recipient_stands(connection: Connection) -> None:
    """Recipients come in the order of the envelope, each with its state and last reply."""
    message = add_message(connection, "anna@example.net", "bob@example.net", tags='{"order": "42"}')
    add_recipient(
        connection,
        message,
        "carl@example.net",
        state=State.FAILED,
        attempts=2,
        last_at=NOW,
        last_code=550,
        last_enhanced="5.1.1",
        last_text="no such user",
    )

    found = lookup.status(connection, message)
    assert (found.id, found.message_id) == (message, "<1@example.org>")
    assert found.tags == {"order": "42"}
    assert [recipient.address for recipient in found.recipients] == [
        "anna@example.net",
        "bob@example.net",
        "carl@example.net",
    ]
    anna, _, carl = found.recipients
    assert (anna.state, anna.due_at, anna.last) == (State.QUEUED, NOW, None)
    assert (carl.state, carl.finished_at, carl.attempts) == (State.FAILED, NOW, 2)
    assert carl.last == LastReply(NOW, 550, "5.1.1", "no such user")


def test_status_takes_one_statement(connection: Connection, statements: list[str]) -> None:
    """It costs the same however many recipients there are."""
    message = add_message(connection, *(f"r{number}@example.net" for number in range(50)))
    statements.clear()

    assert len(lookup.status(connection, message).recipients) == 50
    assert len(statements) == 1


@pytest.mark.parametrize(
    ("states", "finished"),
    [
        ((State.SENT, State.FAILED), True),
        ((State.EXPIRED, State.CANCELLED), True),
        ((State.SENT, State.DEFERRED), False),
        ((State.SENT, State.HELD), False),
    ],
)
def test_a_message_is_finished_when_all_its_recipients_are(
    connection: Connection, states: tuple[State, ...], finished: bool
) -> None:
    """One recipient who waits keeps the message open, whatever became of the others."""
    message = add_message(connection, recipient={"state": states[0]})
    for state in states[1:]:
        add_recipient(connection, message, state=state)

    assert lookup.status(connection, message).is_finished is finished


def test_a_message_that_is_not_there_is_unknown(connection: Connection) -> None:
    """A wrong id is not mistaken for a message without recipients."""
    with pytest.raises(UnknownMessageError, match="no message 42"):
        lookup.status(connection, 42)


@pytest.mark.parametrize("tags", ["", "{", "[]", "null", '"x"', "1", "[" * 100_000])
def test_odd_tags_are_no_obstacle(connection: Connection, tags: str) -> None:
    """Whatever somebody's SQL left in a row, the message can still be looked at."""
    message = add_message(connection, tags=tags)

    assert lookup.status(connection, message).tags == {}


def test_tags_are_text(connection: Connection) -> None:
    """Numbers that somebody's SQL put there are read as text."""
    message = add_message(connection, tags='{"order": 42}')

    assert lookup.status(connection, message).tags == {"order": "42"}


def test_messages_are_found_by_their_header(connection: Connection) -> None:
    """A Message-ID from another system's log leads to all messages that carry it."""
    first = add_message(connection, header_message_id="<a@example.org>")
    add_message(connection, header_message_id="<b@example.org>")
    second = add_message(connection, header_message_id="<a@example.org>")

    assert lookup.find(connection, "<a@example.org>") == [first, second]
    assert lookup.find(connection, "<c@example.org>") == []


def test_content_is_what_was_stored(connection: Connection) -> None:
    """The bytes come back as they were, and None says that they were pruned."""
    assert lookup.content(connection, add_message(connection)) == CONTENT
    assert lookup.content(connection, add_message(connection, raw=None)) is None


def test_a_listing_names_message_and_recipient(connection: Connection) -> None:
    """Each line identifies the message and says how one recipient stands."""
    message = add_message(connection, "anna@example.net")

    (listed,) = lookup.listing(connection)
    assert (listed.message, listed.message_id) == (message, "<1@example.org>")
    assert (listed.sender, listed.enqueued_at) == ("sender@example.org", NOW)
    assert listed.recipient.address == "anna@example.net"


@pytest.mark.parametrize(
    "states",
    [(State.FAILED,), (State.QUEUED, State.HELD), (State.SENT, State.QUEUED), tuple(State)],
)
@pytest.mark.parametrize(("relay", "each"), [(None, 2), ("bulk", 1)])
def test_a_listing_keeps_to_states_and_relay(
    connection: Connection, states: tuple[State, ...], relay: str | None, each: int
) -> None:
    """Nobody is listed who was not asked for, and nobody who was is left out."""
    message = add_message(connection, "first@example.net", relay="bulk")
    for state in State:
        if state is not State.QUEUED:
            add_recipient(connection, message, state=state, relay="bulk")
        add_recipient(connection, message, state=state, relay="default")

    where = recipients.c.relay == relay if relay else None
    found = [*lookup.listing(connection, states=states, where=where)]
    assert Counter(one.recipient.state for one in found) == dict.fromkeys(states, each)
    assert relay is None or {one.recipient.relay for one in found} == {relay}


@settings(max_examples=30)
@given(
    states=st.lists(st.sampled_from(State), max_size=20),
    wanted=st.sets(st.sampled_from(State)),
    limit=st.integers(min_value=1, max_value=7),
)
def test_pages_hold_everybody_once(
    shared: Engine, states: list[State], wanted: set[State], limit: int
) -> None:
    """Page after page a listing shows each recipient exactly once, oldest first."""
    with shared.connect() as connection:
        message = add_message(connection, recipient={"state": State.SENT})
        for state in states:
            add_recipient(connection, message, state=state)

        seen: list[lookup.Listed] = []
        while page := [
            *lookup.listing(
                connection,
                states=wanted,
                limit=limit,
                after=seen[-1].recipient.id if seen else 0,
            )
        ]:
            assert len(page) <= limit
            seen += page

    expected = [state for state in [State.SENT, *states] if not wanted or state in wanted]
    assert [one.recipient.state for one in seen] == expected
    assert len({one.recipient.id for one in seen}) == len(seen)


def test_counts_name_every_state(connection: Connection) -> None:
    """A state without recipients counts nothing, and is not left out."""
    message = add_message(connection, "anna@example.net", "bob@example.net")
    add_recipient(connection, message, state=State.SENT)

    found = lookup.counts(connection)
    assert found == dict.fromkeys(State, 0) | {State.QUEUED: 2, State.SENT: 1}


def test_counts_keep_to_the_states_asked_for(connection: Connection) -> None:
    """A gauge of the backlog does not count what was ever sent."""
    message = add_message(connection)
    add_recipient(connection, message, state=State.SENT)

    states = (State.QUEUED, State.HELD)
    assert lookup.counts(connection, states=states) == {State.QUEUED: 1, State.HELD: 0}


def test_the_oldest_due_is_the_first_of_all(connection: Connection) -> None:
    """Whatever its priority or relay, the recipient that waits longest is told."""
    assert lookup.oldest_due(connection) is None
    message = add_message(connection, recipient={"due_at": NOW})
    add_recipient(connection, message, due_at=NOW - SECOND, priority=2, relay="bulk")
    add_recipient(connection, message, state=State.HELD)

    assert lookup.oldest_due(connection) == NOW - SECOND
    assert lookup.oldest_due(connection, relay="default") == NOW
    assert lookup.oldest_due(connection, relay="other") is None
