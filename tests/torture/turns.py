"""Whose turn it is: every part gets its share of the time, whatever the others take."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.torture.tally import Tally

Part = Callable[[int, float], Tally]
"""Runs with a seed for about so many seconds, and at least once; raises what it finds wrong."""

LONGEST = 30.0
"""Seconds of a turn at most."""
_SHORTEST = 1.0
"""Seconds of a turn that is worth its beginning."""


@dataclass(frozen=True, slots=True)
class Share:
    """A part, and how much of the time is for it where the usual is 1."""

    part: Part
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Turn:
    """What came of one turn: a tally, or the failure with the way to see it again."""

    part: str
    seed: int
    tally: Tally | None
    failure: str = ""


class Turns:
    """Lets parts run in turn, from ``seed`` on, for so many ``seconds`` in all.

    A part that took longer than its turn gets so much less later; one that has failed gets no
    more, and its time is for the others.
    """

    def __init__(
        self,
        shares: Mapping[str, Share],
        seed: int,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shares = dict(shares)
        self._clock = clock
        self._used = dict.fromkeys(shares, 0.0)
        self._seeds = dict.fromkeys(shares, seed)
        self._deadline = clock() + seconds

    def __iter__(self) -> Iterator[Turn]:
        """Run, and yield what came of each turn, until the time is up."""
        rounds = 0
        while self._shares:
            rounds += 1
            ran = False
            for name in list(self._shares):
                seconds = min(LONGEST, self._entitled(name))
                if rounds > 1 and seconds < _SHORTEST:
                    continue
                ran = True
                yield self._take(name, seconds)
            if not ran:
                return

    def _entitled(self, name: str) -> float:
        """Return how much of the time that is left is for a part."""
        left = max(0.0, self._deadline - self._clock())
        in_all = left + sum(self._used[one] for one in self._shares)
        weights = sum(share.weight for share in self._shares.values())
        wanted = {
            one: max(0.0, in_all * share.weight / weights - self._used[one])
            for one, share in self._shares.items()
        }
        return left * wanted[name] / (sum(wanted.values()) or 1.0)

    def _take(self, name: str, seconds: float) -> Turn:
        seed, began = self._seeds[name], self._clock()
        self._seeds[name] += 1
        try:
            return Turn(name, seed, self._shares[name].part(seed, seconds))
        except Exception as error:  # noqa: BLE001 - whatever it is, the others have their turns
            del self._shares[name]
            return Turn(name, seed, None, _told(error))
        finally:
            self._used[name] += self._clock() - began


def _told(error: Exception) -> str:
    if isinstance(error, AssertionError):
        return str(error)
    return "".join(traceback.format_exception(error))
