"""A relay in a thread of its own, for tests without an event loop."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from mailqueue.testing.ledger import Ledger
from mailqueue.testing.relay import ScriptedRelay

T = TypeVar("T")

_START_SECONDS = 10.0


class RelayThread:
    """Runs a `ScriptedRelay` beside synchronous code.

        with RelayThread(ScriptedRelay(script)) as thread:
            smtplib.SMTP(thread.host, thread.port).sendmail(...)
            thread.run(thread.relay.ledger.wait_for(1))

    The script is written before, or changed by `thread.call(...)`; the ledger may be read at any
    time, and its waits go through `thread.run(...)`.
    """

    def __init__(self, relay: ScriptedRelay) -> None:
        self.relay = relay
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted relay")

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.run(self.relay.start(), timeout=_START_SECONDS)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.run(self.relay.__aexit__(kind, error, trace))
        finally:
            self._close()

    @property
    def host(self) -> str:
        """The address the relay listens on."""
        return self.relay.host

    @property
    def port(self) -> int:
        """The port the relay listens on."""
        return self.relay.port

    @property
    def ledger(self) -> Ledger:
        """What the relay took."""
        return self.relay.ledger

    def run(self, awaited: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Await something in the relay's loop and return its result, or raise what it raised."""
        return asyncio.run_coroutine_threadsafe(awaited, self._loop).result(timeout)

    def call(self, act: Callable[[], T]) -> T:
        """Call something in the relay's loop, such as a change of its script."""

        async def calling() -> T:
            return act()

        return self.run(calling())

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
