"""A promise of mailqueue, and what was seen of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from mailqueue.cli.demo.aftermath import Aftermath


@dataclass(frozen=True, slots=True)
class Observation:
    """One thing that was looked at.

    ``text`` says it with its numbers; ``seen`` is how often there was something to look at,
    and ``against`` names every case in which it was not as promised.
    """

    text: str
    seen: int
    against: Sequence[str] = ()


Observe = Callable[[Aftermath], Observation]


class Standing(StrEnum):
    """What can be said of a promise after a run."""

    KEPT = "kept"
    BROKEN = "BROKEN"
    NOT_SEEN = "not seen"


@dataclass(frozen=True, slots=True)
class Account:
    """A promise with what was observed; ``tests`` is where it is put to harder tests."""

    number: int
    name: str
    tests: str
    observations: tuple[Observation, ...]

    @property
    def standing(self) -> Standing:
        """Broken by one case against it; kept where everything that belongs to it was seen."""
        if any(one.against for one in self.observations):
            return Standing.BROKEN
        if all(one.seen for one in self.observations):
            return Standing.KEPT
        return Standing.NOT_SEEN

    @property
    def text(self) -> str:
        """What was seen, or what speaks against it."""
        match self.standing:
            case Standing.BROKEN:
                return "; ".join(case for one in self.observations for case in one.against)
            case Standing.NOT_SEEN:
                return f"not seen here: see {self.tests}"
            case Standing.KEPT:
                return "; ".join(one.text for one in self.observations)


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise, and the ways to look for it."""

    number: int
    name: str
    tests: str
    ways: tuple[Observe, ...]

    def account(self, aftermath: Aftermath) -> Account:
        """Return what was seen of it."""
        seen = tuple(observe(aftermath) for observe in self.ways)
        return Account(self.number, self.name, self.tests, seen)


def count(number: int, noun: str) -> str:
    """Return the number with its noun, such as ``1 mail`` or ``2 mails``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def times(number: int) -> str:
    """Return how often, such as ``once`` or ``3 times``."""
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
