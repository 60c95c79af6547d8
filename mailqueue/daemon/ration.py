"""What this daemon may offer of a relay's rate, and who waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mailqueue.clock import Clock
from mailqueue.mail.rate import Rate
from mailqueue.outbox.rates import Batch

IN_HAND_SECONDS = 1.0
"""For so long the messages last that are claimed and wait for their instant: more of them would
only keep urgent mail waiting."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The instants of one transaction's recipients, from ``first`` to ``last`` (monotonic seconds).

    It may begin at the last one.
    """

    first: float
    last: float
    recipients: int


class Ration:
    """Gives transactions their turns, in the order in which they ask.

    Instants come in batches, see `put`; `wanted` and `least` say how many are missing. ``asked``
    is called when some are, ``freed`` when more messages may be claimed.
    """

    def __init__(
        self, rate: Rate, clock: Clock, *, asked: Callable[[], None], freed: Callable[[], None]
    ) -> None:
        self.rate = rate
        self._in_force = rate
        """The same at the pace of the last batch: another daemon's rate may be lower."""
        self._asked = asked
        self._freed = freed
        self._clock = clock
        self._instants: deque[float] = deque()
        self._waiting: deque[tuple[int, asyncio.Future[Turn | None]]] = deque()
        self._is_over = False

    async def turn(self, recipients: int) -> Turn | None:
        """Return the turn of so many recipients as soon as it is known; None: sent away."""
        if self._is_over:
            return None
        turn: asyncio.Future[Turn | None] = asyncio.get_running_loop().create_future()
        entry = (recipients, turn)
        self._waiting.append(entry)
        self._serve()
        try:
            return await turn
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._serve()

    async def comes(self, turn: Turn) -> bool:
        """Return when it has come; False: sent away.

        Whoever missed it, because something else took so long, waits for another.
        """
        while True:
            now = self._clock.monotonic()
            if now - turn.first > self._in_force.patience(turn.recipients):
                if (again := await self.turn(turn.recipients)) is None:
                    return False
                turn = again
            elif turn.last <= now:
                return True
            else:
                await _elapsed(turn.last - now)

    def is_here(self, turn: Turn) -> bool:
        """Whether it has come, and was not missed."""
        now = self._clock.monotonic()
        return turn.last <= now <= turn.first + self._in_force.patience(turn.recipients)

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
        return self._in_force.within(IN_HAND_SECONDS)

    def put(self, batch: Batch, *, now: float) -> None:
        """Take a batch that was given out at ``now`` (monotonic seconds) or before."""
        self._in_force = Rate(1, batch.spacing, self.rate.burst)
        first = now + batch.delay
        self._instants.extend(first + number * batch.spacing for number in range(batch.count))
        self._serve()

    def send_away(self) -> None:
        """Let nobody wait any longer."""
        while self._waiting:
            _, turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    def end(self) -> None:
        """Let nobody wait any longer, nor whoever comes: no instants come any more."""
        self._is_over = True
        self.send_away()

    def _serve(self) -> None:
        """Give whoever is first his turn, for as long as there are instants for him."""
        before = len(self._waiting)
        while self._waiting:
            need, turn = self._waiting[0]
            if not turn.done():
                self._drop_void(need)
                if len(self._instants) < need:
                    self._asked()
                    break
                taken = [self._instants.popleft() for _ in range(need)]
                turn.set_result(Turn(taken[0], taken[-1], need))
            self._waiting.popleft()
        if len(self._waiting) < before and self.room > self._in_hand // 2:
            self._freed()

    def _drop_void(self, need: int) -> None:
        oldest = self._clock.monotonic() - self._in_force.patience(need)
        while self._instants and self._instants[0] < oldest:
            self._instants.popleft()


async def _elapsed(seconds: float) -> None:
    """Return after so long, which is never more than what is given out ahead."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    timer = loop.call_later(seconds, over.set_result, None)
    try:
        await over
    finally:
        timer.cancel()
