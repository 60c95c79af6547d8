"""Alive is who gets on."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection

from mailqueue.mail.reply import Evidence, Reply
from mailqueue.mail.stage import Stage
from mailqueue.testing import ScriptedRelay
from tests.daemon.parts import PATIENCE, locked, turns, until
from tests.daemon.wiring import PACE, Wired
from tests.support.daemon import Notifications
from tests.support.leases import take
from tests.support.rows import NOW, SECOND, add_message

WATCHDOG = {"WATCHDOG_USEC": "30000000"}


@pytest.fixture
def quick(wired: Wired) -> Wired:
    """A dispatcher that looks every second."""
    wired.dispatcher.pace = replace(PACE, poll=1.0, poll_max=1.0)
    return wired


@pytest.fixture
async def notifications() -> Iterator[Notifications]:  # type: ignore[misc]
    """A service manager that listens."""
    with Notifications() as listening:
        yield listening


async def test_without_a_watchdog_it_always_gets_on(wired: Wired) -> None:
    """Nobody asks."""
    wired.clock.advance(9999)
    assert wired.herald().gets_on


async def test_no_ping_while_the_dispatcher_is_stuck(quick: Wired) -> None:
    """A timer that pinged all the same would prove nothing."""
    herald = quick.herald(**WATCHDOG)
    assert herald.gets_on
    quick.clock.advance(32)
    assert not herald.gets_on
    quick.dispatcher.start()
    await until(lambda: herald.gets_on)


async def test_a_dispatcher_that_rests_is_not_stuck(wired: Wired) -> None:
    """It may look into an idle outbox less often than the watchdog wants to hear."""
    herald = wired.herald(**WATCHDOG)
    wired.clock.advance(PACE.poll_max)
    assert herald.gets_on
    wired.clock.advance(31)
    assert not herald.gets_on


async def test_no_ping_while_the_database_is_stuck(quick: Wired) -> None:
    """A transaction that never returns is what the watchdog is for."""
    leave = threading.Event()
    herald = quick.herald(**WATCHDOG)

    def hang(_: Connection) -> None:
        leave.wait(PATIENCE)

    hanging = asyncio.create_task(quick.recorder.write(hang))
    await until(lambda: not quick.recorder.is_idle)
    quick.clock.advance(31)
    quick.dispatcher.last_round = quick.clock.monotonic()
    assert not herald.gets_on
    leave.set()
    await hanging
    assert herald.gets_on


async def test_pings_while_the_database_answers_with_errors(quick: Wired) -> None:
    """The disk is full, and a restart would free nothing."""
    herald = quick.herald(**WATCHDOG)
    with locked(quick.path):
        waiting = asyncio.create_task(quick.recorder.write(take))
        await until(lambda: quick.recorder.is_troubled)
        quick.clock.advance(100)
        await until(lambda: quick.recorder.last_answer == 100)
        assert herald.gets_on
    await asyncio.wait_for(waiting, PATIENCE)


async def test_pings_while_replies_to_dots_are_awaited(quick: Wired, relay: ScriptedRelay) -> None:
    """A daemon that drains makes no rounds, and must not be killed for that."""
    go_on = asyncio.Event()
    relay.script.on(".").wait_for(go_on)
    await quick.database.write(add_message)
    quick.dispatcher.start()
    await relay.saw(".")
    stopping = asyncio.create_task(quick.dispatcher.stop())
    await turns()
    await until(lambda: quick.recorder.is_idle)
    quick.clock.advance(100)
    assert quick.herald(**WATCHDOG).gets_on
    go_on.set()
    await asyncio.wait_for(stopping, PATIENCE)


async def test_it_pings_and_tells_how_it_is(wired: Wired, notifications: Notifications) -> None:
    """Both at each period, and at the start."""
    await wired.database.write(add_message)
    herald = wired.herald(NOTIFY_SOCKET=notifications.address, **WATCHDOG)
    herald.start()
    await notifications.until_heard("WATCHDOG=1")
    await notifications.until_heard("STATUS=0 sending, 1 in the queue")
    herald.wake.ring()
    await notifications.until_heard("WATCHDOG=1", 2)
    await herald.stop()


async def test_it_withholds_the_ping_and_tells_the_status_all_the_same(
    quick: Wired, notifications: Notifications
) -> None:
    """Whoever looks sees what the watchdog is about to act upon."""
    quick.clock.advance(100)
    herald = quick.herald(NOTIFY_SOCKET=notifications.address, **WATCHDOG)
    herald.start()
    await notifications.until_heard("STATUS=")
    assert notifications.count("WATCHDOG=1") == 0
    await herald.stop()


async def test_the_status_names_what_is_wrong(wired: Wired) -> None:
    """A paused relay with the first reason, and mail that is overdue, on one line."""
    due = {"due_at": NOW - 180 * SECOND}
    await wired.database.write(lambda c: add_message(c, recipient=due))
    refusal = Evidence(Stage.AUTH, Reply(535, "bad\ncredentials"))
    wired.route.breaker.relay_trouble(refusal, now=NOW, jitter=0.0)
    assert await wired.herald()._status() == (
        "0 sending, 1 in the queue; oldest due for 3 min; "
        "relay main paused at auth: 535 bad / credentials"
    )


async def test_an_outbox_that_cannot_be_read_is_told(wired: Wired) -> None:
    """And the herald goes on."""
    shell = sqlite3.connect(wired.path)
    shell.executescript("PRAGMA foreign_keys=OFF; ALTER TABLE mailqueue_recipients RENAME TO x")
    shell.close()
    assert (await wired.herald()._status()).startswith("the outbox cannot be read: ")
