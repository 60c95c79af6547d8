"""Which recipients a worker gets, and what the row says while he has them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.exc import IntegrityError

from mailqueue.mail.lifecycle import WAITING, State
from mailqueue.mail.priority import Priority
from mailqueue.mail.schedule import History
from mailqueue.outbox.claim import mark_dot, renew
from mailqueue.outbox.lease import LeasedMessage
from mailqueue.outbox.tables import recipients
from tests.support.leases import LEASE, POLICY, WORKER, row_of, take, take_one
from tests.support.rows import (
    CONTENT,
    NOW,
    SECOND,
    add_message,
    add_recipient,
    recipient_ids,
)

AGE = round(POLICY.give_up) * SECOND


def addresses(messages: list[LeasedMessage]) -> list[str]:
    """Return who was leased, in order."""
    return [lease.address for message in messages for lease in message.leases]


def test_a_claimed_rows_due_time_is_its_lease_end(connection: Connection) -> None:
    """A worker that dies needs no repair: the row falls due when its lease ends."""
    add_message(connection)
    lease = take_one(connection)
    row = row_of(connection, lease.recipient)
    assert (row.state, row.due_at, row.worker) == (State.SENDING, NOW + LEASE, WORKER)


def test_each_claim_raises_the_token(connection: Connection) -> None:
    """Whoever held the lease before can be told from whoever holds it now."""
    add_message(connection)
    first = take_one(connection)
    row = update(recipients).values(state=str(State.QUEUED), due_at=NOW, worker=None)
    connection.execute(row)
    second = take_one(connection, worker="w2")
    assert (first.token, second.token) == (1, 2)
    assert row_of(connection, second.recipient).lease == 2


def test_nobody_gets_what_is_leased(connection: Connection) -> None:
    """One mail is never with two workers, even after its lease has ended: the janitor is first."""
    add_message(connection)
    take(connection)
    assert take(connection, worker="w2") == []
    assert take(connection, worker="w2", now=NOW + 2 * LEASE) == []


def test_a_claim_brings_all_that_a_delivery_needs(connection: Connection) -> None:
    """Sender, bytes, flags and history come with the lease, so nothing else is read."""
    columns = {"attempts": 2, "lifetime_from": NOW - 9, "expires_at": NOW + 9, "state": "deferred"}
    number = add_message(
        connection,
        on_doubt="hold",
        eight_bit=True,
        utf8_header=True,
        recipient=columns,
    )
    (message,) = take(connection)
    assert message.id == number
    assert message.sender == "sender@example.org"
    assert message.content.raw == CONTENT
    assert (message.content.eight_bit, message.content.utf8_header) == (True, True)
    assert message.on_doubt == "hold"
    assert message.enqueued_at == NOW
    assert message.leases[0].history == History(NOW - 9, 2, NOW + 9)


@pytest.mark.backend("sqlite")
@pytest.mark.parametrize(
    "odd",
    [
        "CAST(x'ff225c' AS TEXT)",
        "CAST(x'e28222' AS TEXT)",
        "CAST(x'eda080' AS TEXT)",
        "'a' || char(0) || 'b'",
        "char(1, 31, 34, 92, 127, 8232, 128512)",
        "'[1, null]'",
        "''",
    ],
)
def test_whatever_another_hand_has_written_keeps_nobody_from_being_claimed(
    connection: Connection, odd: str
) -> None:
    """What is due comes as one text, in which octets that are no UTF-8, controls and what looks
    like JSON stay in their places; numbers keep every digit.
    """
    tampered, sound = 2**53 + 1, 2**62 + 3
    add_message(connection, id=tampered)
    add_message(connection, id=sound)
    connection.exec_driver_sql(f"UPDATE mailqueue_recipients SET address = {odd} WHERE id = 1")
    connection.exec_driver_sql(
        f"UPDATE mailqueue_messages SET sender = {odd} WHERE id = {tampered}"
    )
    told = connection.scalar(select(recipients.c.address).where(recipients.c.id == 1))
    first, second = take(connection)
    assert (first.id, first.sender, first.leases[0].address) == (tampered, told, told)
    assert (second.id, second.leases[0].address) == (sound, "anna@example.net")
    assert first.content.raw == second.content.raw == CONTENT


def test_the_mark_of_an_earlier_dot_is_taken_off(connection: Connection) -> None:
    """An old announcement of a dot says nothing of the lease that begins now."""
    add_message(connection, recipient={"dot_at": NOW - SECOND})
    lease = take_one(connection)
    assert row_of(connection, lease.recipient).dot_at is None


@given(
    waiting=st.lists(st.tuples(st.sampled_from(Priority), st.integers(-50, 20)), max_size=20),
    asked=st.sampled_from(Priority),
    room=st.integers(1, 8),
)
def test_a_claim_takes_the_longest_due_of_its_priority(
    shared: Engine, waiting: list[tuple[Priority, int]], asked: Priority, room: int
) -> None:
    """Whatever waits: those taken are due, as many as there is room for, and in their order."""
    with shared.connect() as connection:
        for priority, seconds in waiting:
            columns = {"due_at": NOW + seconds * SECOND}
            add_message(connection, priority=int(priority), recipient=columns)
        leased = take(connection, priority=asked, messages=room)
        taken = [one.leases[0].recipient for one in leased]
        first = connection.exec_driver_sql("SELECT min(id) FROM mailqueue_recipients").scalar()
        chosen = [waiting[number - (first or 0)] for number in taken]
        due = sorted(one for one in waiting if one[0] is asked and one[1] <= 0)
        assert chosen == due[:room]
        connection.rollback()


def test_octets_bound_what_is_taken_on(connection: Connection) -> None:
    """Memory does not grow with the queue: what would go over the budget stays."""
    for _ in range(5):
        add_message(connection, raw=b"x" * 100)
    assert len(take(connection, octets=250)) == 2


def test_one_message_is_taken_however_large(connection: Connection) -> None:
    """A mail larger than the whole budget is not left for ever."""
    add_message(connection, raw=b"x" * 1000)
    add_message(connection, raw=b"x")
    (message,) = take(connection, octets=10)
    assert message.content.size == 1000


def test_a_large_mail_does_not_let_later_ones_pass(connection: Connection) -> None:
    """Where the next in turn does not fit, none behind it is taken in its stead."""
    for place, size in enumerate((10, 1000, 10)):
        add_message(connection, raw=b"x" * size, recipient={"due_at": NOW - 10 + place})
    assert [message.content.size for message in take(connection, octets=100)] == [10]


def test_messages_bound_what_is_taken_on(connection: Connection) -> None:
    """No more messages than asked for, and each with all of its recipients."""
    for _ in range(4):
        add_message(connection, "a@example.net", "b@example.net", "c@example.net")
    taken = take(connection, messages=2)
    assert 1 <= len(taken) <= 2
    assert {len(message.leases) for message in taken} == {3}


def test_recipients_keep_their_order(connection: Connection) -> None:
    """The envelope is written as the producer gave it."""
    names = tuple(f"{letter}@example.net" for letter in "zaymbx")
    add_message(connection, *names)
    assert addresses(take(connection)) == list(names)


def test_a_deferred_sibling_that_is_not_due_is_not_claimed(connection: Connection) -> None:
    """Each recipient keeps its own schedule, whatever the others of its message do."""
    number = add_message(connection, "now@example.net")
    later = add_recipient(
        connection, number, "later@example.net", state=State.DEFERRED, due_at=NOW + 1, attempts=1
    )
    assert addresses(take(connection)) == ["now@example.net"]
    assert row_of(connection, later).state == State.DEFERRED


def test_a_sibling_at_another_relay_is_not_claimed(connection: Connection) -> None:
    """Recipients are claimed for the relay that they wait for."""
    number = add_message(connection, "here@example.net")
    add_recipient(connection, number, "there@example.net", relay="other")
    assert addresses(take(connection)) == ["here@example.net"]
    assert addresses(take(connection, relay="other")) == ["there@example.net"]


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"expires_at": NOW}, id="its deadline is now"),
        pytest.param({"expires_at": NOW - 1}, id="its deadline has passed"),
        pytest.param({"lifetime_from": NOW - AGE}, id="it has reached the give-up age"),
        pytest.param({"lifetime_from": NOW - AGE - 1}, id="it has outlived it"),
        pytest.param({"due_at": NOW + 1}, id="it is not due"),
    ],
)
def test_what_is_too_late_or_too_early_is_left(
    connection: Connection, columns: dict[str, Any]
) -> None:
    """What has expired or outlived is the janitor's, what is not due is nobody's."""
    add_message(connection, recipient=columns)
    assert take(connection) == []


@pytest.mark.parametrize(
    "columns",
    [
        pytest.param({"expires_at": NOW + 1}, id="a moment before its deadline"),
        pytest.param({"lifetime_from": NOW - AGE + 1}, id="a moment before the give-up age"),
        pytest.param({"due_at": NOW}, id="due now"),
    ],
)
def test_the_last_moment_counts(connection: Connection, columns: dict[str, Any]) -> None:
    """The bounds are exact to the microsecond."""
    add_message(connection, recipient=columns)
    assert len(take(connection)) == 1


def test_a_lease_that_ran_out_is_not_claimed(connection: Connection) -> None:
    """It falls due again for the janitor, who records the doubt before anybody sends."""
    add_message(connection, recipient={"state": State.SENDING, "due_at": NOW})
    assert take(connection) == []


@pytest.mark.parametrize("state", State)
def test_a_due_time_and_a_state_that_waits_go_together(
    connection: Connection, state: State
) -> None:
    """No SQL can leave a row that waits and is never looked at, nor one that is sent again."""
    waits = state in WAITING or state is State.SENDING
    with pytest.raises(IntegrityError, match="due_at"):
        add_message(connection, recipient={"state": state, "due_at": None if waits else NOW})


def test_a_priority_that_nobody_seeks_is_refused(connection: Connection) -> None:
    """A claim seeks three priorities; a row of a fourth would wait for ever."""
    with pytest.raises(IntegrityError, match="priority"):
        add_message(connection, recipient={"priority": 3})


def test_mail_whose_content_is_gone_is_still_leased(connection: Connection) -> None:
    """A row that somebody damaged reaches a delivery, which records what is wrong with it."""
    add_message(connection, raw=None)
    (message,) = take(connection)
    assert message.content.raw == b""


def test_renewing_moves_the_lease_end(connection: Connection) -> None:
    """A heartbeat puts off the end of all leases on the messages named."""
    one = add_message(connection, "a@example.net", "b@example.net")
    take(connection)
    renewed = renew(connection, WORKER, [one], until=NOW + 2 * LEASE)
    assert renewed == {(recipient, 1) for recipient in recipient_ids(connection, one)}
    for recipient in recipient_ids(connection, one):
        assert row_of(connection, recipient).due_at == NOW + 2 * LEASE


def test_renewing_spares_what_nobody_works_on(connection: Connection) -> None:
    """A lease that was forgotten runs out."""
    named, forgotten = add_message(connection), add_message(connection)
    take(connection)
    (spared,), (recipient,) = (recipient_ids(connection, one) for one in (named, forgotten))
    assert renew(connection, WORKER, [named], until=NOW + 2 * LEASE) == {(spared, 1)}
    assert row_of(connection, recipient).due_at == NOW + LEASE


def test_renewing_touches_nobody_elses_lease(connection: Connection) -> None:
    """After somebody else has taken over, the old worker's heartbeat changes nothing."""
    number = add_message(connection)
    lease = take_one(connection, worker="w2")
    assert renew(connection, WORKER, [number], until=NOW + 2 * LEASE) == set()
    assert row_of(connection, lease.recipient).due_at == NOW + LEASE


