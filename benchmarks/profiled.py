"""A program under cProfile, each thread by itself: ``python -m benchmarks.profiled DIR MODULE …``.

Writes one file for each thread, named after it, into DIR. Only up to Python 3.11: later on
cProfile listens to all threads at once and mixes them up.
"""

from __future__ import annotations

import cProfile
import importlib
import os
import pstats
import re
import runpy
import sys
import threading
import time
from pathlib import Path

LAST_VERSION = (3, 11)
LOADED_BEFORE = (
    "benchmarks.producer",
    "mailqueue.assembly",
    "mailqueue.cli.run",
    "mailqueue.client.creation",
    "mailqueue.config",
    "sqlalchemy.dialects.sqlite",
)
"""Loading modules is most of a short run, and nothing that a mail costs."""


class Threads:
    """Gives each thread that begins a profile of its own."""

    def __init__(self) -> None:
        self._profiles: list[tuple[str, cProfile.Profile]] = []

    def begin(self) -> None:
        """Profile this thread, and those that it begins from here on."""
        threading.setprofile(self._enter)
        self._begin_one()

    def write(self, directory: Path) -> None:
        """Write what was found."""
        for name, profile in self._profiles:
            slug = re.sub(r"\W+", "-", name)
            profile.create_stats()
            stats = pstats.Stats(profile)
            stats.dump_stats(directory / f"{os.getpid()}-{slug}.prof")

    def _enter(self, *_event: object) -> None:
        # The first event of a new thread; from here on the profile takes this function's place.
        self._begin_one()

    def _begin_one(self) -> None:
        # CPU time, so that neither sleep nor waiting for another thread counts.
        profile = cProfile.Profile(time.thread_time)
        self._profiles.append((threading.current_thread().name, profile))
        profile.enable()


def main() -> None:
    """Run the module as if it had been named to Python."""
    directory, module, *arguments = sys.argv[1:]
    for name in LOADED_BEFORE:
        importlib.import_module(name)
    threads = Threads()
    sys.argv = [module, *arguments]
    threads.begin()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        threading.setprofile(None)
        threads.write(Path(directory))


if __name__ == "__main__":
    main()
