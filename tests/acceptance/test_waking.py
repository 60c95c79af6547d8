"""How an idle daemon learns of new mail."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from mailqueue.clock import SystemClock
from mailqueue.testing import ScriptedRelay
from tests.acceptance.plays import ANN
from tests.support.daemon import ROOT, PlainOutbox, leading_to, running

SLOW = {"poll": 60, "poll_max": 60}
"""So long that only the doorbell can be what wakes the daemon."""

_PRODUCER = """
import sys
from mailqueue import Outbox

receipt = Outbox(sys.argv[1]).enqueue(
    b"From: a@example.org\\nSubject: x\\n\\nhello\\n", recipients=[sys.argv[2]]
)
print(receipt.id, flush=True)
"""


@pytest.mark.slow
async def test_a_producer_in_another_process_wakes_it_within_a_second(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """The doorbell rings after the commit: nobody waits for the next poll."""
    async with running(outbox, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.rounds()
        producer = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", _PRODUCER, outbox.url, ANN),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert producer.stdout is not None
        assert (await producer.stdout.readline()).strip().isdigit()
        await relay.ledger.wait_for(1, timeout=1.0)
        assert await producer.wait() == 0
        await daemon.until_states(sent=1)


async def test_a_plain_insert_is_found_by_polling(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """Whoever only knows SQL can send mail: three rows, and no bell."""
    now = SystemClock().now()
    async with running(outbox, {"main": leading_to(relay)}) as daemon:
        await daemon.rounds()
        outbox.execute(
            "INSERT INTO mailqueue_messages (id, enqueued_at, header_message_id, sender, size,"
            " recipient_count, eight_bit, utf8_header, relay, priority, on_doubt)"
            " VALUES (7, ?, '<7@example.org>', '', 14, 1, FALSE, FALSE, 'default', 1, 'retry')",
            now,
        )
        outbox.execute("INSERT INTO mailqueue_contents VALUES (7, ?)", b"Subject: x\r\n\r\n")
        outbox.execute(
            "INSERT INTO mailqueue_recipients"
            " (message_id, address, state, relay, priority, due_at, lifetime_from)"
            " VALUES (7, ?, 'queued', 'default', 1, ?, ?)",
            ANN,
            now,
            now,
        )
        await daemon.until_states(sent=1)
    assert relay.ledger.accepted[0].content == b"Subject: x\r\n\r\n"


async def test_it_wakes_for_what_falls_due_and_not_only_for_what_is_new(
    outbox: PlainOutbox, relay: ScriptedRelay
) -> None:
    """It waits for the next due time, even where that is nearer than the next poll."""
    soon = SystemClock().now() + 300_000
    async with running(outbox, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        outbox.put(ANN, send_at=soon)
        await daemon.until_states(sent=1, timeout=5)
    assert outbox.attempt(ANN)["started_at"] >= soon
