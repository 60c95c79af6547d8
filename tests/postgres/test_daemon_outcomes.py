"""A daemon whose commits lose their answers: it finds out, and sends nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from mailqueue import Outbox
from mailqueue.events import DatabaseRecovered, DatabaseTrouble, LeaseReaped, ResultRefused
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, WAITING, query, running, states
from tests.support.cutting import Cut, CuttingProxy
from tests.support.settings import leading_to
from tests.support.waiting import until

_DOUBTS = "SELECT count(*) FROM mailqueue_attempts WHERE verdict = 'in-doubt'"
_ATTEMPTS = "SELECT count(*) FROM mailqueue_attempts"
PACE = {"poll": 0.1, "poll_max": 0.2}


@pytest.fixture
def proxy(url: str) -> Iterator[CuttingProxy]:
    """The daemon's way to the outbox, which can be cut."""
    with CuttingProxy(url) as proxy:
        yield proxy


@pytest.mark.parametrize("cut", ["before", "after", "meanwhile"])
@pytest.mark.parametrize("spared", range(4))
async def test_each_mail_is_sent_once_whichever_commits_lose_their_answers(
    url: str, proxy: CuttingProxy, relay: ScriptedRelay, cut: Cut, spared: int
) -> None:
    """Claims in force are sent and not left to their leases' end; results on record are ours.

    The lease is two minutes long, so nothing here can have been reaped.
    """
    async with running(proxy.url, {"main": leading_to(relay)}, daemon=PACE) as daemon:
        await daemon.listening()
        for number in range(3):
            proxy.cut_at_commit(cut, cut, after=spared)
            await asyncio.to_thread(_enqueue, url, number)
            await until(lambda: proxy.counts[cut] > 0)
            await until(lambda number=number: _has_sent(url, proxy, 5 * (number + 1)))  # type: ignore[misc]
            proxy.counts.clear()
        assert daemon.told(DatabaseTrouble)
        assert daemon.told(DatabaseRecovered)
        assert not daemon.told(ResultRefused)
        assert not daemon.told(LeaseReaped)
    assert len(relay.ledger.accepted) == 15
    assert query(url, _ATTEMPTS) == [(15,)]
    assert query(url, _DOUBTS) == [(0,)]


def _has_sent(url: str, proxy: CuttingProxy, count: int) -> bool:
    """Whether so many are sent; lets late commits arrive once somebody waits for what they hold."""
    if query(url, WAITING) != [(0,)]:
        proxy.let_arrive()
    return states(url) == {"sent": count}


def _enqueue(url: str, number: int) -> None:
    with Outbox(url) as outbox:
        outbox.enqueue_many([RAW] * 5)
