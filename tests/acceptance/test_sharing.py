"""Relays and names side by side: none takes from another what that one needs."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.mail.priority import Priority
from mailqueue.testing import Script, ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.acceptance.plays import ANN, says
from tests.support.daemon import PlainOutbox, leading_to, running

_LARGE = b"Subject: x\r\n\r\n" + (b"x" * 70 + b"\r\n") * 56_000


async def test_urgent_mail_goes_first_by_whichever_name_it_goes_there(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """A backlog that names the relay does not hold up an urgent mail that names none."""
    bulk = [
        outbox.draft(f"b{n}@example.net", relay="main", priority=Priority.LOW) for n in range(40)
    ]
    outbox.put_all(bulk)
    outbox.put(ANN, priority=Priority.HIGH)
    async with running(outbox, {"main": leading_to(relay, connections=1)}) as daemon:
        await daemon.until_states(sent=41)
    assert relay.ledger.accepted[0].recipients == (ANN,)


async def test_a_relay_that_does_not_answer_leaves_room_for_the_others(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """Neither its large mails in memory nor their number keep another relay's mail waiting."""
    other, release = await start_relay(ScriptedRelay()), asyncio.Event()
    script.on("MAIL").wait_for(release)
    outbox.put_all([outbox.draft(f"s{n}@example.net", raw=_LARGE, relay="slow") for n in range(25)])
    relays = {"slow": leading_to(relay), "other": leading_to(other)}
    daemons = {"default_relay": "other", "deliveries": 16}
    async with running(outbox, relays, daemon=daemons) as daemon:
        await relay.saw("MAIL", 10)
        await daemon.rounds()
        outbox.put(ANN, relay="other")
        await daemon.until(lambda: outbox.state(ANN) == "sent")
        assert not relay.ledger.accepted
        release.set()
        await daemon.until_states(sent=26, timeout=60.0)


@pytest.mark.backend("sqlite")  # on PostgreSQL a ring has an echo, which is another round
async def test_due_mail_of_a_paused_relay_keeps_nobody_awake(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, start_relay: StartRelay
) -> None:
    """Its times pass one after the other, and the daemon looks when the pause is over."""
    other = await start_relay(ScriptedRelay())
    says("554 no")(script.on("CONNECT"))
    relays = {"paused": leading_to(relay), "other": leading_to(other)}
    pace = {"default_relay": "other", "poll": 60.0, "poll_max": 60.0}
    outbox.put(ANN, relay="paused")
    async with running(outbox, relays, daemon=pace) as daemon:
        await daemon.until(lambda: outbox.relay("paused")["breaker"] == "open")
        now = daemon.clock.now()
        times = [now + 1_000 * n for n in range(1, 1_000)]
        outbox.put_all([outbox.draft(ANN, relay="paused", send_at=at) for at in times])
        await daemon.rounds()
        # A ring that came right behind another is heard when the daemon listens again.
        await daemon.until(lambda: daemon.clock.now() > times[len(times) // 2])
        last = daemon.parts.dispatcher.last_round
        await daemon.until(lambda: daemon.clock.now() > times[-1])
        assert daemon.parts.dispatcher.last_round == last
