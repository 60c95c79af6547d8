"""Hosts whose clocks are ten minutes off: everything happens when it would on any other."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

import mailqueue.events as happened
from mailqueue import AsyncOutbox, Outbox
from mailqueue.clock import SystemClock, microseconds
from mailqueue.outbox.moment import ServerClock
from mailqueue.testing import Script, ScriptedRelay
from tests.postgres.places import RAW, query, running, states
from tests.support.settings import leading_to
from tests.support.waiting import until

OFF = 600.0
NEAR = 10_000_000
"""What a busy machine may take (microseconds)."""
NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)"
SKEWS = [pytest.param(OFF, id="ahead"), pytest.param(-OFF, id="behind")]


class WrongClock(SystemClock):
    """A host whose clock nobody looks after."""

    def __init__(self, ahead: float) -> None:
        self._ahead = ahead

    def now(self) -> int:
        """Return the wall time, and be wrong by as much as ever."""
        return super().now() + microseconds(self._ahead)


def on_a_host_that_is(ahead: float) -> ServerClock:
    """Return the clock of an outbox there."""
    return ServerClock(WrongClock(ahead))


def age(url: str, column: str, table: str = "recipients") -> int:
    """Return how long ago, by the server, an instant of the only row was (microseconds)."""
    return int(query(url, f"SELECT {NOW} - {column} FROM mailqueue_{table}")[0][0])


def enqueue(url: str, ahead: float = 0.0, **wishes: object) -> None:
    """Put one mail there from a producer on such a host."""
    with Outbox(url, clock=on_a_host_that_is(ahead)) as outbox:
        outbox.enqueue(RAW, **wishes)  # type: ignore[arg-type]


@pytest.mark.parametrize("producers", SKEWS)
@pytest.mark.parametrize("daemons", SKEWS)
async def test_due_mail_goes_at_once(
    url: str, relay: ScriptedRelay, producers: float, daemons: float
) -> None:
    """Neither the clock of who enqueues nor that of who sends lets a mail lie."""
    clock = on_a_host_that_is(daemons)
    async with running(url, {"main": leading_to(relay)}, clock=clock):
        await asyncio.to_thread(enqueue, url, producers)
        await relay.ledger.wait_for(1, timeout=5.0)
        await until(lambda: states(url) == {"sent": 1})
    for table, column in (("messages", "enqueued_at"), ("recipients", "finished_at")):
        assert 0 <= age(url, column, table) + 1_000_000 < NEAR
    assert 0 <= age(url, "ended_at", "attempts") + 1_000_000 < NEAR


@pytest.mark.parametrize("ahead", SKEWS)
async def test_an_asynchronous_producer_goes_by_the_server_too(url: str, ahead: float) -> None:
    """Lifetime and deadline of a message begin when the server says."""
    outbox = AsyncOutbox(url, clock=on_a_host_that_is(ahead))
    await outbox.enqueue(RAW, expires_in=timedelta(seconds=300))
    await outbox.close()
    assert abs(age(url, "due_at")) < NEAR
    assert abs(age(url, "expires_at") + 300_000_000) < NEAR


@pytest.mark.parametrize("ahead", SKEWS)
def test_in_an_applications_transaction_too(url: str, ahead: float) -> None:
    """Even where the first thing that is done is to enqueue in a transaction of the caller's."""
    from sqlalchemy import create_engine

    engine = create_engine(url)
    outbox = Outbox(engine, clock=on_a_host_that_is(ahead))
    with engine.begin() as connection:
        outbox.enqueue(RAW, expires_in=timedelta(seconds=300), connection=connection)
    engine.dispose()
    assert abs(age(url, "enqueued_at", "messages")) < NEAR
    assert abs(age(url, "expires_at") + 300_000_000) < NEAR


@pytest.mark.parametrize("ahead", SKEWS)
async def test_a_lease_is_taken_away_by_nobody_whose_clock_is_wrong(
    url: str, script: Script, ahead: float
) -> None:
    """Another daemon looks for leases that ran out, finds none, and the mail is sent once."""
    go_on = asyncio.Event()
    script.on("DATA").wait_for(go_on)
    async with ScriptedRelay(script) as relay:
        relays = {"main": leading_to(relay)}
        async with running(url, relays, clock=on_a_host_that_is(-ahead)) as holder:
            await asyncio.to_thread(enqueue, url)
            await relay.saw("DATA")
            async with running(url, relays, clock=on_a_host_that_is(ahead)) as other:
                await other.parts.janitor.settle()
                await other.parts.janitor.settle_dead()
                await other.looked()
                assert not other.told(happened.LeaseReaped)
                assert states(url) == {"sending": 1}
                assert holder.parts.keeper.lease > 30  # it is one that has not been renewed yet
                go_on.set()
                await until(lambda: states(url) == {"sent": 1})
        assert not relay.ledger.duplicates
    assert query(url, "SELECT count(*) FROM mailqueue_attempts") == [(1,)]


@pytest.mark.parametrize("ahead", SKEWS)
async def test_a_lease_that_nobody_renews_is_settled_when_it_ends(
    url: str, relay: ScriptedRelay, ahead: float
) -> None:
    """A clock that is behind keeps no dead worker's mail, and one ahead takes no live one's."""
    enqueue(url)
    lease = f"UPDATE mailqueue_recipients SET state = 'sending', worker = 'w', due_at = {NOW} + "
    query(url, f"{lease} 60000000")
    async with running(url, {"main": leading_to(relay)}, clock=on_a_host_that_is(ahead)) as daemon:
        await daemon.parts.janitor.settle()
        assert states(url) == {"sending": 1}
        query(url, f"{lease} -1")
        await daemon.parts.janitor.settle()
        # It may have been its own round that met it, which tells a moment later.
        await until(lambda: bool(daemon.told(happened.LeaseReaped)))
        assert states(url) == {"deferred": 1}


@pytest.mark.parametrize("ahead", SKEWS)
async def test_a_retry_comes_at_the_right_time(url: str, script: Script, ahead: float) -> None:
    """The pause after a 4xx is five minutes by everybody's clock."""
    script.on("RCPT").reply("450 4.2.1 busy")
    async with ScriptedRelay(script) as relay:
        clock = on_a_host_that_is(ahead)
        async with running(url, {"main": leading_to(relay)}, clock=clock) as daemon:
            await asyncio.to_thread(enqueue, url)
            await until(lambda: states(url) == {"deferred": 1})
            assert abs(age(url, "due_at") + 300_000_000) < 70_000_000  # a fifth of it is chance
            query(url, f"UPDATE mailqueue_recipients SET due_at = {NOW} + 1000000")
            script.clear()
            await daemon.looked()
            await until(lambda: states(url) == {"sent": 1}, timeout=5.0)


@pytest.mark.parametrize("ahead", SKEWS)
async def test_a_mail_expires_when_its_time_is_over_and_not_before(
    url: str, script: Script, ahead: float
) -> None:
    """Five minutes are left to it on a host that thinks them past, and none on one behind."""
    script.on("RCPT").reply("450 4.2.1 busy")
    async with ScriptedRelay(script) as relay:
        clock = on_a_host_that_is(ahead)
        async with running(url, {"main": leading_to(relay)}, clock=clock) as daemon:
            await asyncio.to_thread(enqueue, url, ahead, expires_in=timedelta(seconds=300))
            await until(lambda: states(url) == {"deferred": 1})
            await daemon.parts.janitor.settle()
            assert states(url) == {"deferred": 1}
            query(url, f"UPDATE mailqueue_recipients SET expires_at = {NOW}")
            await daemon.parts.janitor.settle()
            assert states(url) == {"expired": 1}
