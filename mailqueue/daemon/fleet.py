"""Several daemon processes on one queue, run and reported as one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from mailqueue.daemon.member import Member
from mailqueue.daemon.service import Wake
from mailqueue.daemon.share import Share
from mailqueue.daemon.systemd import Notifier
from mailqueue.events import Emit, ProcessEnded
from mailqueue.mail.schedule import Backoff

_RESTARTS = Backoff(initial=1.0, factor=2.0, maximum=60.0, jitter=0.0)


class Fleet:
    """Runs ``count`` processes until told to stop, and begins again each that ends by itself.

    SIGTERM, SIGINT and SIGHUP mean to all of them what they mean to one. To the service manager
    it is ready when all are, and alive while each of them that runs is.
    """

    def __init__(
        self,
        count: int,
        command: Callable[[Share], Sequence[str]],
        *,
        notifier: Notifier,
        emit: Emit,
    ) -> None:
        self._count = count
        self._command = command
        self._notifier = notifier
        self._emit = emit
        self._members: list[Member] = []
        self._stopping = Wake()
        self._is_stopping = False

    async def run(self) -> int:
        """Run to the end and return the exit status: of the first that could not start, or 0."""
        with tempfile.TemporaryDirectory(prefix="mailqueue-") as directory, self._signals():
            shares = [Share(index, self._count) for index in range(self._count)]
            self._members = [
                Member(str(share), self._command(share), Path(directory, str(share.index)))
                for share in shares
            ]
            statuses = await asyncio.gather(*map(self._keep, self._members))
        return next(filter(None, statuses), 0)

    async def _keep(self, member: Member) -> int:
        """Run ``member`` again and again; returns its status once all are to stop."""
        failures = 0
        while True:
            status = await self._run_once(member)
            if self._is_stopping:
                # Before it is ready nothing has been begun, and a signal may just end it.
                return status if member.has_started else 0
            if not member.was_ever_ready:
                # It said why, and would say it again: a configuration or database to be mended.
                self.stop(signal.SIGTERM)
                return status
            failures += 1
            pause = _RESTARTS.delay(failures, 0.0)
            self._emit(ProcessEnded(member.name, status, pause))
            if await self._stopping.wait(pause):
                self._stopping.ring()
                return 0

    async def _run_once(self, member: Member) -> int:
        try:
            return await member.run(self._heard)
        except OSError:
            # No process could be begun; the others need not end because of that.
            return os.EX_OSERR

    def stop(self, number: signal.Signals) -> None:
        """Pass on a signal to stop; the second means at once, as it does to a single process."""
        self._is_stopping = True
        self._stopping.ring()
        self._notifier.stopping()
        for member in self._members:
            member.signal(number)

    def reload(self) -> None:
        """Let all read their configuration anew."""
        self._notifier.reloading()
        for member in self._members:
            member.reload()

    def _heard(self, line: str) -> None:
        key = line.partition("=")[0]
        if key == "READY" and all(one.is_ready for one in self._members):
            self._notifier.ready()
        elif key == "WATCHDOG":
            self._feed_watchdog()
        elif key == "STATUS":
            told = (f"[{one.name}] {one.status}" for one in self._members if one.status)
            self._notifier.status(" ".join(told))
        elif key == "EXTEND_TIMEOUT_USEC":
            self._notifier.send(line)

    def _feed_watchdog(self) -> None:
        # One that is starting again may have to wait for the database.
        running = [one for one in self._members if one.is_running and one.has_started]
        if all(member.is_alive for member in running):
            self._notifier.alive()
            for member in running:
                member.is_alive = False

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, partial(self.stop, number))
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                loop.remove_signal_handler(number)