@pytest.mark.parametrize("state", sorted(set(State) - {State.SENDING}))
def test_renewing_gives_no_due_time_to_what_is_not_leased(
    connection: Connection, state: State
) -> None:
    """A heartbeat that comes after the result does not put mail back into the queue."""
    number = add_message(connection, recipient={"state": state, "worker": WORKER})
    assert renew(connection, WORKER, [number], until=NOW + LEASE) == set()


def test_a_dot_is_marked_for_every_lease(connection: Connection) -> None:
    """Who crashes after this is in doubt, and who crashes before it is not."""
    add_message(connection, "a@example.net", "b@example.net")
    (message,) = take(connection)
    assert mark_dot(connection, message.leases, worker=WORKER, now=NOW + 5)
    assert {row_of(connection, lease.recipient).dot_at for lease in message.leases} == {NOW + 5}


@pytest.mark.parametrize(
    "taken_over",
    [
        pytest.param({"lease": 9}, id="by a later claim"),
        pytest.param({"worker": "w2"}, id="by another worker"),
        pytest.param({"state": str(State.DEFERRED)}, id="by the janitor"),
    ],
)
def test_no_dot_is_written_unless_every_lease_is_held(
    connection: Connection, taken_over: dict[str, Any]
) -> None:
    """One recipient taken over is enough: the dot would send to all of them."""
    add_message(connection, "a@example.net", "b@example.net")
    (message,) = take(connection)
    lost = message.leases[1].recipient
    connection.execute(update(recipients).where(recipients.c.id == lost).values(**taken_over))
    assert not mark_dot(connection, message.leases, worker=WORKER, now=NOW)
    assert row_of(connection, lost).dot_at is None
