"""What came of a cell, or must come of it: the rows, the pauses, and the relay's own ledger."""

from __future__ import annotations

from dataclasses import dataclass, replace

ANY_CODE = -1
"""Of a greeting that is not one reply the library that reads it makes what it likes."""


@dataclass(frozen=True, slots=True)
class Row:
    """An attempt as SQL shows it."""

    verdict: str
    scope: str
    rule: str
    stage: str
    code: int | None = None
    charged: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a relay is paused. Any code will do where it is `ANY_CODE`."""

    stage: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must have come of a cell once nothing is due any more.

    ``target``: the attempts for each recipient, in order. ``primer``: those for the mail before
    it, if there was one. ``sessions``: how many the relay has seen when one more mail went out.
    ``taken``: for each recipient, how often the relay took the mail on.
    """

    target: tuple[tuple[Row, ...], ...]
    primer: tuple[Row, ...]
    pauses: tuple[Pause, ...]
    sessions: int
    taken: tuple[int, ...]

    def is_met_by(self, seen: Expectation) -> bool:
        """Whether what was ``seen`` is what is expected."""
        if len(self.pauses) != len(seen.pauses):
            return False
        pauses = tuple(map(_specified, self.pauses, seen.pauses))
        return replace(self, pauses=pauses) == seen


def _specified(wanted: Pause, seen: Pause) -> Pause:
    return replace(wanted, code=seen.code) if wanted.code == ANY_CODE else wanted
