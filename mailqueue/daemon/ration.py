"""What this daemon may offer of a relay's rate, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from mailqueue.clock import Clock
from mailqueue.mail.rate import Rate
from mailqueue.outbox.rates import Batch

IN_HAND_SECONDS = 1.0
"""For so long the messages last that are claimed and wait for their instant: more of them would
only keep urgent mail waiting."""


class Ration:
    """Gives leave to transactions, in the order in which they ask, each at its instant.

    Instants come in batches, see `put`; `wanted` and `least` say how many are missing. ``asked``
    is called when some are, ``freed`` when more messages may be claimed.
    """

    def __init__(
        self, rate: Rate, clock: Clock, *, asked: Callable[[], None], freed: Callable[[], None]
    ) -> None:
        self.rate = rate
        self._asked = asked
        self._freed = freed
        self._clock = clock
        self._instants: deque[float] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[bool]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, recipients: int) -> bool:
        """Return when so many may be offered now; False: sent away."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        entry = (recipients, turn)
        self._waiting.append(entry)
        self._serve()
        if not turn.done() and self.wanted:
            self._asked()
        try:
            return await turn
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._serve()

    @property
    def room(self) -> int:
        """How many more messages may be claimed."""
        return max(0, self._in_hand - len(self._waiting))

    @property
    def wanted(self) -> int:
        """How many instants are missing for those who wait."""
        return max(0, sum(need for need, _ in self._waiting) - len(self._instants))

    @property
    def least(self) -> int:
        """How many of these are missing for whoever is first: with less nobody can begin."""
        return max(1, self._waiting[0][0] - len(self._instants)) if self._waiting else 0

    @property
    def _in_hand(self) -> int:
        return self.rate.within(IN_HAND_SECONDS)

    def put(self, batch: Batch, *, now: float) -> None:
        """Take a batch that was given out at ``now`` (monotonic seconds) or before."""
        first = now + batch.delay
        self._instants.extend(first + number * batch.spacing for number in range(batch.count))
        self._serve()

    def send_away(self) -> None:
        """Let nobody wait any longer."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(False)

    def _serve(self) -> None:
        """Give leave to whoever is first, for as long as there are instants for him."""
        now = self._clock.monotonic()
        while self._waiting:
            need, turn = self._waiting[0]
            if turn.done():
                self._waiting.popleft()
                continue
            self._drop_void(need, now)
            if len(self._instants) < need:
                self._asked()
                break
            if (wait := self._instants[need - 1] - now) > 0:
                self._serve_in(wait)
                break
            self._waiting.popleft()
            for _ in range(need):
                self._instants.popleft()
            turn.set_result(True)
        if self.room > self._in_hand // 2:
            self._freed()

    def _drop_void(self, need: int, now: float) -> None:
        oldest = now - self.rate.patience(need)
        while self._instants and self._instants[0] < oldest:
            self._instants.popleft()

    def _serve_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._serve)
