"""A crew: those who carry the deliveries of one relay, and what waits to be carried."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mailqueue.daemon.delivery import Delivery


class Crew:
    """Runs deliveries in the order in which they come, so many at once as there are places.

    A carrier takes one after the other for as long as some wait: for a task of its own each
    delivery would pay more than for all else that is done with it. ``failed`` hears what a
    delivery raised.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._waiting: deque[Delivery] = deque()
        self._carriers: dict[asyncio.Task[None], Delivery | None] = {}
        """What each of them carries."""
        self._places = 0

    def take(self, delivery: Delivery, *, places: int) -> None:
        """Run ``delivery`` when its turn comes; ``places`` is how many may be under way at once."""
        self._places = places
        self._waiting.append(delivery)
        if len(self._carriers) < places:
            self._engage()

    @property
    def past_dot(self) -> int:
        """How many are past the point where ending them would leave doubt."""
        return sum(one.is_past_dot for one in self._carriers.values() if one is not None)

    def turn_away(self, why: str) -> None:
        """Hand back all that wait for their turn."""
        while self._waiting:
            delivery = self._waiting.popleft()
            try:
                delivery.turn_away(why)
            except Exception as error:  # noqa: BLE001 - the others are handed back all the same
                self._failed(error)

    def withdraw(self, why: str) -> None:
        """Hand back what waits, for its turn or in line behind another message on a session."""
        self.turn_away(why)
        for carrier, delivery in self._carriers.items():
            if delivery is not None:
                delivery.withdraw(carrier, why)

    def interrupt(self, why: str) -> None:
        """End whatever has not reached its final dot."""
        self.turn_away(why)
        for carrier, delivery in self._carriers.items():
            if delivery is not None:
                delivery.end(carrier, why)

    def abort(self) -> None:
        """End everything; what is past its final dot is recorded as in doubt."""
        self.turn_away("shutdown")
        for carrier in self._carriers:
            carrier.cancel()

    async def left(self) -> None:
        """Return when nobody carries anything."""
        while self._carriers:
            await asyncio.wait(self._carriers)

    def _engage(self) -> None:
        carrier = asyncio.get_running_loop().create_task(self._carry(), name="carrier")
        self._carriers[carrier] = None
        carrier.add_done_callback(self._has_left)

    def _has_left(self, carrier: asyncio.Task[None]) -> None:
        del self._carriers[carrier]
        if self._waiting and len(self._carriers) < self._places:
            self._engage()

    async def _carry(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while self._waiting:
            self._carriers[me] = delivery = self._waiting.popleft()
            try:
                await delivery.run()
            except Exception as error:  # noqa: BLE001 - one bad message never stops the queue
                self._failed(error)
            self._carriers[me] = None
