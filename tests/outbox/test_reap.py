"""Leases that ran out, workers that died, and mail whose time has passed."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Connection, update

from mailqueue.mail.lifecycle import State
from mailqueue.mail.rule import Rule
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox import reap as reaping
from mailqueue.outbox.reap import Reaped, expire, live_relays, reap
from mailqueue.outbox.tables import recipients
from tests.support.leases import LEASE, POLICY, WORKER, attempts_of, row_of, take, take_one
from tests.support.rows import NOW, SECOND, add_message, has_written, recipient_ids

LATER = NOW + LEASE
AGE = round(POLICY.give_up) * SECOND


def policy_of(_relay: str) -> Backoff:
    """Return the same policy for every relay."""
    return POLICY


def reaped(connection: Connection, *, now: int = LATER, **options: Any) -> list[Reaped]:
    """Reap as the janitor does, without chance."""
    return reap(connection, policy_of, now=now, jitter=lambda: 0.0, **options)


def expired(connection: Connection, **give_up: float) -> list[str]:
    """Expire at ``NOW`` and return who was; relays that are not named live for five days."""
    found = expire(connection, give_up, now=NOW, default=POLICY.give_up)
    return [one.address for one in found]


def test_a_lease_that_ran_out_is_doubt_on_record(connection: Connection) -> None:
    """Nobody knows how far its worker came: that is an attempt of its own, counted and visible."""
    add_message(connection)
    lease = take_one(connection)
    (result,) = reaped(connection)
    row = row_of(connection, lease.recipient)
    assert (row.state, row.doubts, row.attempts, row.worker) == (State.DEFERRED, 1, 1, None)
    assert row.due_at == LATER + 300 * SECOND
    (attempt,) = attempts_of(connection, lease.recipient)
    assert (attempt.verdict, attempt.rule) == ("in-doubt", str(Rule.LEASE_EXPIRED))
    assert (attempt.worker, attempt.ended_at) == (WORKER, LATER)
    assert result.decision.verdict.rule is Rule.LEASE_EXPIRED
    assert result.message == row.message_id


def test_a_lease_that_runs_is_left_alone(connection: Connection) -> None:
    """Whoever holds it may be awaiting the reply to its dot."""
    add_message(connection)
    lease = take_one(connection)
    assert reaped(connection, now=LATER - 1) == []
    assert row_of(connection, lease.recipient).state == State.SENDING


def test_held_doubt_with_an_announced_dot_waits_for_an_operator(connection: Connection) -> None:
    """The dot may have been written: at most once means not again."""
    add_message(connection, on_doubt="hold")
    lease = take_one(connection)
    connection.execute(update(recipients).values(dot_at=NOW + 7))
    reaped(connection)
    row = row_of(connection, lease.recipient)
    assert (row.state, row.due_at, row.doubts) == (State.HELD, None, 1)
    assert attempts_of(connection, lease.recipient)[0].started_at == NOW + 7


def test_held_doubt_without_an_announced_dot_is_no_doubt(connection: Connection) -> None:
    """The dot is announced before it is written, so nothing was sent: back it goes, uncharged."""
    add_message(connection, on_doubt="hold")
    lease = take_one(connection)
    reaped(connection)
    row = row_of(connection, lease.recipient)
    assert (row.state, row.due_at) == (State.QUEUED, LATER)
    assert (row.doubts, row.attempts) == (0, 0)
    assert attempts_of(connection, lease.recipient) == []


def test_the_leases_of_the_dead_do_not_have_to_run_out(connection: Connection) -> None:
    """A worker that is proven dead comes back for nothing."""
    add_message(connection, "dead@example.net")
    take(connection, worker="dead")
    add_message(connection, "alive@example.net")
    take(connection, worker="alive")
    results = reaped(connection, now=NOW + 1, dead_workers=("dead",))
    assert [result.lease.address for result in results] == ["dead@example.net"]


def test_what_the_asking_worker_is_sending_is_spared(connection: Connection) -> None:
    """If its own leases seem to have run out, the clock has jumped."""
    sending = add_message(connection, "sending@example.net")
    add_message(connection, "forgotten@example.net")
    take(connection)
    results = reaped(connection, spared={sending})
    assert [result.lease.address for result in results] == ["forgotten@example.net"]


def test_the_last_lease_of_an_old_mail_expires_it(connection: Connection) -> None:
    """Doubt about the last attempt that the deadline leaves room for is its end."""
    add_message(connection, recipient={"expires_at": LATER + SECOND})
    lease = take_one(connection)
    reaped(connection)
    row = row_of(connection, lease.recipient)
    assert (row.state, row.doubts, row.finished_at) == (State.EXPIRED, 1, LATER)


def test_a_late_result_of_a_reaped_lease_can_be_told(connection: Connection) -> None:
    """The next claim has a new token, so two holders are never confused."""
    add_message(connection)
    first = take_one(connection)
    reaped(connection)
    again = take_one(connection, now=LATER + 300 * SECOND)
    assert again.token > first.token


def test_leases_are_settled_in_batches(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction grows with what there is to do: results of others wait for it."""
    monkeypatch.setattr(reaping, "BATCH", 3)
    for _ in range(7):
        add_message(connection)
    take(connection)
    assert [len(reaped(connection)) for _ in range(4)] == [3, 3, 1, 0]


