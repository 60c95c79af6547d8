"""Whether a relay was offered no more than a rate allows, in any stretch of time."""

from __future__ import annotations

from collections.abc import Iterable

from mailqueue.testing import Ledger

WAY = 0.3
"""Seconds by which a busy machine may shift what the relay sees against when it was begun."""


def assert_rate(
    ledger: Ledger, per_second: float, *, burst: int, begun: Iterable[int] = ()
) -> None:
    """Look at what the relay got, and closely at when the attempts were ``begun`` (microseconds).

    That is read on the daemon's side, where less comes in between.
    """
    seen = [one.at for one in ledger.accepted for _ in one.recipients]
    _assert_rate(seen, per_second, burst=burst, slack=WAY)
    _assert_rate([at / 1e6 for at in begun], per_second, burst=burst, slack=0.1)


def _assert_rate(times: list[float], per_second: float, *, burst: int, slack: float) -> None:
    times.sort()
    for begin in range(len(times)):
        for end in range(begin, len(times)):
            stretch = times[end] - times[begin] + slack
            assert end - begin + 1 <= burst + 0.5 + per_second * stretch, (begin, end, stretch)
