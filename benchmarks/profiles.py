"""What the profiles of a program's threads say: the functions that cost the most themselves."""

from __future__ import annotations

import pstats
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

TOP = 25
_MAILS = "mails"
_NEGLIGIBLE = 0.01
"""Seconds; a thread that did less is not worth a table."""


@dataclass(frozen=True, slots=True)
class Cost:
    """A function, its calls, and the CPU seconds that it used itself."""

    function: str
    calls: int
    seconds: float


def prepare(directory: Path, name: str, mails: int) -> Path:
    """Return an empty directory for the profiles of ``name``, in which ``mails`` are handled."""
    place = directory / name.replace(" ", "-").replace(",", "")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    (place / _MAILS).write_text(str(mails))
    return place


def costs(path: Path) -> list[Cost]:
    """Return the functions of one profile, the dearest first."""
    found = cast("Any", pstats.Stats(str(path))).stats
    listed = [Cost(_name(*place), calls, own) for place, (_, calls, own, _, _) in found.items()]
    return sorted(listed, key=lambda cost: cost.seconds, reverse=True)


def table(thread: str, found: list[Cost], mails: int) -> str:
    """Return what a thread used, in microseconds for each mail."""
    whole = sum(cost.seconds for cost in found)
    lines = [
        f"{thread}: {whole * 1e6 / mails:.1f} µs of CPU per mail under the profiler",
        f"{'µs/mail':>9} {'calls/mail':>11} {'share':>7}  function",
    ]
    lines += [
        f"{cost.seconds * 1e6 / mails:9.2f} {cost.calls / mails:11.2f} "
        f"{cost.seconds / whole:7.1%}  {cost.function}"
        for cost in found[:TOP]
    ]
    return "\n".join(lines)


def print_profiles(directories: Iterable[Path]) -> None:
    """Print a table for each thread that left its profile in one of ``directories``."""
    for directory in directories:
        mails = int((directory / _MAILS).read_text())
        for path in sorted(directory.glob("*.prof")):
            found = costs(path)
            if sum(cost.seconds for cost in found) > _NEGLIGIBLE:
                print(f"\n{table(f'{directory.name}, {path.stem}', found, mails)}")
        print(f"\nFor `python -m pstats FILE`: {directory}/*.prof")


def _name(file: str, line: int, function: str) -> str:
    if not line:
        return function
    return f"{'/'.join(Path(file).parts[-3:])}:{line} {function}"
