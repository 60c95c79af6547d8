"""The real daemon as a process of its own, and what can be done to a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path

from mailqueue.cli.demo.place import Place


class Daemon:
    """``python -m mailqueue run``, its log in a file. The names tell several apart."""

    def __init__(self, name: str, process: Process, log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self._process = process

    @classmethod
    async def start(cls, name: str, place: Place) -> Daemon:
        """Start one; it is at work a moment later."""
        log_file = place.log_file(name)
        with log_file.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "mailqueue", "run", "--config", str(place.config_file)),
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                # Ctrl-C is for the demo, which ends its daemons itself.
                start_new_session=True,
            )
        return cls(name, process, log_file)

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""
        return self._process.returncode

    @property
    def lines(self) -> list[str]:
        """What it has logged so far."""
        return self.log_file.read_text(encoding="utf-8", errors="replace").splitlines()

    def said(self, words: str) -> bool:
        """Whether a line of its log contains ``words``."""
        return any(words in line for line in self.lines)

    @property
    def is_at_work(self) -> bool:
        """Whether it has said that it sends."""
        return self.said(" sends from ")

    def reload(self) -> None:
        """Send SIGHUP: it reads its configuration anew."""
        self._process.send_signal(signal.SIGHUP)

    async def kill(self) -> int:
        """Send SIGKILL, as a crash or the kernel out of memory does; returns the status."""
        self._process.kill()
        return await self._process.wait()

    async def stall(self) -> None:
        """Stop it where it stands, as a suspended machine does, and return when it stands."""
        self._process.send_signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitpid, self.pid, os.WUNTRACED)

    def resume(self) -> None:
        """Let it go on from there."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self, *, timeout: float) -> int:
        """Send SIGTERM and return the status; SIGKILL if it takes more than ``timeout`` seconds."""
        self._process.terminate()
        try:
            async with asyncio.timeout(timeout):
                return await self._process.wait()
        except TimeoutError:
            return await self.kill()

    async def end(self) -> None:
        """Leave nothing behind, whatever it was doing."""
        if self.status is None:
            await self.kill()


def environment() -> dict[str, str]:
    """Return the environment for a process of the demo: nothing in it says where mail goes."""
    ours = ("MAILQUEUE_", "NOTIFY_SOCKET", "JOURNAL_STREAM", "WATCHDOG_", "CREDENTIALS_DIRECTORY")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