@pytest.mark.parametrize(
    ("columns", "is_expired"),
    [
        pytest.param({"expires_at": NOW}, True, id="its deadline is now"),
        pytest.param({"expires_at": NOW + 1}, False, id="its deadline is near"),
        pytest.param({"lifetime_from": NOW - AGE}, True, id="the give-up age"),
        pytest.param({"lifetime_from": NOW - AGE + 1}, False, id="nearly that"),
        pytest.param({"expires_at": NOW, "due_at": NOW + 9}, True, id="not due"),
        pytest.param(
            {"expires_at": NOW, "state": State.DEFERRED, "attempts": 1}, True, id="deferred"
        ),
        pytest.param({"expires_at": NOW, "state": State.HELD}, False, id="held"),
        pytest.param({"expires_at": NOW, "state": State.SENDING}, False, id="leased"),
        pytest.param({"expires_at": NOW, "state": State.SENT}, False, id="sent"),
        pytest.param({"expires_at": NOW, "state": State.CANCELLED}, False, id="cancelled"),
        pytest.param({"expires_at": NOW, "state": State.FAILED}, False, id="failed"),
    ],
)
def test_who_waits_past_the_deadline_expires(
    connection: Connection, columns: dict[str, Any], is_expired: bool
) -> None:
    """A claim leaves it and this takes it, at the same microsecond; the others stay as they are."""
    number = add_message(connection, recipient=columns)
    (recipient,) = recipient_ids(connection, number)
    before = row_of(connection, recipient)
    assert bool(expired(connection)) == is_expired
    row = row_of(connection, recipient)
    if is_expired:
        assert (row.state, row.due_at, row.finished_at) == (State.EXPIRED, None, NOW)
    else:
        assert row == before


def test_who_expires_keeps_the_last_reply(connection: Connection) -> None:
    """SQL can still say what the relay said all the time."""
    last = {"last_code": 450, "last_text": "mailbox busy", "last_at": NOW - 9, "attempts": 4}
    number = add_message(connection, recipient={"state": "deferred", "expires_at": NOW} | last)
    expired(connection)
    row = row_of(connection, recipient_ids(connection, number)[0])._mapping
    assert {name: row[name] for name in last} == last


def test_each_relay_has_its_own_give_up_age(connection: Connection) -> None:
    """Mail for names that nobody configured lives as long as the default says."""
    for relay in ("quick", "slow", "strange"):
        columns = {"lifetime_from": NOW - 60 * SECOND}
        add_message(connection, f"{relay}@example.net", relay=relay, recipient=columns)
    assert expired(connection, quick=60.0, slow=61.0) == ["quick@example.net"]


def test_no_more_than_a_batch_expires_at_once(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many relays and deadlines there are, one transaction is as short as another."""
    monkeypatch.setattr(reaping, "BATCH", 4)
    for relay in ("one", "two", "three"):
        for _ in range(3):
            columns = {"lifetime_from": NOW - AGE, "expires_at": NOW - 1}
            add_message(connection, relay=relay, recipient=columns)
    rounds = [len(expired(connection)) for _ in range(4)]
    assert max(rounds) <= 4
    assert sum(rounds) == 9
    # The janitor goes on at once only where a batch was full.
    assert rounds == [4, 4, 1, 0]


def test_relays_of_unfinished_mail_are_known_by_name(connection: Connection) -> None:
    """Finished mail counts no more, and each name is told once."""
    for relay in ("b", "a", "b"):
        add_message(connection, relay=relay)
    add_message(connection, relay="gone", recipient={"state": State.SENT})
    assert live_relays(connection) == ["a", "b"]


def test_nothing_to_reap_writes_nothing(connection: Connection) -> None:
    """A round of the janitor over an idle outbox costs no commit."""
    add_message(connection)
    connection.commit()
    written = has_written(connection)
    assert reaped(connection) == []
    assert expired(connection) == []
    assert not written()
