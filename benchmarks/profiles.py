"""What the profiles of a daemon's threads say: the functions that cost the most themselves."""

from __future__ import annotations

import pstats
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

TOP = 25
_NEGLIGIBLE = 0.01
"""Seconds; a thread that did less is not worth a table."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A function, its calls, and the seconds that it spent itself."""

    function: str
    calls: int
    seconds: float


def costs(path: Path) -> list[Cost]:
    """Return the functions of one profile, the dearest first."""
    found = cast("Any", pstats.Stats(str(path))).stats
    listed = [
        Cost(_name(*place), calls, seconds)
        for place, (_, calls, seconds, _, _) in found.items()
        if not _is_waiting(place[2])
    ]
    return sorted(listed, key=lambda cost: cost.seconds, reverse=True)


def table(thread: str, found: list[Cost], mails: int) -> str:
    """Return what a thread spent, in microseconds for each mail."""
    whole = sum(cost.seconds for cost in found)
    lines = [
        f"{thread}: {whole * 1e6 / mails:.1f} µs per mail under the profiler, {whole:.2f} s in all",
        f"{'µs/mail':>9} {'calls/mail':>11} {'share':>7}  function",
    ]
    lines += [
        f"{cost.seconds * 1e6 / mails:9.2f} {cost.calls / mails:11.2f} "
        f"{cost.seconds / whole:7.1%}  {cost.function}"
        for cost in found[:TOP]
    ]
    return "\n".join(lines)


def print_profiles(directory: Path, mails: int) -> None:
    """Print a table for each thread of each process that left its profile in ``directory``."""
    for path in sorted(directory.glob("*.prof")):
        found = costs(path)
        if sum(cost.seconds for cost in found) > _NEGLIGIBLE:
            print(f"\n{table(path.stem, found, mails)}")


def _is_waiting(function: str) -> bool:
    # Time in which a thread sleeps is in the profile, as it is that of a clock on the wall.
    return any(name in function for name in ("'poll' of 'select", "'acquire' of '_thread", ".get'"))


def _name(file: str, line: int, function: str) -> str:
    if not line:
        return function
    return f"{'/'.join(Path(file).parts[-3:])}:{line} {function}"
