"""One message for many: split into transactions, and each recipient on its own."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.testing import Cue, Script, ScriptedRelay
from tests.support.daemon import PlainOutbox, leading_to, running


def _addresses(count: int) -> tuple[str, ...]:
    return tuple(f"r{number}@example.net" for number in range(count))


async def test_more_than_a_hundred_recipients_are_split_into_transactions(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """RFC 5321 section 4.5.3.1.8: a relay need not take more than 100 in one transaction."""
    outbox.put(*_addresses(250))
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=250)
    assert [len(taken.recipients) for taken in relay.ledger.accepted] == [100, 100, 50]
    assert {taken.session for taken in relay.ledger.accepted} == {1}
    assert not relay.ledger.duplicates


@pytest.mark.parametrize(
    "reply", ["452 4.5.3 too many recipients", "452 enough", "552 too many recipients"]
)
async def test_those_who_are_too_many_go_in_the_next_transaction_at_once(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay, reply: str
) -> None:
    """Of 150 the relay takes 100: the rest follow at once, and nobody is charged for it."""

    def is_full(cue: Cue) -> bool:
        return len(cue.recipients) >= 100

    script.on("RCPT").when(is_full).reply(reply)
    outbox.put(*_addresses(150))
    keys = leading_to(relay, recipients_per_transaction=150)
    async with running(outbox, {"main": keys}) as daemon:
        await daemon.until_states(sent=150)
    assert [len(taken.recipients) for taken in relay.ledger.accepted] == [100, 50]
    assert len(outbox.attempts()) == 150
    assert outbox.value("SELECT max(attempts) FROM mailqueue_recipients") == 1


async def test_a_refusal_in_one_transaction_does_not_reach_the_others(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Each transaction of a message has its own final dot, and its own fate."""
    script.on(".", transaction=2).reply("554 5.7.1 no more of this")
    outbox.put(*_addresses(250))
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.until_states(sent=150, failed=100)


async def test_large_messages_use_as_many_sessions_as_small_ones(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Many recipients on one message do not keep other messages from the free sessions."""
    go_on = asyncio.Event()
    script.on(".").wait_for(go_on)
    outbox.put_all([outbox.draft(*_addresses(60)) for _ in range(5)])
    keys = leading_to(relay, connections=5)
    slow = {"poll": 60, "poll_max": 60}
    async with running(outbox, {"main": keys}, daemon=slow) as daemon:
        await relay.saw(".", 5)
        go_on.set()
        await daemon.until_states(sent=300)
