"""A primary that dies, and its standby that takes over: the queue goes on there."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue import Outbox
from mailqueue.events import DatabaseRecovered, DatabaseTrouble
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, query, running, states
from tests.support.cutting import CuttingProxy
from tests.support.postgres import PostgresServer
from tests.support.settings import leading_to
from tests.support.standby import Standby
from tests.support.waiting import until

PACE = {"poll": 0.1, "poll_max": 0.2}


@pytest.mark.slow
async def test_the_queue_goes_on_with_the_standby(
    mortal: PostgresServer, relay: ScriptedRelay
) -> None:
    """Daemon and producers find the new primary where the old one was; nothing is sent twice."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
    with Standby(mortal) as standby, CuttingProxy(mortal.url) as proxy:
        async with running(proxy.url, {"main": leading_to(relay)}, daemon=PACE) as daemon:
            with Outbox(proxy.url, busy_timeout=10) as outbox:
                await daemon.listening()
                await asyncio.to_thread(outbox.enqueue_many, [RAW] * 100)
                await relay.ledger.wait_for(30)
                # Of those who wait for its answer now, nobody knows what became of their commit.
                proxy.cut_at_commit("after", then_refuse=True)
                await until(lambda: proxy.counts["after"] == 1)
                await asyncio.to_thread(_fail_over, mortal, standby, proxy)
                await until(lambda: bool(daemon.told(DatabaseTrouble)), what=daemon._last)
                await until(lambda: bool(daemon.told(DatabaseRecovered)), what=daemon._last)
                await daemon.listening()
                receipt = await asyncio.to_thread(outbox.enqueue, RAW)
                await until(lambda: states(standby.url) == {"sent": 101})
                doubts = query(standby.url, "SELECT sum(doubts) FROM mailqueue_recipients")
    assert receipt.id > 100
    assert len(relay.ledger.accepted) == 101
    assert doubts == [(0,)]


def _fail_over(primary: PostgresServer, standby: Standby, proxy: CuttingProxy) -> None:
    primary.kill()
    standby.promote()
    proxy.lead_to(standby.url)
    proxy.refuse(refusing=False)
