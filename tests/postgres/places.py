"""A daemon in the loop of a test, on PostgreSQL, and what its outbox says in plain SQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import create_engine, text

import mailqueue.events as happened
from mailqueue.assembly import assemble
from mailqueue.clock import Clock
from mailqueue.daemon.supervisor import Supervisor
from tests.support.settings import Settings, loaded
from tests.support.waiting import until

RAW = b"From: a@example.org\r\nTo: ann@example.net\r\nSubject: x\r\n\r\nhello\r\n"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    " AND datname = current_database()"
)
"""How many transactions wait for another one's end."""
SLOW = {"poll": 60, "poll_max": 60}
"""So long that nothing is found by polling."""


class Running:
    """A daemon that has started; ``events`` holds all that it has told."""

    def __init__(self, url: str, settings: Settings, clock: Clock | None) -> None:
        self.url = url
        self.events: list[happened.Event] = []
        self.supervisor: Supervisor = assemble(
            loaded(settings), clock=clock, emit=self.events.append
        )
        self.parts = self.supervisor.parts

    async def listening(self) -> None:
        """Return once it hears NOTIFY, and has looked since."""
        listener = self.parts.listener
        assert listener is not None
        await until(lambda: listener.is_listening, what=self._last)
        await self.looked()

    async def looked(self, count: int = 2) -> None:
        """Return once it has looked at everything so often again."""
        dispatcher = self.parts.dispatcher
        for _ in range(count):
            before = dispatcher.last_round
            dispatcher.wake.ring()
            await until(lambda before=before: dispatcher.last_round > before, what=self._last)  # type: ignore[misc]

    def told(self, kind: type[Any]) -> list[Any]:
        """Return the events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def _last(self) -> str:
        return "\n".join(map(repr, self.events[-10:]))


@contextlib.asynccontextmanager
async def running(
    url: str,
    relays: Mapping[str, Settings],
    *,
    clock: Clock | None = None,
    **sections: Any,
) -> AsyncIterator[Running]:
    """Run a daemon in this loop; none of its parts may have failed at the end."""
    settings = {"relays": dict(relays), "daemon": {"drain": 10} | sections.pop("daemon", {})}
    database = {"url": url} | sections.pop("database", {})
    daemon = Running(url, {"database": database, **settings, **sections}, clock)
    alive = asyncio.create_task(daemon.supervisor.run())
    try:
        await until(lambda: daemon.supervisor.started.is_set() or alive.done(), what=daemon._last)
        yield daemon
    finally:
        daemon.supervisor.stop("the test is over")
        await alive
    assert not daemon.told(happened.PartFailed), daemon.told(happened.PartFailed)


def states(url: str) -> Counter[str]:
    """Return how many recipients are in each state."""
    rows = query(url, "SELECT state, count(*) FROM mailqueue_recipients GROUP BY state")
    return Counter({row[0]: row[1] for row in rows})


def query(url: str, sql: str, **values: Any) -> list[Any]:
    """Return the rows that ``sql`` finds, asked on a connection of its own."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            result = connection.execute(text(sql), values)
            return [*result] if result.returns_rows else []
    finally:
        engine.dispose()
