"""How many recipients a relay is offered in a time, as instants at which each of them may be.

The instants of one relay are evenly spaced and given out once, to whoever asks first. One that was
not used soon enough is void: so in any stretch of time there are never more than ``burst`` plus
what the rate allows in it, however many share the relay.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_SLACK = 0.25
"""Seconds that whoever has to use an instant at once may take, at most half the spacing."""
_TOGETHER = 200
"""More recipients than that are in no transaction, as a rule (RFC 5321 section 4.5.3.1.8)."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many recipients in so many seconds; ``burst``: how many may be offered at once."""

    count: int
    seconds: float
    burst: int

    @property
    def spacing(self) -> float:
        """Seconds from one recipient to the next."""
        return self.seconds / self.count

    def patience(self, recipients: int) -> float:
        """Return for how many seconds the first of so many instants is good, to be used with the
        last of them.
        """
        slack = min(self.spacing / 2, _SLACK)
        return max((self.burst - 1) * self.spacing, (recipients - 1) * self.spacing + slack)

    def within(self, seconds: float) -> int:
        """Return how many recipients there are in so many seconds, at least one."""
        return max(1, math.ceil(seconds / self.spacing))


@dataclass(frozen=True, slots=True)
class Reserved:
    """``count`` instants from ``first_at`` on; the next that is free is ``next_at``.

    In microseconds of one clock.
    """

    first_at: int
    count: int
    next_at: int


def reserve(
    next_at: int, *, now: int, spacing: float, wanted: int, least: int, ahead: int
) -> Reserved:
    """Reserve up to ``wanted`` instants from ``next_at`` on, none of the past.

    ``spacing`` and ``ahead`` in microseconds. They reach no further than ``ahead`` from now, so
    that nobody holds what another could use sooner; but ``least``, which are of use only together,
    may, if they begin before that.
    """
    # None is given out further ahead: a clock was set back, or the rate was a lower one.
    furthest = now + ahead + round(max(_TOGETHER, least) * spacing)
    first = max(now, min(next_at, furthest))
    if wanted <= 0 or first > now + ahead:
        return Reserved(first, 0, first)
    room = 1 + int((now + ahead - first) / spacing)
    count = max(min(wanted, room), least)
    return Reserved(first, count, first + math.ceil(count * spacing))
