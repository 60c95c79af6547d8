"""Whether a relay was offered no more than a rate allows, by its own ledger."""

from __future__ import annotations

from mailqueue.testing import Ledger

WAY = 0.1
"""Seconds by which a busy machine may shift what the relay sees against what was allowed."""


def assert_rate(ledger: Ledger, per_second: float, *, burst: int) -> None:
    """In no stretch of time does the relay get more recipients than rate and burst allow."""
    times = [one.at for one in ledger.accepted for _ in one.recipients]
    for begin in range(len(times)):
        for end in range(begin, len(times)):
            stretch = times[end] - times[begin] + WAY
            assert end - begin + 1 <= burst + 0.5 + per_second * stretch, (begin, end, stretch)
