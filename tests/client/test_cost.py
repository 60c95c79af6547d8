"""What an enqueue costs in statements and commits, so that it cannot come to cost more unseen."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from mailqueue import AsyncOutbox, Outbox
from mailqueue.clock import FakeClock
from tests.client.parts import RAW, make_message


@dataclass
class Cost:
    """What SQLite was told to do on one engine; one INSERT of many rows counts once."""

    statements: list[str] = field(default_factory=list)
    commits: int = 0

    def of(self, engine: Engine) -> None:
        """Count from now on."""

        def execute(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
            self.statements.append(statement)

        def commit(_connection: Any) -> None:
            self.commits += 1

        event.listen(engine, "before_cursor_execute", execute)
        event.listen(engine, "commit", commit)

    def verbs(self) -> list[str]:
        """Return the statements, each by its first word and its table."""
        return [
            statement.partition(" (")[0].replace("INSERT INTO mailqueue_", "+")
            for statement in self.statements
        ]


@pytest.mark.parametrize("message", [RAW, make_message()])
def test_one_message(url: str, message: Any) -> None:
    """A message is three rows and one commit, and nothing else is asked or written."""
    cost = Cost()
    with Outbox(url) as outbox:
        outbox.enqueue(message)
        cost.of(outbox._access.write)
        outbox.enqueue(message)
    assert cost.verbs() == ["BEGIN IMMEDIATE", "+messages", "+contents", "+recipients"]
    assert cost.commits == 1


def test_a_key_costs_one_look(url: str) -> None:
    """Only an idempotency key is looked for, and a known one writes nothing."""
    cost = Cost()
    with Outbox(url) as outbox:
        outbox.enqueue(RAW, idempotency_key="k")
        cost.of(outbox._access.write)
        assert outbox.enqueue(RAW, idempotency_key="k").duplicate
    assert [verb.partition(" ")[0] for verb in cost.verbs()] == ["BEGIN", "SELECT"]


def test_a_hundred_messages(url: str) -> None:
    """However many messages a list has, it is one commit and one statement more than for one."""
    cost = Cost()
    with Outbox(url) as outbox:
        outbox.enqueue(RAW)
        cost.of(outbox._access.write)
        assert len(outbox.enqueue_many([RAW] * 100)) == 100
    assert cost.verbs() == [
        "BEGIN IMMEDIATE",
        "+messages",
        "+messages",
        "+contents",
        "+recipients",
    ]
    assert cost.commits == 1


async def test_fifty_at_once(url: str) -> None:
    """The first of fifty concurrent calls is committed at once, all others together."""
    cost = Cost()
    async with AsyncOutbox(url) as outbox:
        await outbox.enqueue(RAW)
        assert isinstance(outbox._access.write, Engine)
        cost.of(outbox._access.write)
        receipts = await asyncio.gather(*(outbox.enqueue(RAW) for _ in range(50)))
    assert len({receipt.id for receipt in receipts}) == 50
    assert cost.commits == 2
    assert len(cost.statements) == 4 + 5


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
