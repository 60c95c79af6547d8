"""What an operator decides about relays, and sees of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.clock import FakeClock
from mailqueue.errors import UnknownRelayError
from mailqueue.mail.lifecycle import State
from mailqueue.operate import Operator, Pause
from mailqueue.outbox.doorbell import Doorbell
from mailqueue.outbox.queues import Queue
from tests.support.rows import NOW, SECOND, add_message, add_relay


@pytest.fixture
def operator(engine: Engine, url: str) -> Iterator[Operator]:
    """Somebody named olga, whose configuration has the relay main."""
    with Operator(url, actor="olga", clock=FakeClock(NOW), relays=["main"]) as operator:
        yield operator


def test_pause_and_resume(operator: Operator) -> None:
    """A pause says who, when, why and how long; it works before any daemon has run."""
    decided = operator.pause("main", lasting=timedelta(hours=2), reason="new address")
    assert decided == Pause(NOW, NOW + 7200 * SECOND, "olga", "new address")
    (standing,) = operator.relays()
    assert standing.row is not None
    assert standing.row.is_paused(now=NOW)
    assert operator.resume("main")
    assert not operator.resume("main")


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_relay(engine: Engine, operator: Operator, verb: str) -> None:
    """A misprint pauses nothing, and the error names the relays that there are."""
    with engine.begin() as connection:
        add_relay(connection, "bulk")
    with pytest.raises(UnknownRelayError, match="no relay mian; there are: bulk, main"):
        getattr(operator, verb)("mian")
    assert [one.row is None for one in operator.relays()] == [False, True]


def test_where_no_relay_is_known(engine: Engine, url: str) -> None:
    """Without a daemon and a configuration there is nothing to name."""
    with Operator(url, actor="olga") as operator:
        with pytest.raises(UnknownRelayError, match="no daemon has made any known"):
            operator.pause("main")
        assert operator.relays() == []


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_the_daemon_is_woken(operator: Operator, path: Path, verb: str) -> None:
    """Either is heard at once."""
    woken = asyncio.Event()
    bell = Doorbell(path, "w1")
    bell.start(woken.set)
    try:
        getattr(operator, verb)("main")
        await asyncio.wait_for(woken.wait(), 10)
    finally:
        bell.stop()


def test_how_relays_stand(engine: Engine, operator: Operator) -> None:
    """Each has its queue, the default one with what names none; strangers are told as such."""
    with engine.begin() as connection:
        add_relay(connection, "bulk", is_default=True)
        add_message(connection)
        add_message(connection, relay="bulk", recipient={"state": State.DEFERRED})
        add_message(connection, relay="typo", recipient={"state": State.HELD})
    bulk, main, typo = operator.relays()
    assert (bulk.name, bulk.queue, bulk.is_default) == ("bulk", Queue(1, 1, oldest_due=NOW), True)
    assert (main.name, main.row, main.queue, main.is_known) == ("main", None, Queue(), True)
    assert (typo.name, typo.queue, typo.is_known) == ("typo", Queue(held=1), False)


def test_default_is_the_relay_that_takes_mail_which_names_none(engine: Engine, url: str) -> None:
    """It is what lists and rows call it; the pause is that of the relay behind the name."""
    with engine.begin() as connection:
        add_relay(connection, "main", is_default=True)
        add_relay(connection, "bulk")
    with Operator(url, actor="olga") as operator:
        operator.pause("default", reason="new address")
        assert {one.name: one.row.paused_by for one in operator.relays() if one.row} == {
            "bulk": None,
            "main": "olga",
        }
        assert operator.resume("default")


def test_default_is_unknown_where_nobody_knows_which_relay_that_is(
    url: str, engine: Engine
) -> None:
    """A pause of nothing would look like a pause."""
    with Operator(url) as operator, pytest.raises(UnknownRelayError):
        operator.pause("default")
