"""Results on their way to the breaker, the outbox and the log, in this order."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection

from mailqueue.daemon.delivery import Delivery, Terms
from mailqueue.events import RecipientAnswered, RelayPaused, RelayResumed, ResultRefused
from mailqueue.mail.reply import Evidence
from mailqueue.outbox.lease import LeasedMessage
from tests.daemon.parts import commits, locked, rows, states, turns, until
from tests.daemon.wiring import Wired
from tests.support.leases import (
    ACCEPTED,
    CUT_OFF,
    POLICY,
    REFUSED,
    UNREACHABLE,
    WORKER,
    result_of,
    take,
)
from tests.support.rows import NOW, SECOND, add_message


@pytest.fixture
async def delivery(wired: Wired) -> Delivery:
    """A delivery of a leased message for two recipients."""

    def write(connection: Connection) -> LeasedMessage:
        add_message(
            connection, "anna@example.net", "bert@example.net", enqueued_at=NOW - 3 * SECOND
        )
        return take(connection)[0]

    async def unasked(*_: object) -> bool:
        raise AssertionError

    def unsettled(*_: object) -> None:
        raise AssertionError

    return Delivery(
        await wired.database.write(write),
        Terms("main", WORKER, POLICY, 100),
        pool=wired.route.pool,
        clock=wired.clock,
        may_begin=unasked,
        may_write_dot=unasked,
        settle=unsettled,
    )


async def settle(
    wired: Wired, delivery: Delivery, *evidence: Evidence, worker: str = WORKER
) -> None:
    """Settle the recipients of the delivery with this evidence."""
    results = [
        result_of(lease, one, worker=worker)
        for lease, one in zip(delivery.message.leases, evidence, strict=False)
    ]
    wired.reception.settle(wired.route, delivery, results)
    await until(lambda: wired.route.settling == 0)


async def test_each_recipient_is_told_after_the_commit(wired: Wired, delivery: Delivery) -> None:
    """With the delay since it was enqueued."""
    await settle(wired, delivery, ACCEPTED, REFUSED)
    assert states(wired.path) == ["sent", "failed"]
    told = wired.told.of(RecipientAnswered)
    assert [one.recipient for one in told] == ["anna@example.net", "bert@example.net"]
    assert {(one.delay, one.relay, one.message) for one in told} == {(3.0, "main", 1)}


async def test_nobody_is_told_while_the_database_refuses(wired: Wired, delivery: Delivery) -> None:
    """The log never says sent of what a crash could still make doubtful."""
    with locked(wired.path):
        settling = asyncio.create_task(settle(wired, delivery, ACCEPTED, ACCEPTED))
        await until(lambda: wired.recorder.is_troubled)
        await turns()
        assert not wired.told.of(RecipientAnswered)
        assert wired.route.settling == 1
    await settling
    assert len(wired.told.of(RecipientAnswered)) == 2
    assert wired.route.settling == 0


async def test_a_refused_result_is_told_as_such(wired: Wired, delivery: Delivery) -> None:
    """It changed nothing, and the log does not claim that it did."""
    await settle(wired, delivery, ACCEPTED, worker="w9")
    assert not wired.told.of(RecipientAnswered)
    assert [one.recipient for one in wired.told.of(ResultRefused)] == ["anna@example.net"]


async def test_trouble_opens_the_breaker_in_the_same_transaction(
    wired: Wired, delivery: Delivery
) -> None:
    """SQL never shows mail handed back by a relay that seems to be in order."""
    with commits(wired.database) as committed:
        await settle(wired, delivery, UNREACHABLE, UNREACHABLE)
    assert len(committed) == 1
    assert rows(wired.path, "SELECT breaker, stage FROM mailqueue_relays") == [("open", "connect")]
    assert wired.told.of(RelayPaused) == [RelayPaused("main", UNREACHABLE, 30.0)]
    assert states(wired.path) == ["queued", "queued"]


async def test_the_breaker_goes_with_the_results_though_a_claim_is_in_haste(
    wired: Wired, delivery: Delivery
) -> None:
    """The results wake the dispatcher too, whose claim on an idle system waits for nothing."""
    claims: list[asyncio.Task[None]] = []

    def freed() -> None:
        claims.append(asyncio.create_task(wired.recorder.write(lambda _: None)))

    wired.reception.freed = freed
    with commits(wired.database) as committed:
        await settle(wired, delivery, UNREACHABLE, UNREACHABLE)
        await asyncio.gather(*claims)
    assert claims
    assert len(committed) == 1
    assert rows(wired.path, "SELECT breaker FROM mailqueue_relays") == [("open",)]


async def test_session_trouble_opens_it_after_some_in_a_row(
    wired: Wired, delivery: Delivery
) -> None:
    """This relay is paused after the second."""
    await settle(wired, delivery, CUT_OFF)
    assert wired.route.breaker.is_closed
    await settle(wired, delivery, CUT_OFF)
    assert not wired.route.breaker.is_closed


async def test_the_answer_to_a_probe_is_told_and_shown(wired: Wired, delivery: Delivery) -> None:
    """The relay is back."""
    wired.route.breaker.relay_trouble(UNREACHABLE, now=NOW - 9 * SECOND, jitter=0.0)
    wired.route.breaker.probe()
    await settle(wired, delivery, ACCEPTED)
    assert wired.told.of(RelayResumed) == [RelayResumed("main", 9.0)]
    assert rows(wired.path, "SELECT breaker FROM mailqueue_relays") == [("closed",)]


async def test_the_last_success_is_written_now_and_then(wired: Wired, delivery: Delivery) -> None:
    """SQL sees that a relay is well, and not every success costs a row."""
    asked = "SELECT breaker, last_success_at FROM mailqueue_relays"
    for seconds, shown in ((0, 0), (9, 0), (1, 10), (9, 10)):
        wired.clock.advance(seconds)
        await settle(wired, delivery, ACCEPTED, ACCEPTED)
        assert rows(wired.path, asked) == [("closed", NOW + shown * SECOND)]


async def test_of_a_relay_that_a_reload_removed_nothing_is_written(
    wired: Wired, delivery: Delivery
) -> None:
    """Its row is gone, and what is still under way there does not bring it back."""
    wired.route.is_in_force = False
    await settle(wired, delivery, UNREACHABLE, UNREACHABLE)
    assert rows(wired.path, "SELECT count(*) FROM mailqueue_relays") == [(0,)]


async def test_a_session_that_is_about_to_be_free_is_rung_for(
    wired: Wired, delivery: Delivery
) -> None:
    """The successor is claimed in the transaction that records the result."""
    rung: list[int] = []
    wired.reception.freed = lambda: rung.append(wired.route.settling)
    await settle(wired, delivery, ACCEPTED)
    assert rung == [1]
