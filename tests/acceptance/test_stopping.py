"""A daemon that is stopped in the middle: real processes, real signals."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from mailqueue import events
from mailqueue.outbox.turnstile import SUFFIX
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.halfway import AFTER, BEFORE, CONNECTIONS, LATER, Halfway
from tests.acceptance.invariants import assert_doubts_cover_duplicates
from tests.support.daemon import (
    Daemon,
    PlainOutbox,
    leading_to,
    process,
    running,
    settings_for,
    until,
)

pytestmark = pytest.mark.slow


def leftovers(directory: Path) -> list[str]:
    """Name what a daemon has left beside the outbox; the pipe is of all who write to it."""
    found = {file.name for file in directory.glob("outbox.db.*")}
    return sorted(found - {f"outbox.db{SUFFIX}"})


async def test_sigterm_finishes_what_is_past_the_dot_and_hands_back_the_rest(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Written dots get their reply; everything else goes back uncharged; the exit status is 0."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        await daemon.notifications.until_heard("STOPPING=1")
        await halfway.let_go_of_those_before()
        await until(lambda: outbox.states()["sending"] == len(AFTER), what=outbox.states)
        halfway.go_on.set()
        assert await daemon.ended() == 0
        assert daemon.notifications.count("EXTEND_TIMEOUT_USEC=")
    assert halfway.states(AFTER) == {"sent"}
    assert halfway.states(BEFORE) == halfway.states(LATER) == {"queued"}
    assert sorted(row["address"] for row in outbox.attempts()) == sorted(AFTER)
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 0
    assert leftovers(outbox.directory) == []


async def test_a_daemon_that_stopped_in_order_leaves_nothing_for_the_next_to_repair(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """What was handed back goes out at once when the next daemon starts, and nothing twice."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGINT)
        await halfway.let_go_of_those_before()
        halfway.go_on.set()
        assert await daemon.ended() == 0
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        await again.until_states(sent=10)
    assert outbox.value("SELECT sum(doubts) FROM mailqueue_recipients") == 0
    assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 10
    assert not relay.ledger.duplicates


@pytest.mark.backend("sqlite")
async def test_a_second_sigterm_ends_it_at_once_and_leaves_doubt_on_record(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """It does not wait for replies; the next daemon records the doubt at its start."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        await until(lambda: outbox.states()["sending"] == len(AFTER), what=outbox.states)
        ending = asyncio.create_task(daemon.ended())

        def said_again() -> bool:
            if not ending.done():
                # Not through its `Popen`, which would reap it behind the loop's back.
                os.kill(daemon.pid, signal.SIGTERM)
            return ending.done()

        await until(said_again, what=outbox.states)
        assert await ending == 128 + signal.SIGTERM
    assert halfway.states(AFTER) == {"sending"}
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        assert halfway.states(AFTER) == {"deferred"}
        await again.until_states(deferred=2, sent=8)
    for address in AFTER:
        assert outbox.attempt(address)["verdict"] == "in-doubt"


async def test_two_signals_at_once_are_one(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """timeout(1) signals its child and then its group: the end is in order all the same."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    async with process(outbox, {"main": leading_to(relay, connections=CONNECTIONS)}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        daemon.signal(signal.SIGINT)
        await halfway.let_go_of_those_before()
        halfway.go_on.set()
        assert await daemon.ended() == 0
    assert halfway.states(AFTER) == {"sent"}


async def test_replies_that_do_not_come_end_as_doubt_when_the_drain_is_over(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A shutdown waits no longer than configured; what is unanswered then is in doubt."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    async with process(outbox, {"main": keys}, daemon={"drain": 0.5}) as daemon:
        await halfway.reached()
        daemon.signal(signal.SIGTERM)
        assert await daemon.ended() == 0
    assert halfway.states(AFTER) == {"deferred"}
    for address in AFTER:
        attempt = outbox.attempt(address)
        assert (attempt["verdict"], attempt["stage"]) == ("in-doubt", "end-of-data")
    assert halfway.states(BEFORE) == halfway.states(LATER) == {"queued"}


async def test_a_stop_before_the_start_is_over_leaves_nothing_behind(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """It ends in order: no worker, no lock, no bell, and the mail as it was."""
    outbox.put(AFTER[0])
    daemon = Daemon(outbox, settings_for(outbox, {"main": leading_to(relay)}))
    await daemon.stop()
    assert outbox.states() in ({"queued": 1}, {"sent": 1})
    assert outbox.value("SELECT count(*) FROM mailqueue_workers") == 0
    assert leftovers(outbox.directory) == []


@pytest.mark.parametrize("at", ["CONNECT", "EHLO", "MAIL", "DATA"])
async def test_a_relay_that_hangs_before_the_dot_does_not_hold_up_a_stop(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, at: str
) -> None:
    """Nothing was accepted yet, so nobody waits: the mail goes back, uncharged."""
    script.on(at).silence()
    outbox.put(BEFORE[0])
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await relay.saw(at)
        async with asyncio.timeout(5):
            await daemon.stop()
    assert outbox.states() == {"queued": 1}
    assert outbox.attempts() == []


async def test_a_relay_that_does_not_answer_quit_does_not_hold_up_a_stop(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """A goodbye is waited for shortly, by all sessions together."""
    script.on("QUIT").silence()
    script.on(".").delay(0.1)
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(8)])
    keys = leading_to(relay, connections=4, timeouts={"quit": 0.5})
    relays = {"main": keys, "second": keys}
    async with running(outbox, relays, daemon={"default_relay": "main"}) as daemon:
        await daemon.until_states(sent=8)
        assert len(relay.sessions) == 4
        async with asyncio.timeout(5):
            await daemon.stop()
    assert outbox.states() == {"sent": 8}


async def test_a_database_that_takes_nothing_does_not_keep_the_process_for_ever(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """What cannot be written is left on record as a lease, and the next daemon settles it."""
    halfway = Halfway(outbox, script, relay)
    halfway.put()
    keys = leading_to(relay, connections=CONNECTIONS)
    impatient = {"busy_timeout": 0.2}
    short = {"drain": 0.5, "lease": 5, "heartbeat": 1}
    async with process(outbox, {"main": keys}, database=impatient, daemon=short) as daemon:
        await halfway.reached()
        with outbox.locked():
            halfway.go_on.set()
            daemon.signal(signal.SIGTERM)
            await daemon.ended(timeout=30)
    leased = outbox.states()["sending"]
    assert leased > CONNECTIONS
    halfway.repair()
    async with running(outbox, {"main": keys}) as again:
        (started,) = again.told(events.Started)
        # Only beside a file there is a lock that tells at once who is dead.
        assert started.reaped == (leased if outbox.is_file else 0)
        await again.until_states(deferred=leased, sent=10 - leased)
    assert_doubts_cover_duplicates(outbox, relay)
