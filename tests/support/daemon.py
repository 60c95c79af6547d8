"""The real daemon for tests: in the loop of the test, or as a process with signals of its own.

Wherever it runs it works on a real outbox file, and what a test asks of that file it asks in
plain SQL, as a person with a shell would.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import mailqueue.events as happened
from mailqueue.assembly import assemble
from mailqueue.clock import Clock, SystemClock, microseconds
from mailqueue.config import Config, Loaded
from mailqueue.mail.content import freeze
from mailqueue.mail.envelope import Envelope
from mailqueue.outbox import schema
from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.enqueue import Draft, Options, enqueue
from mailqueue.testing import ScriptedRelay

E = TypeVar("E")

SENDER = "sender@example.org"
BODY = b"Subject: hello\r\n\r\nhello\r\n"
ROOT = Path(__file__).parents[2]

Settings = dict[str, Any]
"""A configuration, or a part of it, as it would stand in TOML."""

_QUICK: Settings = {
    "daemon": {"poll": 0.1, "poll_max": 0.25, "drain": 10},
    "limits": {"free_disk": 0},
}


class PassingClock(SystemClock):
    """The machine's time, and what a test lets pass at once. Chance is 0, so backoffs are exact."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> int:
        """Return the wall time with what has been let pass."""
        return super().now() + microseconds(self._ahead)

    def monotonic(self) -> float:
        """Return monotonic seconds with what has been let pass."""
        return super().monotonic() + self._ahead

    def random(self) -> float:
        """Return the same chance each time."""
        return 0.0

    def let_pass(self, seconds: float) -> None:
        """Move both scales on."""
        self._ahead += seconds


class OutboxFile:
    """An outbox in a file, filled as producers fill it and read by plain SQL."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self.path = path
        self.url = f"sqlite:///{path}"
        self._numbers = itertools.count(1)
        self._engine = write_engine(self.url)
        if is_new:
            schema.create(self._engine)
        self._reader = sqlite3.connect(path, isolation_level=None)
        self._reader.row_factory = sqlite3.Row

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
        self._engine.dispose()

    def draft(
        self, *addresses: str, raw: bytes = BODY, sender: str = SENDER, **options: Any
    ) -> Draft:
        """Return a message for ``addresses`` with a Message-ID of its own."""
        message_id = f"<{next(self._numbers)}@example.org>"
        content, digest = freeze(
            raw, make_message_id=lambda: message_id, date="Mon, 1 Jan 2024 00:00:00 +0000"
        )
        return Draft(Envelope(sender, addresses), content, digest, Options(**options))

    def put(self, *addresses: str, now: int | None = None, **message: Any) -> int:
        """Store one message (see `draft`) and ring; returns its number."""
        return self.put_all([self.draft(*addresses, **message)], now=now)[0]

    def put_all(self, drafts: Sequence[Draft], *, now: int | None = None) -> list[int]:
        """Store ``drafts`` in one transaction and ring; returns their numbers."""
        with self._engine.begin() as connection:
            ring_after_commit(connection)
            receipts = enqueue(connection, drafts, now=now or SystemClock().now())
        return [receipt.id for receipt in receipts]

    def query(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows that ``sql`` finds."""
        return self._reader.execute(sql, values).fetchall()

    def value(self, sql: str, *values: Any) -> Any:
        """Return the only column of the only row."""
        ((value,),) = self.query(sql, *values)
        return value

    def execute(self, sql: str, *values: Any) -> None:
        """Change something as a person with a shell would: without our engine, and unannounced."""
        with contextlib.closing(sqlite3.connect(self.path, timeout=10)) as shell, shell:
            shell.execute(sql, values)

    def states(self) -> Counter[str]:
        """Return how many recipients are in each state."""
        rows = self.query(
            "SELECT state, count(*) AS count FROM mailqueue_recipients GROUP BY state"
        )
        return Counter({row["state"]: row["count"] for row in rows})

    def recipient(self, address: str) -> sqlite3.Row:
        """Return the row of the only recipient of this address."""
        (row,) = self.query("SELECT * FROM mailqueue_recipients WHERE address = ?", address)
        return row

    def state(self, address: str) -> str:
        """Return the state of the only recipient of this address."""
        return str(self.recipient(address)["state"])

    def attempts(self, address: str = "%") -> list[sqlite3.Row]:
        """Return the attempts for recipients whose address is like this, in their order."""
        return self.query(
            "SELECT a.*, r.address FROM mailqueue_attempts a"
            " JOIN mailqueue_recipients r ON r.id = a.recipient_id"
            " WHERE r.address LIKE ? ORDER BY a.id",
            address,
        )

    def attempt(self, address: str) -> sqlite3.Row:
        """Return the only attempt for this address."""
        (row,) = self.attempts(address)
        return row

    def relay(self, name: str = "main") -> sqlite3.Row:
        """Return what SQL sees of a relay."""
        (row,) = self.query("SELECT * FROM mailqueue_relays WHERE name = ?", name)
        return row

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from writing for a while, as a forgotten shell does."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield


