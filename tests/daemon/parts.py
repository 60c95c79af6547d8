"""What the daemon's tests are made of: an outbox that can be locked, and one that counts."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import mailqueue.events as happened
from mailqueue.config import Config
from mailqueue.daemon.database import Database
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.envelope import Content
from mailqueue.mail.schedule import History
from mailqueue.outbox.lease import Lease, LeasedMessage
from mailqueue.outbox.recipe import sqlite_driver
from mailqueue.testing import ScriptedRelay
from tests.support.rows import CONTENT, NOW

E = TypeVar("E")

PATIENCE = 10.0
"""Seconds until a test that waits has failed."""


class Told(list[happened.Event]):
    """All events in their order; `append` is the daemon's `emit`."""

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of this kind."""
        return [one for one in self if isinstance(one, kind)]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the write lock of the outbox, as a shell with an open transaction does."""
    shell = sqlite3.connect(path, isolation_level=None)
    try:
        shell.execute("BEGIN IMMEDIATE")
        yield
    finally:
        shell.close()


@contextlib.contextmanager
def commits(database: Database) -> Iterator[list[None]]:
    """Collect one entry for each transaction that is committed meanwhile."""
    seen: list[None] = []

    def note(statement: str) -> None:
        if statement == "COMMIT":
            seen.append(None)

    assert database._kept is not None
    with database._kept.between() as connection:
        driver = sqlite_driver(connection)
    assert driver is not None
    driver.set_trace_callback(note)
    try:
        yield seen
    finally:
        driver.set_trace_callback(None)


async def until(condition: Callable[[], object]) -> None:
    """Return once ``condition`` holds; threads of the database give no sign of their own."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for may happen in a thread
            await asyncio.sleep(0.002)


async def turns(count: int = 20) -> None:
    """Let whatever could go on do so."""
    for _ in range(count):
        await asyncio.sleep(0)


def rows(path: Path, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a person with a shell sees."""
    with contextlib.closing(sqlite3.connect(path)) as shell:
        return shell.execute(sql, values).fetchall()


def states(path: Path) -> list[str]:
    """Return the states of all recipients, in the order of their ids."""
    return [row[0] for row in rows(path, "SELECT state FROM mailqueue_recipients ORDER BY id")]


def message_for(
    *addresses: str, on_doubt: OnDoubt = OnDoubt.RETRY, raw: bytes = CONTENT, number: int = 1
) -> LeasedMessage:
    """Return a leased message; the recipients have the ids 1, 2, 3 in their order."""
    leases = tuple(
        Lease(position, address, 1, History(NOW, 0))
        for position, address in enumerate(addresses, start=1)
    )
    content = Content(raw, f"<{number}@example.org>")
    return LeasedMessage(number, "sender@example.org", content, on_doubt, "main", NOW, leases)


def config_for(relays: dict[str, dict[str, Any]], **sections: Any) -> Config:
    """Return a checked configuration."""
    return Config.model_validate({"relays": relays, **sections})


def leading_to(relay: ScriptedRelay, **keys: Any) -> dict[str, Any]:
    """Return the settings of a relay without TLS that lead to this one."""
    return {"host": relay.host, "port": relay.port, "tls": "none"} | keys


async def all_of(waiting: Sequence[asyncio.Task[E]]) -> list[E]:
    """Return what each task returned."""
    async with asyncio.timeout(PATIENCE):
        return list(await asyncio.gather(*waiting))
