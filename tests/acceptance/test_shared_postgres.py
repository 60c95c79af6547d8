"""Four daemons on PostgreSQL, where only silence tells that one has died."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from mailqueue import Outbox
from mailqueue.outbox.engine import write_engine
from mailqueue.testing import Script, ScriptedRelay
from tests.support.daemon import DaemonProcess, leading_to, until
from tests.support.outbox_file import BODY, SENDER
from tests.support.rates import assert_rate

pytestmark = pytest.mark.slow

LIMIT = 8
TENURE = 3.0
QUICK = {"poll": 0.1, "poll_max": 0.25, "drain": 10, "lease": TENURE, "heartbeat": 0.5}


class Shared:
    """An outbox on PostgreSQL and the daemons on it."""

    def __init__(self, url: str, engine: Engine, directory: Path) -> None:
        self.url = url
        self._engine = engine
        self._directory = directory

    def put(self, count: int) -> None:
        """Store so many messages, each for one recipient."""
        with contextlib.closing(Outbox(self.url)) as outbox:
            addresses = [f"r{number}@example.net" for number in range(count)]
            for one in addresses:
                outbox.enqueue(BODY, sender=SENDER, recipients=[one])

    def values(self, sql: str) -> list[Any]:
        """Return the first column of what ``sql`` finds."""
        with self._engine.connect() as connection:
            return list(connection.scalars(text(sql)))

    @property
    def breaker(self) -> list[str]:
        """How the relay's breaker stands."""
        return self.values("SELECT breaker FROM mailqueue_relays")

    def told(self, text: str) -> int:
        """Return how many daemons have said this."""
        return sum(text in log.read_text() for log in self._directory.glob("daemon-*.log"))

    @property
    def granted(self) -> list[int]:
        """How many connections each may have, the most first."""
        return self.values("SELECT granted FROM mailqueue_shares ORDER BY granted DESC")

    def sent(self) -> int:
        """Return how many recipients are sent."""
        (count,) = self.values("SELECT count(*) FROM mailqueue_recipients WHERE state = 'sent'")
        return int(count)

    @contextlib.asynccontextmanager
    async def daemons(
        self, relay: ScriptedRelay, count: int, **keys: Any
    ) -> AsyncIterator[Sequence[DaemonProcess]]:
        """Run so many daemons, each configured with the whole limit."""
        settings = {
            "database": {"url": self.url},
            "daemon": QUICK,
            "relays": {"main": leading_to(relay, connections=LIMIT, **keys)},
        }
        async with contextlib.AsyncExitStack() as stack:
            found = []
            for number in range(count):
                daemon = DaemonProcess(self._directory, settings, name=f"daemon-{number}")
                await stack.enter_async_context(daemon)
                await daemon.started()
                found.append(daemon)
            yield found

    async def until(self, condition: Callable[[], bool], *, timeout: float = 20.0) -> None:
        """Return once ``condition`` holds."""
        await until(condition, what=lambda: (self.granted, self.sent()), timeout=timeout)


@pytest.fixture
def shared(postgres_url: str, tmp_path: Path) -> Iterator[Shared]:
    """An empty outbox on PostgreSQL."""
    engine = write_engine(postgres_url)
    yield Shared(postgres_url, engine, tmp_path)
    engine.dispose()


async def test_four_daemons_share_and_make_up_for_one_that_is_killed(
    shared: Shared, script: Script, relay: ScriptedRelay
) -> None:
    """Never more than the limit, and after the time of a share nothing of it is missing."""
    script.on(".").delay(0.02)
    async with shared.daemons(relay, 4, messages_per_session=7) as daemons:
        await shared.until(lambda: shared.granted == [2, 2, 2, 2])
        daemons[0].signal(signal.SIGKILL)
        await daemons[0].ended()
        shared.put(300)
        await shared.until(lambda: shared.granted == [3, 3, 2], timeout=TENURE + 5)
        await shared.until(lambda: shared.sent() == 300, timeout=40)
    assert relay.ledger.most_open <= LIMIT
    assert not relay.ledger.duplicates


async def test_one_that_is_stopped_loses_its_share_and_gets_another(
    shared: Shared, script: Script, relay: ScriptedRelay
) -> None:
    """It wakes up, finds its time over by its own clock, and begins nothing on what it had."""
    script.on(".").delay(0.02)
    async with shared.daemons(relay, 2) as (first, _):
        await shared.until(lambda: shared.granted == [4, 4])
        shared.put(40)
        await shared.until(lambda: shared.sent() == 40)
        first.signal(signal.SIGSTOP)
        await shared.until(lambda: shared.granted == [LIMIT], timeout=TENURE + 5)
        shared.put(300)
        first.signal(signal.SIGCONT)
        await shared.until(lambda: shared.sent() == 340, timeout=40)
        await shared.until(lambda: shared.granted == [4, 4])
    assert relay.ledger.most_open <= LIMIT + 4


async def test_the_rate_and_the_breaker_are_those_of_all(
    shared: Shared, script: Script, relay: ScriptedRelay
) -> None:
    """In no stretch of time do four daemons offer more than one may; trouble of one stops all, and
    they go on together.
    """
    breaker = {"initial": "1s", "factor": 1.0, "maximum": "1s"}
    async with shared.daemons(relay, 4, rate="20/s", burst=4, breaker=breaker):
        await shared.until(lambda: shared.granted == [2, 2, 2, 2])
        shared.put(60)
        await shared.until(lambda: shared.sent() >= 60)
        script.on("CONNECT").reply("421 4.3.2 closed for repairs")
        await relay.drop_sessions()
        shared.put(1)
        await shared.until(lambda: shared.breaker == ["open"])
        await shared.until(lambda: shared.told("closed for repairs") == 4)
        before, relay.ledger.most_open = len(relay.ledger.sessions), 0
        await relay.until(lambda: len(relay.ledger.sessions) >= before + 2, timeout=20)
        assert relay.ledger.most_open == 1
        script.clear()
        shared.put(20)
        await shared.until(lambda: shared.sent() == 81, timeout=30)
        await shared.until(lambda: shared.told("resumed after") == 4)
    begun = "SELECT started_at FROM mailqueue_attempts WHERE verdict = 'sent'"
    assert_rate(relay.ledger, 20, burst=4, begun=shared.values(begun))
    assert max(shared.values("SELECT attempts FROM mailqueue_recipients")) == 1
