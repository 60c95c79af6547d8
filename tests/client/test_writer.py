"""Concurrent calls of an `AsyncOutbox` on a file of its own, and what they share."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mailqueue import (
    AsyncOutbox,
    IdempotencyError,
    LimitError,
    Limits,
    OutboxBusyError,
    OutboxFullError,
    Receipt,
)
from tests.client.parts import RAW, query
from tests.support.kept import kept_driver

COUNT = "SELECT count(*) FROM mailqueue_messages"


class Held:
    """An outbox whose first transaction waits, so that others gather behind it."""

    def __init__(self, outbox: AsyncOutbox, path: Path) -> None:
        self.outbox = outbox
        self.path = path
        self.commits = 0
        kept_driver(outbox).set_trace_callback(self._count)
        self._other = sqlite3.connect(path, isolation_level=None)
        self._other.execute("BEGIN IMMEDIATE")

    def _count(self, statement: str) -> None:
        self.commits += statement == "COMMIT"

    async def begin(self, *calls: Any) -> list[asyncio.Task[Receipt]]:
        """Start ``calls`` as tasks, in their order, and return when all of them wait."""
        tasks = [asyncio.create_task(call) for call in calls]
        for _ in range(3):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        return tasks

    def let_go(self) -> None:
        """Let the first one commit."""
        self._other.close()


@pytest.fixture
async def held(url: str, path: Path) -> AsyncIterator[Held]:
    """An outbox that somebody else has locked."""
    async with AsyncOutbox(url, limits=Limits(queued_size=20_000)) as outbox:
        await outbox.enqueue(RAW, idempotency_key="known")
        held = Held(outbox, path)
        yield held
        held.let_go()


async def settled(tasks: list[asyncio.Task[Receipt]]) -> list[Receipt | BaseException]:
    """Return what became of ``tasks``."""
    async with asyncio.timeout(30):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_that_come_meanwhile_share_a_commit(held: Held) -> None:
    """Calls that come while a transaction is under way are the next one, in their order."""
    tasks = await held.begin(*(held.outbox.enqueue(RAW) for _ in range(20)))
    held.let_go()
    receipts = await settled(tasks)
    assert held.commits == 2
    numbers = [receipt.id for receipt in receipts if isinstance(receipt, Receipt)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 20


async def test_lists_keep_together(held: Held) -> None:
    """Each caller gets the receipts of its own messages, whoever else is in the transaction."""
    first = await held.begin(held.outbox.enqueue(RAW))
    lists = [asyncio.create_task(held.outbox.enqueue_many([RAW] * count)) for count in (3, 1, 2)]
    await asyncio.sleep(0)
    held.let_go()
    await settled(first)
    found = [[receipt.id for receipt in await receipts] for receipts in lists]
    assert [len(each) for each in found] == [3, 1, 2]
    assert found == [sorted(each) for each in found]
    assert len({number for each in found for number in each}) == 6


async def test_nobody_is_told_before_the_commit(held: Held) -> None:
    """A receipt is given when its message can be seen by others, and never earlier."""

    async def enqueue() -> Receipt:
        receipt = await held.outbox.enqueue(RAW)
        found = query(held.path, f"{COUNT} WHERE id = {receipt.id}")
        assert found == [(1,)]
        return receipt

    tasks = await held.begin(*(enqueue() for _ in range(10)))
    held.let_go()
    assert all(isinstance(each, Receipt) for each in await settled(tasks))


async def test_an_error_of_one_costs_the_others_nothing(held: Held) -> None:
    """A conflict or a limit is told to the call that met it; the others share their commit."""
    tasks = await held.begin(
        held.outbox.enqueue(RAW),
        held.outbox.enqueue(RAW),
        held.outbox.enqueue(RAW, idempotency_key="known", recipients=["b@example.net"]),
        held.outbox.enqueue(RAW + b"x" * 70 + b"\r\n" * 15_000),
        held.outbox.enqueue(RAW, idempotency_key="known"),
        held.outbox.enqueue(RAW),
    )
    held.let_go()
    results = await settled(tasks)
    kinds = [type(each) for each in results]
    assert kinds == [Receipt, Receipt, IdempotencyError, LimitError, Receipt, Receipt]
    assert isinstance(results[4], Receipt)
    assert results[4].duplicate
    assert held.commits == 2
    assert query(held.path, COUNT) == [(4,)]


async def test_a_key_raced_for_by_calls_of_one_process(held: Held) -> None:
    """Of calls with one key the first is stored; the same again is its duplicate, others fail."""
    tasks = await held.begin(
        held.outbox.enqueue(RAW),
        held.outbox.enqueue(RAW, idempotency_key="k"),
        held.outbox.enqueue(RAW, idempotency_key="k"),
        held.outbox.enqueue(RAW, idempotency_key="k", recipients=["b@example.net"]),
    )
    held.let_go()
    _, first, second, third = await settled(tasks)
    assert isinstance(first, Receipt)
    assert second == Receipt(first.id, first.message_id, duplicate=True)
    assert isinstance(third, IdempotencyError)
    assert third.message == first.id


async def test_a_commit_that_fails_fails_for_all(
    url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the database gives out, everybody in the transaction gets the error, and nothing stays.

    What comes afterwards is stored again.
    """
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
        held = Held(outbox, path)
        tasks = await held.begin(*(outbox.enqueue(RAW) for _ in range(10)))

        def fail(kept: Any) -> None:
            if held.commits == 1:
                raise sqlite3.OperationalError("disk I/O error")
            kept.driver.commit()

        with monkeypatch.context() as patched:
            patched.setattr("mailqueue.outbox.writing._Kept.commit", fail)
            held.let_go()
            first, *others = await settled(tasks)
        assert isinstance(first, Receipt)
        assert {type(each).__name__ for each in others} == {"OutboxError"}
        assert query(path, COUNT) == [(2,)]
        await outbox.enqueue(RAW)
    assert query(path, COUNT) == [(3,)]


