"""One of several daemon processes that are run together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path


class Member:
    """Runs a daemon as a process and hears what it tells its service manager (sd_notify(3)).

    Its standard input is a pipe that nobody writes to: when we are gone, it ends, and with it
    the member, whatever ended us.
    """

    def __init__(self, name: str, command: Sequence[str], socket_path: Path) -> None:
        self.name = name
        self.status = ""
        self.is_ready = False
        """Whether it takes mail, by its configuration as it is now."""
        self.has_started = False
        """Whether it was ready at least once since it was run."""
        self.was_ever_ready = False
        """Whether it was so at any time, so that it can start with what is configured."""
        self.is_alive = False
        """Whether it has fed the watchdog since that was last asked."""
        self._command = command
        self._socket_path = socket_path
        self._process: asyncio.subprocess.Process | None = None
        self._missed: signal.Signals | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def run(self, heard: Callable[[str], None]) -> int:
        """Run the process to its end and return its exit status; ``heard`` gets each line."""
        self.is_ready = self.is_alive = self.has_started = False
        with self._listening(heard):
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                env=self._environment(os.environ),
                # A terminal's ctrl-C would reach it beside ours, and said twice it means now.
                start_new_session=True,
            )
            if self._missed is not None:
                self.signal(self._missed)
            return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal to stop; while it is only beginning, as soon as it has."""
        if self._process is None or not self.is_running:
            self._missed = number
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def reload(self) -> None:
        """Let it read its configuration anew; one that is only starting does so anyway.

        Before it is ready a SIGHUP might end it.
        """
        if self.has_started and self._process is not None and self.is_running:
            self.is_ready = False
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def _listening(self, heard: Callable[[str], None]) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ear.setblocking(False)
        ear.bind(str(self._socket_path))
        loop.add_reader(ear, self._listen, ear, heard)
        try:
            yield
        finally:
            loop.remove_reader(ear)
            ear.close()
            self._socket_path.unlink(missing_ok=True)

    def _listen(self, ear: socket.socket, heard: Callable[[str], None]) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                for line in ear.recv(4096).decode("utf-8", "replace").split("\n"):
                    self._note(line)
                    heard(line)

    def _note(self, line: str) -> None:
        key, _, value = line.partition("=")
        match key:
            case "READY":
                self.is_ready = self.has_started = self.was_ever_ready = True
            case "WATCHDOG":
                self.is_alive = True
            case "STATUS":
                self.status = value

    def _environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        mine = {name: value for name, value in environ.items() if name != "WATCHDOG_PID"}
        return mine | {"NOTIFY_SOCKET": str(self._socket_path)}
