from __future__ import annotations

import asyncio
import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from mailqueue import AsyncOutbox, Outbox
from tests.client.parts import RAW, query

EACH = 20
COUNT = "SELECT count(*), count(DISTINCT header_message_id) FROM mailqueue_messages"
CHECKOUT = Path(__file__).parents[2]


def fill(url: str, start: Barrier, _answers: Any) -> None:
    """Enqueue from four threads of this process."""
    with Outbox(url) as outbox, ThreadPoolExecutor(4) as pool:
        start.wait(60)
        list(pool.map(outbox.enqueue, [RAW] * (4 * EACH)))


def use_key(url: str, start: Barrier, answers: Any) -> None:
    """Enqueue one key after the other, at the same time as somebody else does."""
    with Outbox(url) as outbox:
        start.wait(60)
        for number in range(EACH):
            receipt = outbox.enqueue(RAW, idempotency_key=f"k{number}")
            answers.put((number, receipt.id, receipt.message_id, receipt.duplicate))


def in_processes(work: Callable[..., None], url: str, processes: int) -> list[Any]:
    """Run ``work`` in several processes that begin at once; return what they answered."""
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(processes), context.Queue()
    children = [context.Process(target=work, args=(url, start, answers)) for _ in range(processes)]
    for child in children:
        child.start()
    found = [answers.get(timeout=60) for _ in range(processes * EACH if work is use_key else 0)]
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    return found


def test_threads(url: str) -> None:
    """Eight threads share an outbox that none of them has created; every message is there once."""
    with Outbox(url) as outbox, ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(outbox.enqueue, [RAW] * (8 * EACH)))
    assert len({receipt.id for receipt in receipts}) == 8 * EACH
    assert query(url, COUNT) == [(8 * EACH, 8 * EACH)]


async def test_coroutines(url: str) -> None:
    """Coroutines share an outbox that none of them has created."""
    async with AsyncOutbox(url) as outbox:
        receipts = await asyncio.gather(*(outbox.enqueue(RAW) for _ in range(8 * EACH)))
    assert len({receipt.id for receipt in receipts}) == 8 * EACH
    assert query(url, COUNT) == [(8 * EACH, 8 * EACH)]


def test_processes(url: str, path: Path) -> None:
    """Two processes of four threads create the file, fill it, and lose nothing."""
    in_processes(fill, url, 2)
    assert query(path, COUNT) == [(8 * EACH, 8 * EACH)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_one_key_in_two_processes(url: str) -> None:
    """A key raced for by two processes makes one message, and both get its receipt."""
    answers = in_processes(use_key, url, 2)
    assert query(url, COUNT) == [(EACH, EACH)]
    for number in range(EACH):
        both = [answer for answer in answers if answer[0] == number]
        assert len({answer[1:3] for answer in both}) == 1
        assert sorted(answer[3] for answer in both) == [False, True]


def test_one_key_in_threads(url: str) -> None:
    """A key raced for by threads makes one message."""
    with Outbox(url) as outbox, ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: outbox.enqueue(RAW, idempotency_key="k"), range(16)))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert query(url, "SELECT count(*) FROM mailqueue_recipients") == [(1,)]


FORKED = """
import os, sys
from mailqueue import Outbox
from tests.client.parts import RAW
outbox = Outbox(sys.argv[1])
outbox.enqueue(RAW)
children = []
for _ in range(3):
    if not (child := os.fork()):
        for _ in range(5):
            outbox.enqueue(RAW)
        os._exit(0)
    children.append(child)
for _ in range(5):
    outbox.enqueue(RAW)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
"""


def test_forks(url: str, path: Path) -> None:
    """A web server that forks after it has used the outbox goes on in every child."""
    subprocess.run([sys.executable, "-c", FORKED, url], check=True, cwd=CHECKOUT, timeout=60)
    assert query(path, "SELECT count(*) FROM mailqueue_messages") == [(21,)]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


KILLED = """
import os, sys
from mailqueue import Outbox
from tests.client.parts import RAW
with Outbox(sys.argv[1]) as outbox:
    print(outbox.enqueue(RAW).id, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_a_receipt_is_a_promise(url: str) -> None:
    """A process that is killed right after it got the receipt leaves the message behind."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, url],
        check=False,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
        timeout=60,
    )
    assert killed.returncode == -9
    assert query(url, "SELECT id FROM mailqueue_messages") == [(int(killed.stdout),)]
