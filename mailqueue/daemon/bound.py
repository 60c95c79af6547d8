"""What all relays share, and the part of it that is kept for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bound:
    """So much may be under way at once, over all relays.

    Half of ``total`` is for whoever comes first; the other half is kept in even parts, one for
    each relay, so that one which has stopped answering never holds all of it. ``used`` is what
    each relay in force has under way, ``elsewhere`` what those have that a reload removed.
    """

    total: int
    used: Mapping[str, int]
    elsewhere: int = 0

    def left(self, relay: str, taken: Mapping[str, int]) -> int:
        """Return how much more ``relay`` may have, where each has ``taken`` some more already."""
        kept = self._kept()
        others = sum(
            max(kept, used + taken.get(name, 0))
            for name, used in self.used.items()
            if name != relay
        )
        return self.total - self.elsewhere - others - self.has(relay, taken)

    def has(self, relay: str, taken: Mapping[str, int]) -> int:
        """Return how much ``relay`` has under way, with what it has ``taken``."""
        return self.used[relay] + taken.get(relay, 0)

    def _kept(self) -> int:
        if len(self.used) == 1:
            return 0
        even = self.total // len(self.used)
        # One at the least, where there is one for each.
        return max(even // 2, min(even, 1))
