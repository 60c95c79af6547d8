"""What a part of the torture has done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tally:
    """One part's count: ``runs`` of its ``unit``, and what they led to.

    ``duplicates``: recipients that a relay accepted more often than once; ``doubts``: attempts
    recorded as in doubt; ``losses``: what was acknowledged and is gone, which must be 0;
    ``further``: what else was counted, by its name; ``notes``: what holds for every turn.
    """

    part: str
    unit: str
    runs: int
    duplicates: int
    doubts: int
    losses: int
    further: Counter[str] = field(default_factory=Counter)
    notes: str = ""

    def __add__(self, other: Tally) -> Tally:
        """Return the sums of two turns of one part."""
        return Tally(
            self.part,
            self.unit,
            self.runs + other.runs,
            self.duplicates + other.duplicates,
            self.doubts + other.doubts,
            self.losses + other.losses,
            self.further + other.further,
            other.notes,
        )

    @property
    def remarks(self) -> str:
        """What is told beside the numbers that every part has."""
        counted = [f"{number:,} {what}" for what, number in self.further.items()]
        return ", ".join([*counted, *filter(None, [self.notes])])
