"""How a limit is divided among those who want a part of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """How much ``worker`` could use now, and how much it has."""

    worker: str
    wanted: int
    has: int = 0


def divide(limit: int, claims: Sequence[Claim]) -> dict[str, int]:
    """Return each worker's part; together they are all of ``limit``.

    Nobody gets less than another who wants no more than he does. What nobody wants goes to whoever
    has least, to be ready. Where it does not come out even, whoever has more keeps it, so that
    nothing is moved for its own sake.
    """
    wants = {one.worker: min(one.wanted, limit) for one in claims}
    # Poured like water: up to what each wants, or where all have that, to one level.
    bounded = min if sum(wants.values()) >= limit else max

    def poured(level: int) -> dict[str, int]:
        return {worker: bounded(want, level) for worker, want in wants.items()}

    level = bisect_right(range(limit + 1), limit, key=lambda one: sum(poured(one).values())) - 1
    parts, higher = poured(level), poured(level + 1)
    left = limit - sum(parts.values())
    for one in sorted(claims, key=lambda claim: (-claim.has, claim.worker)):
        if left and higher[one.worker] > parts[one.worker]:
            parts[one.worker] += 1
            left -= 1
    return parts
