"""Waiting for something to come about, with the progress shown meanwhile and an end to patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from mailqueue.cli.demo.daemon import Daemon
from mailqueue.cli.demo.progress import Progress
from mailqueue.cli.demo.records import Look, look
from mailqueue.cli.demo.relays import Relays
from mailqueue.clock import Clock
from mailqueue.errors import OutboxBusyError
from mailqueue.outbox.engine import async_read_engine, async_write_engine
from mailqueue.outbox.faults import translating

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds; where nothing is wrong, all that is awaited comes about in a tenth of it."""
_BETWEEN_LOOKS = 0.05
_SHORT = 0.2
_LAST_LINES = 12


class StuckError(Exception):
    """What must come about did not; the text says what, and how things stood."""


class Lookout:
    """Looks at the outbox and at the relays again and again.

    ``daemons`` are those that are meant to be alive.
    """

    def __init__(self, url: str, relays: Relays, *, progress: Progress, clock: Clock) -> None:
        self.daemons: list[Daemon] = []
        self._url = url
        self._engine = async_read_engine(url)
        self._relays = relays
        self.progress = progress
        self._clock = clock

    async def read(self, query: Callable[[Connection], T]) -> T:
        """Return what ``query`` reads from the outbox."""
        async with self._engine.connect() as connection:
            return await connection.run_sync(query)

    async def can_write(self) -> bool:
        """Whether a transaction that writes could begin at this moment."""
        engine = async_write_engine(self._url, busy_timeout=_SHORT)
        try:
            with translating(self._url):
                async with engine.begin():
                    return True
        except OutboxBusyError:
            return False
        finally:
            await engine.dispose()

    async def until(self, what: str, is_so: Callable[[Look], bool]) -> Look:
        """Return the first look for which ``is_so``; ``what`` says it in words.

        Raises `StuckError` after `PATIENCE` seconds, or when a daemon dies.
        """
        deadline = self._clock.monotonic() + PATIENCE
        while True:
            found = await self.read(look)
            self.progress.show(found, self._relays)
            if is_so(found):
                return found
            self._check_alive(what)
            if self._clock.monotonic() > deadline:
                raise StuckError(self._complaint(what, found))
            # The outbox is in another process's hands: there is nothing to be woken by.
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def close(self) -> None:
        """Close the connections."""
        await self._engine.dispose()

    def _check_alive(self, what: str) -> None:
        for daemon in self.daemons:
            if daemon.status is not None:
                raise StuckError(
                    f"daemon {daemon.name} ended with status {daemon.status} while this was "
                    f"awaited: {what}\n{_tail(daemon)}"
                )

    def _complaint(self, what: str, found: Look) -> str:
        waiting = [one for one in found.recipients if not one.is_settled]
        lines = [f"{one.address} is {one.state}: {one.last_text or '-'}" for one in waiting]
        ledgers = self._relays.by_name.items()
        lines += [f"relay {name}: {relay.ledger.summary()}" for name, relay in ledgers]
        lines += map(_tail, self.daemons)
        return "\n".join([f"this did not come about within {PATIENCE:.0f} s: {what}", *lines])


def _tail(daemon: Daemon) -> str:
    lines = daemon.lines[-_LAST_LINES:]
    return "\n".join([f"the last lines of daemon {daemon.name}:", *(f"  {line}" for line in lines)])
