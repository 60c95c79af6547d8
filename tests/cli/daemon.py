"""`mailqueue run` as a process, for tests that wait for what it says and never for time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

PATIENCE = 30.0
"""Seconds that anything may take before a test gives it up."""


class Daemon:
    """A process that runs, with what it has said so far: ``log`` on standard error, and ``told``
    to the service manager.
    """

    def __init__(self, process: asyncio.subprocess.Process, manager: socket.socket) -> None:
        self.process = process
        self.log: list[str] = []
        self.told: list[str] = []
        self._manager = manager

    async def until_logged(self, words: str) -> str:
        """Read the log until a line has ``words``, and return it."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            async for raw in self.process.stderr:
                self.log.append(raw.decode().rstrip("\n"))
                if words in self.log[-1]:
                    return self.log[-1]
        raise AssertionError(f"it ended without {words!r}; it said: {self.log}")

    async def until_told(self, words: str) -> str:
        """Read what the service manager is told until a message has ``words``, and return it."""
        async with asyncio.timeout(PATIENCE):
            while True:
                said = await asyncio.get_running_loop().sock_recv(self._manager, 4096)
                self.told.append(said.decode())
                if words in self.told[-1]:
                    return self.told[-1]

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Return the exit status once it has ended; the rest of the log has been read then."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE):
            self.log += (await self.process.stderr.read()).decode().splitlines()
            return await self.process.wait()


@asynccontextmanager
async def running(
    *arguments: object, environ: dict[str, str] | None = None
) -> AsyncIterator[Daemon]:
    """Run `mailqueue run` with ``arguments``; killed at the end if it still runs."""
    with tempfile.TemporaryDirectory() as directory, _manager(directory) as manager:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "mailqueue", "run", *map(str, arguments),
            env={**os.environ, "NOTIFY_SOCKET": f"{directory}/notify", **(environ or {})},
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            yield Daemon(process, manager)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


def _manager(directory: str) -> socket.socket:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.setblocking(False)
    manager.bind(str(Path(directory, "notify")))
    return manager
