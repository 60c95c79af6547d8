"""Several daemons and producers on one PostgreSQL, which is killed, cut off and replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mailqueue import Outbox
from mailqueue.clock import SystemClock
from mailqueue.testing import Ledger, ScriptedRelay
from tests.support.cutting import CuttingProxy
from tests.support.postgres import PostgresServer
from tests.support.settings import Settings, leading_to, write_settings
from tests.support.standby import Standby
from tests.support.waiting import until
from tests.torture import daemon, sender
from tests.torture.accounts import settle_accounts
from tests.torture.audit import Audit
from tests.torture.life import Life
from tests.torture.mischief import behave, misbehave

DAEMONS = 3
PRODUCERS = 2
LEASE = 2.0
_PATIENCE = 60.0
_LIVE = "SELECT count(*) FROM mailqueue_recipients WHERE due_at IS NOT NULL"
_AT_WORK = "SELECT count(*) FROM mailqueue_workers WHERE pid = :pid"
_TRIED_SINCE = "SELECT count(*) FROM mailqueue_attempts WHERE started_at > :now"
_TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_PACE: Settings = {
    "daemon": {"poll": 0.1, "poll_max": 0.3, "heartbeat": 0.4, "lease": LEASE, "drain": 5.0},
    "backoff": {"initial": 0.1, "factor": 1.5, "maximum": 0.4, "give_up": 3600.0},
}
_RELAY: Settings = {
    "connections": 12,
    "messages_per_session": 4,
    "idle_seconds": 1.0,
    "breaker": {"initial": 0.1, "maximum": 0.3},
}


class Cluster:
    """One queue and all who work on it, from the first mail to the audit; by ``seed``.

    Everybody reaches the server through ``proxy``. ``resumed`` has, for each time that the server
    was away, the seconds from its return until an attempt was on record that had begun since.
    """

    def __init__(self, directory: Path, server: PostgresServer, seed: str) -> None:
        self.happened: Counter[str] = Counter()
        self.resumed: list[float] = []
        self.server = server
        self.proxy = CuttingProxy(server.url)
        self.relay = ScriptedRelay(ledger=Ledger(keep_content=False))
        self._url = server.url
        self._seed = seed
        self._directory = directory
        self._log = directory / "log"
        self._daemons: list[Life] = []
        self._producers: dict[int, Life] = {}

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._create)
        misbehave(self.relay.script, Random(f"{self._seed}-relay"))
        await self.relay.start()
        self.proxy.__enter__()
        write_settings(self._config, self._settings())
        self._daemons = [self._daemon() for _ in range(DAEMONS)]
        for number in range(PRODUCERS):
            self._produce(number)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for life in (*self._daemons, *self._producers.values()):
            await life.kill()
        self.proxy.__exit__(None, None, None)
        await self.relay.stop()
        if error is not None and self._log.exists():
            error.add_note(f"the end of the log:\n{self._log.read_text()[-6000:]}")

    async def sent(self, more: int) -> None:
        """Return once the relay has taken so many more."""
        enough = len(self.relay.ledger.accepted) + more
        await until(
            lambda: len(self.relay.ledger.accepted) >= enough, what=self._end, timeout=_PATIENCE
        )

    async def kill_server(self) -> None:
        """Kill every process of the server, and begin it again on what is on its disk."""
        self.happened["server kills"] += 1
        self.server.kill()
        await asyncio.to_thread(self.server.restart)
        await self._resume()

    async def shut_server_down(self) -> None:
        """Let the server end in order, which ends every session, and begin again."""
        self.happened["server restarts"] += 1
        await asyncio.to_thread(self.server.shut_down)
        await asyncio.to_thread(self.server.restart)
        await self._resume()

    async def fail_over(self) -> None:
        """Let a standby take over from a server that is killed."""
        self.happened["failovers"] += 1
        self._standby = Standby(self.server)
        await asyncio.to_thread(self._standby.__enter__)
        await self.sent(10)
        self.server.kill()
        await asyncio.to_thread(self._standby.promote)
        self._url = self._standby.url
        await asyncio.to_thread(self.proxy.lead_to, self._url)
        await self._resume()

    async def cut_commits(self, chance: Random) -> None:
        """Cut some of the next commits, before or after they reach the server."""
        ways = [chance.choice(("before", "after")) for _ in range(chance.randint(1, 6))]
        before = self.proxy.counts.total()
        self.proxy.cut_at_commit(*ways, after=chance.randint(0, 20))  # type: ignore[arg-type]
        await until(lambda: self.proxy.counts.total() >= before + len(ways), timeout=_PATIENCE)
        self.happened["commits cut"] += len(ways)

    async def cut_everything(self) -> None:
        """Cut every connection as it stands."""
        self.happened["cuts of all connections"] += 1
        await asyncio.to_thread(self.proxy.cut_all)
        await self.sent(1)

    async def terminate(self) -> None:
        """Let the server end every session."""
        self.happened["sessions terminated"] += 1
        await asyncio.to_thread(self._ask, _TERMINATE)
        await self.sent(1)

    async def stall_daemon(self, chance: Random, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Stop a daemon until its leases are past, and let it go on; ``meanwhile`` happens too."""
        self.happened["daemons stopped past their lease"] += 1
        stalled = chance.choice(self._daemons)
        await self._at_work(stalled)
        assert stalled.pid is not None
        os.kill(stalled.pid, signal.SIGSTOP)
        began = time.monotonic()
        try:
            await meanwhile()
            await asyncio.sleep(max(0.0, LEASE + 1.0 - (time.monotonic() - began)))
        finally:
            os.kill(stalled.pid, signal.SIGCONT)
        await self.sent(1)

    async def kill_daemon(self, chance: Random) -> None:
        """Kill a daemon, and start another one."""
        self.happened["daemon kills"] += 1
        number = chance.randrange(len(self._daemons))
        await self._end_meant(self._daemons[number])
        self._daemons[number] = self._daemon()
        await self.sent(1)

    async def kill_producer(self, chance: Random) -> None:
        """Kill a producer, and start one that goes on where it was."""
        self.happened["producer kills"] += 1
        number = chance.randrange(PRODUCERS)
        await self._end_meant(self._producers[number])
        self._produce(number)

    async def settle(self) -> tuple[Audit, sender.Notes]:
        """Let everything be in order at last: all is sent, the daemons stop, and the books agree.

        Raises AssertionError where they do not.
        """
        for life in self._producers.values():
            await self._end_meant(life)
        behave(self.relay.script)
        await until(self._is_settled, what=self._end, timeout=_PATIENCE)
        for life in self._daemons:
            assert not life.is_over, f"a daemon has ended by itself:\n{self._end()}"
            status = await life.stop(30)
            assert status == os.EX_OK, f"a daemon ended with the status {status}:\n{self._end()}"
        self._check_log()
        notes = sender.Notes.of(map(self._notes, range(PRODUCERS)))
        audit = await asyncio.to_thread(settle_accounts, self._url, notes, self.relay.ledger)
        return audit, notes

    def close_standby(self) -> None:
        """Remove the server that took over, if one did."""
        if "failovers" in self.happened:
            self._standby.__exit__(None, None, None)

    def _create(self) -> None:
        with Outbox(self._url) as outbox:
            outbox.create()

    async def _resume(self) -> None:
        began, now = time.monotonic(), SystemClock().now()
        await until(
            lambda: bool(self._ask(_TRIED_SINCE, now=now)), what=self._end, timeout=_PATIENCE
        )
        self.resumed.append(time.monotonic() - began)

    def _daemon(self) -> Life:
        return Life(daemon.serve, self._config, self._log, "")

    def _produce(self, number: int) -> None:
        self._producers[number] = Life(
            sender.produce, self.proxy.url, self._notes(number), self._log, number, PRODUCERS
        )

    async def _end_meant(self, life: Life) -> None:
        status = await life.kill()
        assert status == -signal.SIGKILL, f"a process ended by itself with {status}:\n{self._end()}"

    async def _at_work(self, life: Life) -> None:
        await until(lambda: life.is_over or self._works(life), what=self._end, timeout=_PATIENCE)
        assert not life.is_over, f"a daemon has ended by itself:\n{self._end()}"

    def _works(self, life: Life) -> bool:
        return bool(self._ask(_AT_WORK, pid=life.pid))

    def _is_settled(self) -> bool:
        return self._ask(_LIVE) == 0 and all(map(self._works, self._daemons))

    def _ask(self, sql: str, **values: Any) -> Any:
        engine = create_engine(self._url, poolclass=NullPool)
        try:
            with engine.connect() as connection:
                return connection.execute(text(sql), values).scalar()
        except SQLAlchemyError:
            return None

    def _check_log(self) -> None:
        log = self._log.read_text()
        for line in log.splitlines():
            assert "; it goes on" not in line, line
        at = log.find("Traceback")
        assert at < 0, log[at : at + 6000]

    def _end(self) -> str:
        return self._log.read_text()[-4000:] if self._log.exists() else "no log"

    def _notes(self, number: int) -> Path:
        return self._directory / f"notes-{number}"

    @property
    def _config(self) -> Path:
        return self._directory / "config.toml"

    def _settings(self) -> Settings:
        relay = leading_to(self.relay, **_RELAY)
        return {"database": {"url": self.proxy.url}, "relays": {"main": relay}, **_PACE}
