"""One outbox from its first mail to the audit, and the processes that die on it meanwhile."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

import trustme

from mailqueue.failpoint import FailPointReached
from mailqueue.testing import Ledger, ScriptedRelay
from tests.support.daemon import OutboxFile, Settings, leading_to, settings_for, until
from tests.support.daemon import write_settings as write
from tests.torture import daemon, producer
from tests.torture.audit import Audit, audit
from tests.torture.life import Life
from tests.torture.mischief import behave, misbehave

USERS = {"user": "secret"}
_LIVE = "SELECT count(*) FROM mailqueue_recipients WHERE due_at IS NOT NULL"
_AT_WORK = "SELECT count(*) FROM mailqueue_workers WHERE pid = ?"
_PACE: Settings = {
    "daemon": {"poll": 0.05, "poll_max": 0.2, "heartbeat": 0.3, "lease": 2.0, "drain": 5.0},
    "backoff": {"initial": 0.1, "factor": 1.5, "maximum": 0.4, "give_up": 3600.0},
    "retention": {"contents": 0.0},
}
_ENDS = {"": (), "kill": (), "exit": (70,), "raise": (70, 1)}
"""The exit statuses, besides that of SIGKILL, that each action of a fail point may lead to."""
_RELAY: Settings = {
    "connections": 3,
    "messages_per_session": 4,
    "idle_seconds": 1.0,
    "breaker": {"initial": 0.1, "maximum": 0.3},
}


class Ordeal:
    """Daemons and a producer on one outbox, and a relay that misbehaves; by ``seed``."""

    def __init__(self, directory: Path, seed: str) -> None:
        self.kills = 0
        self._seed = seed
        self.outbox = OutboxFile(directory / "outbox.db")
        self.relay = ScriptedRelay(
            tls=_certified(directory), users=USERS, ledger=Ledger(keep_content=False)
        )
        self._config = directory / "config.toml"
        self._log = directory / "log"
        self._acknowledged = directory / "acknowledged"
        self._lives: dict[Life, tuple[int, ...]] = {}
        self._producer: Life | None = None

    async def __aenter__(self) -> Self:
        misbehave(self.relay.script, Random(f"{self._seed}-relay"))
        await self.relay.start()
        write(self._config, self._settings())
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        for life in self._lives:
            await life.kill()
        await self.relay.stop()
        self.outbox.close()
        if error is not None and self._log.exists():
            error.add_note(f"the end of the log:\n{self._log.read_text()[-4000:]}")

    async def produce(self, armed: str = "") -> Life:
        """See that somebody enqueues; ``armed``: somebody new, with this fail point."""
        if self._producer is not None and (armed or self._producer.is_over):
            await self.end(self._producer)
            self._producer = None
        if self._producer is None:
            args = self.outbox.path, self._acknowledged, self._log
            self._producer = self._begin(Life(producer.produce, *args, armed), armed)
        return self._producer

    async def at_work(self, life: Life) -> None:
        """Return once a daemon has taken up its work, or has ended before."""
        await until(lambda: life.is_over or self._works(life), timeout=60)

    def send(self, armed: str = "") -> Life:
        """Start a daemon."""
        return self._begin(Life(daemon.serve, self._config, self._log, armed), armed)

    async def end(self, life: Life) -> None:
        """Kill a process unless it has ended, and count it."""
        self.ended(life, await life.kill())

    def ended(self, life: Life, status: int) -> None:
        """Count, once, the end of a process that nobody told to stop: it must have been meant."""
        if life not in self._lives:
            return
        meant = (-signal.SIGKILL, *self._lives.pop(life))
        assert status in meant, f"a process ended by itself, with the status {status}"
        self.kills += 1

    async def recover(self) -> Audit:
        """Let everything be in order at last: all is sent, the daemon stops, and the books agree.

        Raises AssertionError where they do not.
        """
        if self._producer is not None:
            await self.end(self._producer)
        behave(self.relay.script)
        last = self.send()
        await until(
            lambda: self._is_settled(last) or last.is_over,
            what=lambda: dict(self.outbox.states()),
            timeout=60,
        )
        del self._lives[last]
        status = await last.stop(30)
        assert status == 0, f"a daemon told to stop ended with the status {status}"
        self._check_log()
        acknowledged = producer.acknowledgements(self._acknowledged)
        return audit(self.outbox, acknowledged, self.relay.ledger)

    def _begin(self, life: Life, armed: str) -> Life:
        self._lives[life] = _ENDS[armed.rpartition(":")[2]]
        return life

    def _is_settled(self, last: Life) -> bool:
        # A daemon that is stopped before it has begun leaves the dead to the next one.
        is_alone = self.outbox.value("SELECT count(*) FROM mailqueue_workers") == 1
        return self._works(last) and is_alone and self.outbox.value(_LIVE) == 0

    def _works(self, life: Life) -> bool:
        return bool(self.outbox.value(_AT_WORK, life.pid))

    def _check_log(self) -> None:
        """See that no daemon met an error which was not armed."""
        for line in self._log.read_text().splitlines():
            assert "unexpected" not in line or FailPointReached.__name__ in line, line

    def _settings(self) -> Settings:
        ((user, password),) = USERS.items()
        relay = leading_to(
            self.relay,
            **_RELAY,
            tls="starttls",
            ca_file=str(self._config.with_name("ca.pem")),
            username=user,
            password=password,
        )
        return settings_for(self.outbox, {"main": relay}, **_PACE)


def _certified(directory: Path) -> ssl.SSLContext:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
