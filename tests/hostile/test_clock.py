"""Clocks that jump, stand still or were asleep: mail is late at worst, never lost or doubled."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from mailqueue import events
from mailqueue.clock import microseconds
from mailqueue.testing import Script, ScriptedRelay
from tests.acceptance.invariants import assert_sound
from tests.support.daemon import Daemon, OutboxFile, PassingClock, leading_to, running

ANN, BOB = "ann@example.net", "bob@example.net"
DAY = 86_400.0


class WrongClock(PassingClock):
    """A clock whose wall time can be moved alone, or be stopped."""

    def __init__(self) -> None:
        super().__init__()
        self._off = 0
        self._stands_at: int | None = None

    def now(self) -> int:
        """Return the wall time, right or wrong."""
        return self._stands_at if self._stands_at is not None else super().now() + self._off

    def jump(self, seconds: float) -> None:
        """Set the wall clock, as an administrator or NTP does."""
        self._off += microseconds(seconds)

    def stand_still(self) -> None:
        """Let the wall time be the same from now on, while everything else goes on."""
        self._stands_at = self.now()


@pytest.fixture
def wrong() -> WrongClock:
    """A clock that will be wrong."""
    return WrongClock()


def _look(daemon: Daemon) -> None:
    """Let everybody look at the clock."""
    for part in (daemon.parts.keeper, daemon.parts.janitor, daemon.parts.dispatcher):
        part.wake.ring()


@pytest.mark.parametrize("jump", [DAY, -DAY, 3600.0, -3600.0])
async def test_a_jump_after_the_dot_does_not_lose_the_reply(
    jump: float, outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """Whatever the wall clock says meanwhile, what the relay took is sent, once, without doubt."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put(ANN, now=wrong.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await relay.until(lambda: relay.ledger.seen["."] == 1)
        wrong.jump(jump)
        # Before the heartbeat, which would put off the end of the lease.
        await daemon.parts.janitor.settle()
        await daemon.rounds(2)
        go_on.set()
        await daemon.until_states(sent=1)
        outbox.put(BOB, now=wrong.now())
        await daemon.until_states(sent=2)
        assert not daemon.told(events.LeaseReaped)
    assert len(relay.ledger) == 2
    assert outbox.recipient(ANN)["doubts"] == 0
    assert_sound(outbox)


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_a_jump_before_the_dot_costs_nothing(
    jump: float, outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """Forward the lease seems over and the mail goes back uncharged; either way it goes once."""
    go_on = asyncio.Event()
    script.on("DATA").times(1).wait_for(go_on)
    outbox.put(ANN, now=wrong.now() - microseconds(2 * DAY))
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await relay.until(lambda: relay.ledger.seen["DATA"] == 1)
        wrong.jump(jump)
        go_on.set()
        await daemon.until_states(sent=1)
    assert len(relay.ledger) == 1
    assert [row["verdict"] for row in outbox.attempts(ANN)] == ["sent"]
    assert outbox.recipient(ANN)["attempts"] == 1


async def test_deferred_mail_waits_for_the_clock_that_was_set_back_and_new_mail_does_not(
    outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """Due times are wall time: mail is late by as much as the clock was wrong, and is not lost."""
    script.on("RCPT").times(1).reply("451 4.7.1 later")
    outbox.put(ANN, now=wrong.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await daemon.until_states(deferred=1)
        wrong.jump(-DAY)
        outbox.put(BOB, now=wrong.now())
        await daemon.until_states(deferred=1, sent=1)
        wrong.jump(DAY + 400)
        _look(daemon)
        await daemon.until_states(sent=2)
    assert len(relay.ledger) == 2


async def test_a_pause_does_not_outlast_its_maximum_because_the_clock_was_set_back(
    outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """A breaker that opened by a clock a day ahead lets a probe through when that is corrected."""
    script.on("CONNECT").times(1).reply("421 busy")
    wrong.jump(DAY)
    outbox.put(ANN, now=wrong.now() - microseconds(2 * DAY))
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await daemon.until_told(events.RelayPaused)
        await daemon.until_states(queued=1)
        wrong.jump(-DAY)
        outbox.put(BOB, now=wrong.now())
        _look(daemon)
        await daemon.until(lambda: outbox.state(BOB) == "sent")


async def test_a_clock_that_stands_still_stops_nobody(
    outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """What is due is sent and answered; only what waits for a later time goes on waiting."""
    script.on("RCPT", address=BOB).times(1).reply("451 4.7.1 later")
    wrong.stand_still()
    outbox.put_all(
        [outbox.draft(address) for address in (ANN, BOB, "cee@example.net")], now=wrong.now()
    )
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await daemon.until_states(sent=2, deferred=1)
        await daemon.rounds(3)
        assert outbox.states() == {"sent": 2, "deferred": 1}
    assert_sound(outbox)


@pytest.mark.parametrize("stage", ["DATA", "."])
async def test_a_machine_that_was_asleep_goes_on_where_it_was(
    stage: str, outbox: OutboxFile, wrong: WrongClock, script: Script, relay: ScriptedRelay
) -> None:
    """Eight hours pass on the wall and none on the monotonic clock, and the relay has hung up.

    Before the dot nothing was accepted; after it there is doubt, which is on record.
    """
    hang_up = asyncio.Event()
    script.on(stage).times(1).wait_for(hang_up).close()
    outbox.put(ANN, now=wrong.now())
    async with running(outbox, {"main": leading_to(relay)}, clock=wrong) as daemon:
        await relay.until(lambda: relay.ledger.seen[stage] == 1)
        wrong.jump(8 * 3600.0)
        hang_up.set()
        _look(daemon)
        await daemon.until_states(deferred=1)
        await daemon.let_pass(3600)
        await daemon.until_states(sent=1)
        assert not daemon.told(events.LeaseReaped)
    verdicts = [row["verdict"] for row in outbox.attempts(ANN)]
    assert verdicts == (["defer", "sent"] if stage == "DATA" else ["in-doubt", "sent"])
    assert outbox.recipient(ANN)["doubts"] == (stage == ".")


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
async def test_summer_time_is_nobodys_business(
    zone: str,
    monkeypatch: pytest.MonkeyPatch,
    outbox: OutboxFile,
    script: Script,
    relay: ScriptedRelay,
) -> None:
    """Instants are counted from 1970: an hour that local clocks have twice is none here."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for change in (1_743_296_400, 1_761_440_400):  # 2025: the last Sundays of March and October
            clock = _StartingAt(change - 150)
            script.on("RCPT").times(1).reply("451 4.7.1 later")
            address = f"a{change}@example.net"
            outbox.put(address, now=clock.now())
            async with running(outbox, {"main": leading_to(relay)}, clock=clock) as daemon:
                await daemon.until(lambda a=address: outbox.state(a) == "deferred")  # type: ignore[misc]
                await daemon.let_pass(301)
                await daemon.until(lambda a=address: outbox.state(a) == "sent")  # type: ignore[misc]
            first, second = outbox.attempts(address)
            pause = (second["started_at"] - first["ended_at"]) / 1e6
            assert pause == pytest.approx(301, abs=15)
            seen = outbox.query("SELECT * FROM mailqueue_history WHERE recipient = ?", address)
            assert all(str(row["at"]).endswith("Z") for row in seen)
    finally:
        monkeypatch.undo()
        os.environ.setdefault("TZ", "UTC")
        time.tzset()


class _StartingAt(PassingClock):
    """The machine's time, moved to begin at an instant of one's choice (epoch seconds)."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self._shift = microseconds(start) - super().now()

    def now(self) -> int:
        """Return the moved wall time with what has been let pass."""
        return super().now() + self._shift
