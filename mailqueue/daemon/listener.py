"""The daemon's end of the doorbell on PostgreSQL: a connection of its own that hears NOTIFY."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from mailqueue.clock import Clock
from mailqueue.daemon.service import Service
from mailqueue.errors import OutboxError
from mailqueue.events import DatabaseTrouble, Emit
from mailqueue.outbox.ear import Ear
from mailqueue.outbox.notify import ECHO_SECONDS
from mailqueue.outbox.patience import PATIENCE


def _unheard() -> None:
    return


class Listener(Service):
    """Calls ``heard`` at each NOTIFY, a moment later once more, and whenever it has connected anew.

    Listens again after the server was away. As long as it cannot, mail is found by polling.
    """

    def __init__(self, url: str, *, clock: Clock, emit: Emit) -> None:
        super().__init__(emit)
        self.heard: Callable[[], None] = _unheard
        self.is_listening = False
        self._url = url
        self._clock = clock
        self._told = ""
        self._tried = 0

    async def _run(self) -> None:
        while not self.stopping:
            try:
                async with await Ear.open(self._url) as ear:
                    await self._listen(ear)
            except OutboxError as error:
                self._tell(str(error))
                self._tried += 1
                await self.wake.wait(PATIENCE.delay(self._tried, self._clock.random()))

    async def _listen(self, ear: Ear) -> None:
        loop, descriptor = asyncio.get_running_loop(), ear.fileno()
        loop.add_reader(descriptor, self.wake.ring)
        self.is_listening = True
        try:
            await self._ring_while_heard(ear)
        finally:
            self.is_listening = False
            loop.remove_reader(descriptor)

    async def _ring_while_heard(self, ear: Ear) -> None:
        self._told, self._tried = "", 0
        # For whatever was committed while nobody listened.
        self.heard()
        echo: float | None = None
        while not self.stopping:
            is_woken = await self.wake.wait(echo)
            if is_woken and not ear.hear():
                continue
            # Who committed just after somebody's NOTIFY has sent none: see `outbox.notify`.
            echo = ECHO_SECONDS if is_woken else None
            self.heard()

    def _tell(self, error: str) -> None:
        if self._told != error:
            self._told = error
            self.emit(DatabaseTrouble("listening for new mail", error))

    async def stop(self) -> None:
        """End at once: there is nothing to finish."""
        await self.abort()
