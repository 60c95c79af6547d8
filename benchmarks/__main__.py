"""``python -m benchmarks``, which is `make bench`."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.ground import Ground
from benchmarks.machine import NOT_FLUSHED, facts, kind_of_file_system
from benchmarks.measured import (
    ceilings,
    drain,
    end_to_end,
    enqueue,
    idle,
    latency,
    million,
    postgres,
    round_trips,
)
from benchmarks.options import Asked, ask
from benchmarks.outbox import Outboxes, UnknownDatabase
from benchmarks.profiles import print_profiles
from benchmarks.table import NoPlace, check_place, rewrite, section
from benchmarks.targets import LINES, Standing, stand

MEASURED: dict[str, Callable[[Ground], None]] = {
    "drain": drain.measure,
    "roundtrips": round_trips.measure,
    "e2e": end_to_end.measure,
    "enqueue": enqueue.measure,
    "latency": latency.measure,
    "million": million.measure,
    "postgres": postgres.measure,
    "idle": idle.measure,
    "ceilings": ceilings.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; returns 1 if something could not be measured."""
    asked = ask(arguments, MEASURED)
    # Everything that is running is ended on the way out.
    signal.signal(signal.SIGTERM, _stop)
    try:
        if asked.page is not None:
            check_place(asked.page)  # now, and not when all is measured
        return _run(asked)
    except (NoPlace, UnknownDatabase) as error:
        print(error, file=sys.stderr)
        return 2


def _run(asked: Asked) -> int:
    directory = Path(tempfile.mkdtemp(prefix="mailqueue-bench-", dir=asked.directory))
    directory.chmod(0o755)  # Postfix's unprivileged processes pass through
    try:
        ground = _ground(asked, directory)
        told = facts(directory)
        _measure(ground)
        if asked.choice.profile is not None:
            print_profiles(ground.profiles)
        else:
            _report(ground, asked, told)
        return 1 if ground.failed else 0
    finally:
        shutil.rmtree(directory)


def _ground(asked: Asked, directory: Path) -> Ground:
    database = asked.database or f"sqlite:///{directory / 'outboxes'}"
    ground = Ground(asked.choice, directory, Outboxes(database))
    if (kind := kind_of_file_system(directory)) in NOT_FLUSHED:
        ground.say(f"WARNING: {directory} is on {kind}, where a commit costs less than on a disk")
    return ground


def _measure(ground: Ground) -> None:
    for name in ground.choice.only:
        for number in range(ground.choice.rounds):
            ground.number = number
            ground.say(f"{name}, round {number + 1} of {ground.choice.rounds}")
            MEASURED[name](ground)


def _report(ground: Ground, asked: Asked, told: list[tuple[str, str]]) -> None:
    standings = stand(ground.figures, LINES)
    text = section(
        [*told, ("Asked for", str(asked.choice))], standings, [*ground.left_out, *ground.failed]
    )
    print(text)
    if asked.json is not None:
        asked.json.write_text(_as_json(ground, told, standings))
    if asked.page is not None:
        rewrite(asked.page, text)


def _as_json(ground: Ground, told: list[tuple[str, str]], standings: Sequence[Standing]) -> str:
    reached = {each.line.label: each.reached for each in standings if each.line.bounds}
    ratios = {each.line.label: each.ratio.median for each in standings if each.ratio}
    return json.dumps(
        {
            "facts": dict(told),
            "figures": ground.figures.as_dict(),
            "ratios": ratios,
            "reached": reached,
            "left_out": ground.left_out,
            "failed": ground.failed,
        },
        indent=2,
    )


def _stop(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