async def test_a_disk_that_is_full_is_told_to_all(url: str, path: Path) -> None:
    """Whoever shares a transaction that did not fit is told so, and nothing of it is there."""
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
        held = Held(outbox, path)
        ((pages,),) = query(path, "PRAGMA page_count")

        kept_driver(outbox).execute(f"PRAGMA max_page_count={pages + 2}")
        large = RAW + b"x" * 70 + b"\r\n" * 100_000
        tasks = await held.begin(*(outbox.enqueue(large) for _ in range(3)))
        held.let_go()
        results = await settled(tasks)
        assert [type(each) for each in results[1:]] == [OutboxFullError] * 2
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


async def test_a_lock_that_stays_is_told_to_all(url: str, path: Path) -> None:
    """Behind a writer that does not end everybody gets the retryable error."""
    async with AsyncOutbox(url, busy_timeout=0.1) as outbox:
        await outbox.enqueue(RAW)
        held = Held(outbox, path)
        tasks = await held.begin(*(outbox.enqueue(RAW) for _ in range(3)))
        assert [type(each) for each in await settled(tasks)] == [OutboxBusyError] * 3
        held.let_go()
        await outbox.enqueue(RAW)


@pytest.mark.parametrize("which", [0, 1])
async def test_a_cancelled_call_ends_with_its_transaction(held: Held, which: int) -> None:
    """One that is cancelled stays until its transaction has ended, and disturbs nobody in it."""
    tasks = await held.begin(*(held.outbox.enqueue(RAW) for _ in range(3)))
    tasks[which].cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not tasks[which].done()
    held.let_go()
    results = await settled(tasks)
    assert isinstance(results[which], asyncio.CancelledError)
    assert sum(isinstance(each, Receipt) for each in results) == 2
    assert query(held.path, COUNT) == [(4,)]


async def test_closing_waits(held: Held) -> None:
    """Closing ends when what was asked for before is stored."""
    tasks = await held.begin(*(held.outbox.enqueue(RAW) for _ in range(5)))
    closing = asyncio.create_task(held.outbox.close())
    await asyncio.sleep(0)
    assert not closing.done()
    held.let_go()
    await asyncio.wait_for(closing, 30)
    assert all(isinstance(each, Receipt) for each in await settled(tasks))
    assert query(held.path, COUNT) == [(6,)]


async def test_without_a_thread_nobody_waits_for_ever(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call that met it is told, and the next one finds the outbox as it was."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    async with AsyncOutbox(url) as outbox:
        await outbox.create()
        with monkeypatch.context() as patched:
            patched.setattr(ThreadPoolExecutor, "submit", refuse)
            assert outbox._writer is not None
            with pytest.raises(RuntimeError, match="thread"):
                await outbox._writer.store(outbox._producer.drafts([RAW]))
        async with asyncio.timeout(10):
            assert (await outbox.enqueue(RAW)).id


FORKED = """
import asyncio, os, sys
from mailqueue import AsyncOutbox
from tests.client.parts import RAW
outbox = AsyncOutbox(sys.argv[1])
async def use():
    receipt = await outbox.enqueue(RAW)
    await outbox.status(receipt.id)
asyncio.run(use())
if not (child := os.fork()):
    asyncio.run(asyncio.wait_for(use(), 20))
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
os._exit(0)
"""


def test_forks(url: str) -> None:
    """A server that forks after it has used the outbox goes on in the child."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED, url], check=True, timeout=60)
    assert query(url, COUNT) == [(2,)]