def leading_to(relay: ScriptedRelay, **keys: Any) -> Settings:
    """Return the settings of a relay that lead to this one, without TLS unless ``keys`` say so."""
    return {"host": relay.host, "port": relay.port, "tls": "none"} | keys


def settings_for(outbox: OutboxFile, relays: Mapping[str, Settings], **sections: Any) -> Settings:
    """Return a whole configuration; ``sections`` go over what makes a daemon of tests quick."""
    names = {*_QUICK, *sections}
    merged = {name: _QUICK.get(name, {}) | sections.get(name, {}) for name in names}
    database = {"url": outbox.url} | merged.pop("database", {})
    return {"database": database, "relays": dict(relays), **merged}


async def until(
    condition: Callable[[], bool], *, what: Callable[[], object] = str, timeout: float = 15.0
) -> None:
    """Return once ``condition`` holds; it is asked again whenever the loop had some turns.

    Raises TimeoutError with what ``what`` returns.
    """
    try:
        async with asyncio.timeout(timeout):
            while not condition():  # noqa: ASYNC110 - a file does not tell when it has changed
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise TimeoutError(f"not within {timeout} s: {what()}") from None


class Daemon:
    """A daemon in the loop of the test. ``events`` holds all that it has told so far."""

    def __init__(
        self,
        outbox: OutboxFile,
        settings: Settings,
        *,
        clock: Clock | None = None,
        reload: Callable[[], Loaded] | None = None,
    ) -> None:
        self.outbox = outbox
        self.clock = clock or SystemClock()
        self.events: list[happened.Event] = []
        self.supervisor = assemble(
            loaded(settings), reload=reload, clock=self.clock, emit=self.events.append
        )
        self.parts = self.supervisor.parts
        self._running = asyncio.create_task(self.supervisor.run())

    async def started(self) -> None:
        """Return once it takes mail; raises what kept it from starting."""
        starting = asyncio.create_task(self.supervisor.started.wait())
        try:
            await asyncio.wait([starting, self._running], return_when=asyncio.FIRST_COMPLETED)
            if self._running.done():
                await self._running
        finally:
            starting.cancel()

    async def stop(self, reason: str = "the test is over") -> None:
        """End it in order, and raise what it ended with."""
        self.supervisor.stop(reason)
        await self._running

    async def let_pass(self, seconds: float) -> None:
        """Let so much time pass on a `PassingClock`, and everybody look at the clock."""
        assert isinstance(self.clock, PassingClock)
        self.clock.let_pass(seconds)
        for part in (self.parts.keeper, self.parts.janitor, self.parts.dispatcher):
            part.wake.ring()

    async def rounds(self, count: int = 2) -> None:
        """Return once the dispatcher has looked at everything so often again."""
        for _ in range(count):
            last = self.parts.dispatcher.last_round
            self.parts.dispatcher.wake.ring()
            await self.until(lambda last=last: self.parts.dispatcher.last_round > last)  # type: ignore[misc]

    async def until(self, condition: Callable[[], bool], *, timeout: float = 15.0) -> None:
        """Return once ``condition`` holds; otherwise say how the outbox stands."""
        await until(condition, what=self._situation, timeout=timeout)

    async def until_states(self, *, timeout: float = 15.0, **states: int) -> None:
        """Return once the recipients are in these states, as ``sent=3, failed=1``, and no other."""
        await self.until(lambda: self.outbox.states() == Counter(states), timeout=timeout)

    async def until_told(self, kind: type[E], count: int = 1, *, timeout: float = 15.0) -> list[E]:
        """Return the events of this kind once there are ``count``."""
        await self.until(lambda: len(self.told(kind)) >= count, timeout=timeout)
        return self.told(kind)

    def told(self, kind: type[E]) -> list[E]:
        """Return the events of this kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def _situation(self) -> str:
        last = "\n".join(map(repr, self.events[-10:]))
        return f"{dict(self.outbox.states())}; the last events:\n{last}"


@contextlib.asynccontextmanager
async def running(
    outbox: OutboxFile,
    relays: Mapping[str, Settings],
    *,
    clock: Clock | None = None,
    reload: Callable[[], Loaded] | None = None,
    **sections: Any,
) -> AsyncIterator[Daemon]:
    """Run a daemon in this loop; at the end none of its parts may have failed."""
    settings = settings_for(outbox, relays, **sections)
    daemon = Daemon(outbox, settings, clock=clock, reload=reload)
    try:
        await daemon.started()
        yield daemon
    finally:
        await daemon.stop()
    assert not daemon.told(happened.PartFailed), daemon.told(happened.PartFailed)


def loaded(settings: Settings) -> Loaded:
    """Return checked settings as a file would give them."""
    return Loaded(Config.model_validate(settings), "a test")


class Notifications:
    """Stands where a service manager listens (sd_notify(3)); ``heard`` keeps every message."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        # Not in the test's own directory, whose path may be longer than a socket's address.
        self._directory = tempfile.TemporaryDirectory(prefix="notify")
        self.address = f"{self._directory.name}/socket"

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(self.address)
        asyncio.get_running_loop().add_reader(self._socket, self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._directory.cleanup()

    async def until_heard(self, text: str, count: int = 1, *, timeout: float = 20.0) -> None:
        """Return once ``text`` has come at the beginning of ``count`` messages."""
        await until(lambda: self.count(text) >= count, what=self.heard.__repr__, timeout=timeout)

    def count(self, text: str) -> int:
        """Return how many messages began with ``text``."""
        return sum(message.startswith(text) for message in self.heard)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self.heard.append(self._socket.recv(4096).decode())


class DaemonProcess:
    """``mailqueue run`` in a process of its own, told what to do by real signals."""

    def __init__(self, directory: Path, settings: Settings, *, name: str = "daemon") -> None:
        self.config = directory / f"{name}.toml"
        self.log = directory / f"{name}.log"
        self.notifications = Notifications()
        self.configure(settings)

    def configure(self, settings: Settings) -> None:
        """Write the configuration that it reads at its start and at each SIGHUP."""
        write_settings(self.config, settings)

    async def __aenter__(self) -> Self:
        self.notifications.__enter__()
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "mailqueue", "run", "--config", str(self.config)),
                stderr=log,
                cwd=self.config.parent,
                env=self._environment(),
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        self.notifications.__exit__()

    async def started(self) -> None:
        """Return once it takes mail."""
        await self.notifications.until_heard("READY=1")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, *, timeout: float = 20.0) -> int:
        """Return its exit status once it has ended."""
        async with asyncio.timeout(timeout):
            return await self._process.wait()

    async def logged(self, text: str) -> None:
        """Return once ``text`` stands in its log."""
        await until(lambda: text in self.log.read_text(), what=self.log.read_text)

    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key.startswith(("P", "L"))}
        path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
        return inherited | {"PYTHONPATH": path, "NOTIFY_SOCKET": self.notifications.address}


@contextlib.asynccontextmanager
async def process(
    outbox: OutboxFile, relays: Mapping[str, Settings], *, name: str = "daemon", **sections: Any
) -> AsyncIterator[DaemonProcess]:
    """Run a daemon in a process of its own, and kill it at the end if it is still there."""
    settings = settings_for(outbox, relays, **sections)
    async with DaemonProcess(outbox.path.parent, settings, name=name) as daemon:
        await daemon.started()
        yield daemon


def write_settings(path: Path, settings: Settings) -> None:
    """Write a configuration file that nobody else may read."""
    path.write_text("\n".join(_toml(settings)))
    path.chmod(0o600)


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Write a table, those inside of it after its own keys."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path:
        yield f"[{'.'.join(path)}]"
    for key in table.keys() - inner.keys():
        yield f"{key} = {_toml_value(table[key])}"
    for key, value in inner.items():
        yield from _toml(value, (*path, key))


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value) if isinstance(value, int | float) else f'"{value}"'
