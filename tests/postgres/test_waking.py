"""How a daemon on PostgreSQL learns of new mail, and of what operators decide."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from mailqueue import Outbox
from mailqueue.clock import SystemClock
from mailqueue.events import DatabaseTrouble, PauseBegun, PauseEnded
from mailqueue.operate import Operator
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, SLOW, query, running, states
from tests.support.postgres import PostgresServer
from tests.support.process import ROOT
from tests.support.settings import leading_to
from tests.support.waiting import until

_PRODUCER = """
import sys
from mailqueue import Outbox

for raw in sys.stdin.buffer:
    Outbox(sys.argv[1]).enqueue(
        b"From: a@example.org\\nSubject: x\\n\\nhello\\n", recipients=["ann@example.net"]
    )
"""


async def _enqueue_elsewhere(url: str) -> None:
    """Enqueue from another process, and return when that has ended."""
    producer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PRODUCER, url),
        stdin=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    await producer.communicate(b"one\n")
    assert producer.returncode == 0


async def test_a_producer_in_another_process_wakes_it(url: str, relay: ScriptedRelay) -> None:
    """NOTIFY is heard: with a poll of a minute, nothing else can have found it."""
    async with running(url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.listening()
        await _enqueue_elsewhere(url)
        await relay.ledger.wait_for(1)


async def test_what_is_committed_right_after_a_ring_is_found(
    url: str, relay: ScriptedRelay
) -> None:
    """Who rings no second time is found by the second look that follows each ring."""
    async with running(url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.listening()
        with Outbox(url) as outbox:
            for number in range(1, 6):
                await asyncio.to_thread(outbox.enqueue, RAW)
                await relay.ledger.wait_for(number)


async def test_it_listens_again_after_the_server_was_killed(
    mortal: PostgresServer, relay: ScriptedRelay
) -> None:
    """The server comes back, and so does the connection that hears it."""
    with Outbox(mortal.url) as outbox:
        outbox.create()
    async with running(mortal.url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.listening()
        mortal.kill()
        await until(lambda: bool(daemon.told(DatabaseTrouble)))
        await asyncio.to_thread(mortal.restart)
        await daemon.listening()
        await _enqueue_elsewhere(mortal.url)
        await relay.ledger.wait_for(1)


async def test_what_was_committed_while_nobody_listened_is_found(
    url: str, relay: ScriptedRelay
) -> None:
    """A connection that is begun anew is a reason to look."""
    async with running(url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.listening()
        with Outbox(url, notify=False) as outbox:
            await asyncio.to_thread(outbox.enqueue, RAW)
        await asyncio.to_thread(_cut_listeners, url)
        await relay.ledger.wait_for(1)


def _cut_listeners(url: str) -> None:
    query(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'mailqueue-listening' AND datname = current_database()",
    )


async def test_without_notify_polling_finds_it(url: str, relay: ScriptedRelay) -> None:
    """Behind a pooler that listens to nobody, mail goes all the same, and no connection listens."""
    pace = {"poll": 0.1, "poll_max": 60}
    off = {"notify": False}
    async with running(url, {"main": leading_to(relay)}, daemon=pace, database=off) as daemon:
        assert daemon.parts.listener is None
        assert daemon.parts.dispatcher.pace.poll_max == 0.1
        with Outbox(url, notify=False) as outbox:
            for number in range(1, 4):
                await daemon.looked()
                await asyncio.to_thread(outbox.enqueue, RAW)
                await relay.ledger.wait_for(number)


async def test_a_plain_insert_is_found_by_polling(url: str, relay: ScriptedRelay) -> None:
    """Whoever only knows SQL can send mail here too."""
    pace = {"poll": 0.1, "poll_max": 0.2}
    now = SystemClock().now()
    async with running(url, {"main": leading_to(relay)}, daemon=pace) as daemon:
        await daemon.listening()
        await asyncio.to_thread(_insert, url, now)
        await relay.ledger.wait_for(1)
        await until(lambda: states(url) == {"sent": 1})


def _insert(url: str, now: int) -> None:
    query(
        url,
        "INSERT INTO mailqueue_messages (id, enqueued_at, header_message_id, sender, size,"
        " recipient_count, eight_bit, utf8_header, relay, priority, on_doubt)"
        " VALUES (7, :now, '<7@example.org>', '', 14, 1, false, false, 'default', 1, 'retry')",
        now=now,
    )
    query(
        url, "INSERT INTO mailqueue_contents VALUES (7, convert_to(:raw, 'UTF8'))",
        raw="Subject: x\r\n\r\n",
    )  # fmt: skip
    query(
        url,
        "INSERT INTO mailqueue_recipients"
        " (message_id, address, state, relay, priority, due_at, lifetime_from)"
        " VALUES (7, 'ann@example.net', 'queued', 'default', 1, :now, :now)",
        now=now,
    )


async def test_an_operators_pause_and_resume_are_obeyed(url: str, relay: ScriptedRelay) -> None:
    """They ring as producers do: with a poll of a minute, nothing else tells of them."""
    async with running(url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
        await daemon.listening()
        with Operator(url, actor="olga") as operator, Outbox(url) as outbox:
            await asyncio.to_thread(operator.pause, "main")
            await until(lambda: bool(daemon.told(PauseBegun)))
            receipt = await asyncio.to_thread(outbox.enqueue, RAW)
            await daemon.looked()
            assert states(url) == {"queued": 1}
            await asyncio.to_thread(operator.resume, "main")
            await until(lambda: bool(daemon.told(PauseEnded)))
            await relay.ledger.wait_for(1)
            assert receipt.id


async def test_a_retry_by_hand_is_obeyed(url: str, relay: ScriptedRelay) -> None:
    """Whom an operator lets go on goes on at once."""
    with Outbox(url) as outbox, Operator(url, actor="olga") as operator:
        receipt = outbox.enqueue(RAW)
        operator.hold(receipt.id)
        async with running(url, {"main": leading_to(relay)}, daemon=SLOW) as daemon:
            await daemon.listening()
            await asyncio.to_thread(operator.release, receipt.id)
            await relay.ledger.wait_for(1)


@pytest.mark.slow
async def test_it_works_on_uvloop(url: str, tmp_path: object) -> None:
    """The connection is watched by whatever loop there is."""
    script = f"""
import asyncio, uvloop
from mailqueue import Outbox
from mailqueue.testing import ScriptedRelay
from tests.postgres.places import RAW, SLOW, running
from tests.support.settings import leading_to

async def main():
    async with ScriptedRelay() as relay:
        async with running({url!r}, {{"main": leading_to(relay)}}, daemon=SLOW) as daemon:
            await daemon.listening()
            with Outbox({url!r}) as outbox:
                await asyncio.to_thread(outbox.enqueue, RAW)
            await relay.ledger.wait_for(1, timeout=10)

uvloop.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert await process.wait() == 0
