"""The daemon as a process: real signals, and a service manager's socket that hears it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Self

from tests.support.outbox_file import PlainOutbox
from tests.support.settings import Settings, settings_for, write_settings
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


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

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def stopped(self) -> None:
        """Let it stand still, as SIGSTOP does, and return when it does."""
        self.signal(signal.SIGSTOP)
        stat = Path(f"/proc/{self.pid}/stat")
        await until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")

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
    outbox: PlainOutbox, relays: Mapping[str, Settings], *, name: str = "daemon", **sections: Any
) -> AsyncIterator[DaemonProcess]:
    """Run a daemon in a process of its own, and kill it at the end if it is still there."""
    settings = settings_for(outbox, relays, **sections)
    async with DaemonProcess(outbox.directory, settings, name=name) as daemon:
        await daemon.started()
        yield daemon
