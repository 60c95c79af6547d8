from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, Row, delete, select

from mailqueue.mail.lifecycle import OPERATOR_EVENTS, Event, State, sources
from mailqueue.outbox.acts import GREATEST_ID, Act, act, of_messages
from mailqueue.outbox.tables import actions, contents, recipients
from tests.support.rows import NOW, SECOND, add_message, recipient_ids

LATER = NOW + 3600 * SECOND


def decide(connection: Connection, event: Event, *ids: int) -> list[Act]:
    """Let an operator decide about messages an hour after they were enqueued."""
    return act(connection, of_messages(ids), event, actor="olga", reason="because", now=LATER)


def row_of(connection: Connection, message: int) -> Row[Any]:
    """Return the row of the one recipient of ``message``."""
    return connection.execute(select(recipients).where(recipients.c.message_id == message)).one()


@pytest.mark.parametrize("event", sorted(OPERATOR_EVENTS))
@pytest.mark.parametrize("state", list(State))
def test_every_event_in_every_state(connection: Connection, event: Event, state: State) -> None:
    """An event happens in the states that the lifecycle table names, and in no other."""
    message = add_message(connection, recipient={"state": state})
    before = row_of(connection, message)
    (done,) = decide(connection, event, message)
    after = row_of(connection, message)
    assert (done.recipient, done.message, done.address) == (before.id, message, before.address)
    assert done.before == state
    if state in sources(event):
        assert done.after == after.state
        assert not done.refused
    else:
        assert done.after is None
        assert f"it is {state}" in done.refused
        assert after == before
        assert connection.execute(select(actions)).all() == []


@pytest.mark.parametrize(
    ("event", "state", "target"),
    [
        (Event.HOLD, State.DEFERRED, State.HELD),
        (Event.RELEASE, State.HELD, State.QUEUED),
        (Event.CANCEL, State.QUEUED, State.CANCELLED),
        (Event.RETRY, State.FAILED, State.QUEUED),
    ],
)
def test_it_is_on_record(connection: Connection, event: Event, state: State, target: State) -> None:
    """Who did it, when, why, and from which state to which, is written for each recipient."""
    message = add_message(connection, recipient={"state": state})
    decide(connection, event, message)
    row = connection.execute(select(actions)).one()
    assert row.recipient_id == row_of(connection, message).id
    assert (row.at, row.verb, row.actor, row.reason) == (LATER, str(event), "olga", "because")
    assert (row.from_state, row.to_state) == (state, target)


def test_hold(connection: Connection) -> None:
    """Who is held is due for nobody, and not finished."""
    message = add_message(connection)
    decide(connection, Event.HOLD, message)
    row = row_of(connection, message)
    assert (row.state, row.due_at, row.finished_at) == (State.HELD, None, None)


def test_cancel(connection: Connection) -> None:
    """Who is cancelled is finished at that moment, and due for nobody."""
    message = add_message(connection)
    decide(connection, Event.CANCEL, message)
    row = row_of(connection, message)
    assert (row.state, row.due_at, row.finished_at) == (State.CANCELLED, None, LATER)


@pytest.mark.parametrize(("attempts", "state"), [(0, State.QUEUED), (2, State.DEFERRED)])
def test_release(connection: Connection, attempts: int, state: State) -> None:
    """Who is released is due at once, as tried or untried as before."""
    message = add_message(connection, recipient={"state": State.HELD, "attempts": attempts})
    decide(connection, Event.RELEASE, message)
    row = row_of(connection, message)
    assert (row.state, row.due_at, row.attempts) == (state, LATER, attempts)


def test_release_gives_the_time_back(connection: Connection) -> None:
    """The time something was held is not taken off its lifetime; a deadline of its own stays."""
    message = add_message(connection, recipient={"state": State.HELD, "expires_at": LATER + 1})
    decide(connection, Event.RELEASE, message)
    row = row_of(connection, message)
    assert (row.lifetime_from, row.expires_at) == (LATER, LATER + 1)


def test_release_of_scheduled_mail(connection: Connection) -> None:
    """What was held and released before its send_at is not sent earlier for that."""
    start = LATER + SECOND
    message = add_message(
        connection, send_at=start, recipient={"state": State.HELD, "lifetime_from": start}
    )
    decide(connection, Event.RELEASE, message)
    row = row_of(connection, message)
    assert (row.due_at, row.lifetime_from) == (start, start)


