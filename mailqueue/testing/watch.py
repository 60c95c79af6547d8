"""Waiting for something to become true, without polling."""

import asyncio
from collections.abc import Callable

Predicate = Callable[[], bool]


class Watch:
    """Wakes those who wait for a condition whenever something has changed."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Predicate, asyncio.Future[None]]] = []

    def changed(self) -> None:
        """Look at all conditions again."""
        for predicate, waiter in self._waiting:
            if waiter.done():
                continue
            try:
                if predicate():
                    waiter.set_result(None)
            except Exception as error:  # noqa: BLE001 - it belongs to the one who waits, not to us
                waiter.set_exception(error)

    async def until(
        self, predicate: Predicate, *, timeout: float, complaint: Callable[[], str]
    ) -> None:
        """Return once `predicate` is true.

        Raises:
            TimeoutError: it was not within `timeout` seconds; `complaint` words the message.
        """
        if predicate():
            return
        entry = (predicate, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(timeout):
                await entry[1]
        except TimeoutError:
            raise TimeoutError(f"not within {timeout} s: {complaint()}") from None
        finally:
            self._waiting.remove(entry)
