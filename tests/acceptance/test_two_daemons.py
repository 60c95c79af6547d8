"""Two daemons on one file, or one after another that is still there."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.testing import Script, ScriptedRelay
from tests.support.daemon import PlainOutbox, leading_to, process, until

pytestmark = pytest.mark.slow

MAILS = 500


def granted(outbox: PlainOutbox) -> list[int]:
    """Return how many connections each daemon may have."""
    return [row["granted"] for row in outbox.query("SELECT granted FROM mailqueue_shares")]


async def test_two_daemons_never_hold_the_same_recipient(
    outbox: PlainOutbox, script: Script, relay: ScriptedRelay
) -> None:
    """Both send, each mail goes once, and every recipient has exactly one attempt."""
    go_on = asyncio.Event()
    script.on(".", occurrence=range(1, 11)).wait_for(go_on)
    script.on(".").delay(0.01)
    keys = {"main": leading_to(relay, connections=10)}
    async with (
        process(outbox, keys, name="one", daemon={"deliveries": 10}) as _,
        process(outbox, keys, name="two", daemon={"deliveries": 10}) as _,
    ):
        workers = {row["id"] for row in outbox.query("SELECT id FROM mailqueue_workers")}
        assert len(workers) == 2
        await until(lambda: granted(outbox) == [5, 5], what=lambda: granted(outbox))
        for start in range(0, MAILS, 100):
            numbers = range(start, start + 100)
            outbox.put_all([outbox.draft(f"r{number}@example.net") for number in numbers])
        await relay.saw(".", 10, timeout=20)
        go_on.set()
        await relay.ledger.wait_for(MAILS, timeout=60)
        await until(lambda: outbox.states() == {"sent": MAILS}, what=outbox.states)
    assert not relay.ledger.duplicates
    assert len(relay.ledger) == MAILS
    assert len(outbox.attempts()) == MAILS
    assert {row["worker"] for row in outbox.attempts()} == workers
    assert outbox.value("SELECT max(attempts) FROM mailqueue_recipients") == 1
