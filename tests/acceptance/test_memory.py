"""What is held in memory does not grow with the queue."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.daemon import dispatcher, routing
from mailqueue.testing import Cue, Script, ScriptedRelay
from tests.support.daemon import PlainOutbox, leading_to, running

MAILS = 3000
DRAINED = 400
"""How many of them are sent before the test has seen enough."""
OCTETS = 64 * 1024
CONNECTIONS = 20
_BODY = b"Subject: long\r\n\r\n" + b"x" * 70 + b"\r\n"


async def test_no_more_is_claimed_than_can_be_sent_soon(
    outbox: PlainOutbox,
    script: Script,
    relay: ScriptedRelay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of thousands that wait at most three mails for each session are leased at any time, apart
    from what a relay has claimed ahead by its pace.
    """
    monkeypatch.setattr(routing, "AHEAD_SECONDS", 0.0)
    relay.ledger.keep_content = False
    leased: list[int] = []
    go_on = asyncio.Event()

    def counts(_: Cue) -> bool:
        leased.append(outbox.states()["sending"])
        return True

    script.on(".", occurrence=range(1, CONNECTIONS + 1)).wait_for(go_on)
    script.on(".", occurrence=range(CONNECTIONS, MAILS, 20)).when(counts)
    outbox.put_all([outbox.draft(f"r{number}@example.net", raw=_BODY) for number in range(MAILS)])
    keys = leading_to(relay, connections=CONNECTIONS)
    async with running(outbox, {"main": keys}) as daemon:
        await relay.saw(".", CONNECTIONS)
        await daemon.rounds(3)
        assert outbox.states()["sending"] == 3 * CONNECTIONS
        go_on.set()
        await relay.ledger.wait_for(DRAINED, timeout=30)
    # While results are being committed others are claimed in their stead.
    assert max(leased) <= 3 * CONNECTIONS
    assert len(leased) >= DRAINED // 20


async def test_the_content_in_flight_is_bounded_whatever_the_number_of_sessions(
    outbox: PlainOutbox,
    script: Script,
    relay: ScriptedRelay,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Claims stop with the message that passes the bound, and go on as content is let go."""
    monkeypatch.setattr(dispatcher, "OCTETS_IN_FLIGHT", OCTETS)
    relay.ledger.keep_content = False
    raw = b"Subject: long\r\n\r\n" + (b"x" * 78 + b"\r\n") * 100
    size = len(outbox.draft("x@example.net", raw=raw).content.raw)
    most = OCTETS // size + 1
    assert most < CONNECTIONS
    go_on = asyncio.Event()
    script.on(".", occurrence=range(1, most + 1)).wait_for(go_on)
    outbox.put_all([outbox.draft(f"r{number}@example.net", raw=raw) for number in range(100)])
    keys = leading_to(relay, connections=CONNECTIONS)
    async with running(outbox, {"main": keys}) as daemon:
        await relay.saw(".", most)
        await daemon.rounds(3)
        assert outbox.states()["sending"] == most
        assert relay.ledger.seen["MAIL"] == most
        go_on.set()
        await daemon.until_states(sent=100)


async def test_a_mail_larger_than_the_bound_is_sent_too(
    outbox: PlainOutbox, relay: ScriptedRelay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One message is taken however large it is: it would wait for ever otherwise."""
    monkeypatch.setattr(dispatcher, "OCTETS_IN_FLIGHT", OCTETS)
    raw = b"Subject: long\r\n\r\n" + (b"x" * 78 + b"\r\n") * 2000
    outbox.put_all([outbox.draft(f"r{number}@example.net", raw=raw) for number in range(3)])
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=3)
    assert min(taken.size for taken in relay.ledger.accepted) > OCTETS
