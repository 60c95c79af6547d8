"""One application that fills the outbox: ``python -m benchmarks.producer KIND URL FIRST MAILS``.

Everything is built beforehand and the outbox is open; then it waits for the word to begin, and
says how long it took and what CPU time it used. Each kind is a function below.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.policy import SMTP

from benchmarks import mails
from benchmarks.bare import Bare
from benchmarks.program import await_go, tell
from mailqueue import AsyncOutbox, Outbox

BATCH = 100
COROUTINES = 50
FILL_BATCH = 1000
PAUSE = 0.1
"""Seconds between the samples of the latency, in which the system falls idle."""


@contextmanager
def timed() -> Iterator[None]:
    """Wait for the word, and tell how long the block took."""
    await_go()
    began, used = time.monotonic(), time.process_time()
    yield
    tell(
        {
            "event": "done",
            "began": began,
            "seconds": time.monotonic() - began,
            "cpu": time.process_time() - used,
        }
    )


def enqueue_bytes(url: str, numbers: range) -> None:
    """`Outbox.enqueue` of bytes that are there already."""
    prepared = [mails.raw(number) for number in numbers]
    with Outbox(url) as outbox:
        outbox.create()
        with timed():
            for raw in prepared:
                outbox.enqueue(raw)


def enqueue_messages(url: str, numbers: range) -> None:
    """`Outbox.enqueue` of an EmailMessage that is built already."""
    prepared = [mails.message(number) for number in numbers]
    with Outbox(url) as outbox:
        outbox.create()
        with timed():
            for message in prepared:
                outbox.enqueue(message)


def render(_url: str, numbers: range) -> None:
    """What the standard library alone needs to turn an EmailMessage into bytes."""
    prepared = [mails.message(number) for number in numbers]
    with timed():
        for message in prepared:
            message.as_bytes(policy=SMTP)


def bare_messages(url: str, numbers: range) -> None:
    """The standard library's rendering of a message and a bare commit, one after the other.

    Rendering by itself runs from warm caches; behind a commit, as an application has it, it costs
    more.
    """
    prepared = [mails.message(number) for number in numbers]
    bare = Bare(url)
    with timed():
        for message in prepared:
            message.as_bytes(policy=SMTP)
            bare.commit()
    bare.close()


def enqueue_many(url: str, numbers: range) -> None:
    """`Outbox.enqueue_many`, 100 at a time."""
    prepared = [mails.raw(number) for number in numbers]
    with Outbox(url) as outbox:
        outbox.create()
        with timed():
            for at in range(0, len(prepared), BATCH):
                outbox.enqueue_many(prepared[at : at + BATCH])


def fill(url: str, numbers: range) -> None:
    """Fill a queue as fast as the API allows, without keeping all of it in memory."""
    with Outbox(url) as outbox, timed():
        for at in range(0, len(numbers), FILL_BATCH):
            outbox.enqueue_many(map(mails.raw, numbers[at : at + FILL_BATCH]))


def enqueue_awaited(url: str, numbers: range) -> None:
    """`AsyncOutbox.enqueue`, one after the other."""
    asyncio.run(_coroutines(url, numbers, 1))


def enqueue_concurrent(url: str, numbers: range) -> None:
    """`AsyncOutbox.enqueue` from 50 coroutines of one loop."""
    asyncio.run(_coroutines(url, numbers, COROUTINES))


async def _coroutines(url: str, numbers: range, coroutines: int) -> None:
    prepared = iter([mails.raw(number) for number in numbers])
    async with AsyncOutbox(url) as outbox:
        await outbox.create()

        async def enqueue_all() -> None:
            for raw in prepared:  # shared: each takes the next
                await outbox.enqueue(raw)

        with timed():
            await asyncio.gather(*(enqueue_all() for _ in range(coroutines)))


def bare_single(url: str, numbers: range) -> None:
    """The same rows by bare `sqlite3`, one mail in a commit."""
    _bare(url, len(numbers), 1)


def bare_bulk(url: str, numbers: range) -> None:
    """The same rows by bare `sqlite3`, 100 mails in a commit."""
    _bare(url, len(numbers), BATCH)


def _bare(url: str, count: int, mails_each: int) -> None:
    bare = Bare(url)
    with timed():
        for _ in range(-(-count // mails_each)):
            bare.commit(mails_each)
    bare.close()


def one_by_one(url: str, numbers: range) -> None:
    """One mail now and then; the moment at which each `enqueue` was called is told."""
    began = {}
    with Outbox(url) as outbox:
        await_go()
        for number in numbers:
            time.sleep(PAUSE)
            raw = mails.raw(number)
            began[mails.recipient(number)] = time.monotonic()
            outbox.enqueue(raw)
    tell({"event": "done", "times": began})


KINDS: dict[str, Callable[[str, range], None]] = {
    kind.__name__.replace("_", "-"): kind
    for kind in (
        enqueue_bytes,
        enqueue_messages,
        render,
        bare_messages,
        enqueue_many,
        fill,
        enqueue_awaited,
        enqueue_concurrent,
        bare_single,
        bare_bulk,
        one_by_one,
    )
}


def main() -> None:
    """Run one kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("url")
    parser.add_argument("first", type=int)
    parser.add_argument("mails", type=int)
    chosen = parser.parse_args()
    KINDS[chosen.kind](chosen.url, range(chosen.first, chosen.first + chosen.mails))


if __name__ == "__main__":
    main()
