"""A failure is replayed by its seed: in another process, on another day."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]


def _history(seed: int, *options: str, hash_seed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.simulation", str(seed), *options],
        cwd=_ROOT,
        env=os.environ | {"PYTHONHASHSEED": str(hash_seed)},
        stdout=subprocess.PIPE,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("options", [(), ("--pipelining",)])
def test_two_processes_live_through_the_same_history(options: tuple[str, ...]) -> None:
    """However strings are hashed and wherever things lie in memory, not a line is different."""
    running = [_history(2, *options, hash_seed=number) for number in (1, 2)]
    first, second = (process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert first.count(b"\n") > 100
    assert first == second
