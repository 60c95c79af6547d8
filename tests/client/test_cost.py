"""What an enqueue costs in statements and commits, so that it cannot come to cost more unseen."""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mailqueue import AsyncOutbox, Outbox
from mailqueue.clock import FakeClock
from tests.client.parts import RAW, make_message
from tests.support.kept import kept_driver

pytestmark = pytest.mark.backend("sqlite")


class Cost:
    """What SQLite was told to do by an outbox that is in use; every row is an INSERT."""

    def __init__(self, outbox: Outbox | AsyncOutbox) -> None:
        self._statements: list[str] = []
        kept_driver(outbox).set_trace_callback(self._statements.append)

    def verbs(self) -> list[str]:
        """Return the statements in their order, each by its first word and, for INSERT, table."""
        return [
            re.sub(r"INSERT INTO mailqueue_(\w+).*|(\w+).*", r"\1\2", statement, flags=re.DOTALL)
            for statement in self._statements
        ]


@pytest.mark.parametrize("message", [RAW, make_message()])
def test_one_message(url: str, message: Any) -> None:
    """A message is three rows and one commit, and nothing else is asked or written."""
    with Outbox(url) as outbox:
        outbox.enqueue(message)
        cost = Cost(outbox)
        outbox.enqueue(message)
        assert cost.verbs() == ["BEGIN", "messages", "contents", "recipients", "COMMIT"]


def test_a_key_costs_one_look(url: str) -> None:
    """Only an idempotency key is looked for, and a known one writes nothing."""
    with Outbox(url) as outbox:
        outbox.enqueue(RAW, idempotency_key="k")
        cost = Cost(outbox)
        assert outbox.enqueue(RAW, idempotency_key="k").duplicate
        assert cost.verbs() == ["BEGIN", "SELECT", "COMMIT"]


def test_a_hundred_messages(url: str) -> None:
    """However many messages a list has, it is one commit, and three rows for each."""
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
        cost = Cost(outbox)
        assert len(outbox.enqueue_many([RAW] * 100)) == 100
        verbs = cost.verbs()
    rows = {"messages": 100, "contents": 100, "recipients": 100}
    assert Counter(verbs) == {"BEGIN": 1, "COMMIT": 1, **rows}


@pytest.mark.parametrize("count", [1, 3])
def test_one_flush_for_each_call(url: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is waited for once in each call, and by nobody but us."""
    flushed: list[int] = []
    monkeypatch.setattr("mailqueue.outbox.flush._to_disk", flushed.append)
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
        flushed.clear()
        outbox.enqueue_many([RAW] * count)
        assert len(flushed) == 1
        assert kept_driver(outbox).execute("PRAGMA synchronous").fetchone() == (1,)


async def test_fifty_at_once(url: str) -> None:
    """The first of fifty concurrent calls is committed at once, all others together."""
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
        cost = Cost(outbox)
        receipts = await asyncio.gather(*(outbox.enqueue(RAW) for _ in range(50)))
        verbs = cost.verbs()
    assert len({receipt.id for receipt in receipts}) == 50
    rows = {"messages": 50, "contents": 50, "recipients": 50}
    assert Counter(verbs) == {"BEGIN": 2, "COMMIT": 2, **rows}


def test_disk_and_directory_are_not_read_each_time(
    url: str, path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readings of a moment ago serve: no message asks for the free disk or lists the bells."""
    with Outbox(url, clock=clock) as outbox:
        outbox.enqueue(RAW)
        # A directory that has changed just now may change again and keep its time stamp.
        os.utime(path.parent, (0, 0))
        outbox.enqueue(RAW)
        for name in ("listdir", "statvfs"):
            monkeypatch.setattr(os, name, _refuse)
        for _ in range(20):
            outbox.enqueue(RAW)


def _refuse(*_: Any) -> None:
    raise AssertionError("a system call that no message needs")
