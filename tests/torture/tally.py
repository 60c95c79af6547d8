"""What a part of the torture has done."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """One part's count: ``runs`` of its ``unit``, and what they led to.

    ``duplicates``: recipients that a relay accepted more often than once; ``doubts``: attempts
    recorded as in doubt; ``losses``: what was acknowledged and is gone, which must be 0.
    """

    part: str
    unit: str
    runs: int
    duplicates: int
    doubts: int
    losses: int
    notes: str = ""
