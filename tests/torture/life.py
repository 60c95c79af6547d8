"""One process from its beginning to its end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Forked from a process that has loaded everything: so one begins in a few milliseconds, and
# hundreds can die in a minute. It has no threads, no loop and no connection to inherit.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.torture.daemon", "tests.torture.producer", "tests.torture.sender"]
)


class Life:
    """A process that runs ``target``; what it does ends with it."""

    def __init__(self, target: Callable[..., None], *args: Any) -> None:
        self._process = _CONTEXT.Process(target=target, args=args, daemon=True)
        self._process.start()

    @property
    def pid(self) -> int | None:
        """The number of the process."""
        return self._process.pid

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return not self._process.is_alive()

    async def ended(self, timeout: float) -> int | None:
        """Return the exit status, negative for a signal; None if it still lives after so long."""
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(self._process.sentinel, over.set)
        try:
            async with asyncio.timeout(timeout):
                await over.wait()
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self._process.sentinel)
        self._process.join()
        return self._process.exitcode

    async def kill(self) -> int:
        """Send SIGKILL and return the exit status, which an end of its own may have settled."""
        self._process.kill()
        status = await self.ended(10)
        assert status is not None, "a process survived SIGKILL"
        return status

    async def stop(self, timeout: float) -> int:
        """Send SIGTERM and return the exit status."""
        self._process.terminate()
        status = await self.ended(timeout)
        if status is None:
            await self.kill()
            raise AssertionError(f"a daemon did not end within {timeout} s of SIGTERM")
        return status


def write_to(log: Path) -> None:
    """Let what this process says stand in ``log``, for who wants to know how it ended."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