def test_retry_is_a_new_life(connection: Connection) -> None:
    """A retry starts anew: due at once, no attempts, a lifetime from now; doubts are kept."""
    message = add_message(connection, recipient={"state": State.FAILED, "attempts": 7, "doubts": 1})
    decide(connection, Event.RETRY, message)
    row = row_of(connection, message)
    assert (row.state, row.due_at, row.lifetime_from) == (State.QUEUED, LATER, LATER)
    assert (row.attempts, row.doubts, row.finished_at) == (0, 1, None)


@pytest.mark.parametrize(
    ("deadline", "kept"), [(LATER + 1, LATER + 1), (LATER, None), (NOW, None), (None, None)]
)
def test_retry_and_deadline(connection: Connection, deadline: int | None, kept: int | None) -> None:
    """A deadline still to come binds a retry too; one that is past would expire it at once."""
    message = add_message(connection, recipient={"state": State.EXPIRED, "expires_at": deadline})
    decide(connection, Event.RETRY, message)
    assert row_of(connection, message).expires_at == kept


def test_retry_without_content(connection: Connection) -> None:
    """What has been pruned cannot be sent again, and the refusal says so."""
    message = add_message(connection, recipient={"state": State.FAILED})
    connection.execute(delete(contents))
    (done,) = decide(connection, Event.RETRY, message)
    assert done.after is None
    assert "pruned" in done.refused
    assert row_of(connection, message).state == State.FAILED


@pytest.mark.parametrize(
    ("event", "state"),
    [
        (Event.RELEASE, State.DEFERRED),
        (Event.RETRY, State.QUEUED),
        (Event.CANCEL, State.CANCELLED),
    ],
)
def test_held_in_doubt(connection: Connection, event: Event, state: State) -> None:
    """Whoever is held because the relay never answered can be released, retried or cancelled."""
    in_doubt = {"state": State.HELD, "attempts": 1, "doubts": 1, "dot_at": NOW}
    message = add_message(connection, on_doubt="hold", recipient=in_doubt)
    decide(connection, event, message)
    row = row_of(connection, message)
    assert (row.state, row.doubts) == (state, 1)


def test_each_recipient_by_its_own_state(connection: Connection) -> None:
    """Recipients of one message are judged one by one, and reported in the envelope's order."""
    message = add_message(connection, "a@example.net", "b@example.net", "c@example.net")
    ids = recipient_ids(connection, message)
    connection.execute(
        recipients.update().where(recipients.c.id == ids[1]).values(state="sent", due_at=None)
    )
    done = decide(connection, Event.CANCEL, message)
    assert [each.recipient for each in done] == ids
    assert [each.after for each in done] == [State.CANCELLED, None, State.CANCELLED]


def test_retry_touches_each_once(connection: Connection) -> None:
    """A recipient that a retry moves to queued is not met there and retried again."""
    states = [State.FAILED, State.QUEUED, State.HELD, State.CANCELLED]
    ids = [add_message(connection, recipient={"state": state}) for state in states]
    done = decide(connection, Event.RETRY, *ids)
    assert [each.before for each in done] == states
    assert len(connection.execute(select(actions)).all()) == len(states)


def test_others_are_left_alone(connection: Connection) -> None:
    """Nothing happens to a message that was not selected."""
    chosen, other = add_message(connection), add_message(connection)
    decide(connection, Event.CANCEL, chosen)
    assert row_of(connection, other).state == State.QUEUED


@pytest.mark.parametrize("number", [12345, -1, GREATEST_ID + 1, 10**40])
def test_unknown_messages(connection: Connection, number: int) -> None:
    """A number that no message has selects nobody, whatever the size of an integer is."""
    add_message(connection)
    assert decide(connection, Event.CANCEL, number) == []


@pytest.mark.parametrize("event", sorted(set(Event) - OPERATOR_EVENTS))
def test_events_of_the_daemon(connection: Connection, event: Event) -> None:
    """What the daemon decides cannot be decided by hand."""
    message = add_message(connection, recipient={"state": State.SENDING})
    with pytest.raises(ValueError, match="is for the daemon to decide"):
        decide(connection, event, message)
