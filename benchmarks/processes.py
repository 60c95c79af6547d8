"""What a tree of processes has used, from /proc (proc(5)): CPU time and memory."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PPID, _UTIME, _CSTIME = 1, 11, 14
"""Where the fields stand behind the name, which is in parentheses and may hold blanks."""
SAMPLED_EVERY = 0.25


def cpu_seconds(root: int) -> float:
    """Return the CPU time, user and system, of ``root`` and all below it.

    With that of processes that have ended and were waited for by one of these.
    """
    table = _table()
    return sum(sum(map(int, table[pid][_UTIME : _CSTIME + 1])) for pid in _below(root, table)) / (
        _TICKS
    )


def tree(root: int) -> list[int]:
    """Return ``root`` and all processes below it."""
    return list(_below(root, _table()))


def pss_mib(root: int) -> float:
    """Return the proportional set size of the tree: pages in common are counted once."""
    return sum(_pss_kib(pid) for pid in tree(root)) / 1024


class PeakMemory:
    """Samples the memory of a tree while it is entered; ``mib`` is the most that was seen."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.mib = 0.0

    def __enter__(self) -> PeakMemory:
        """Begin to sample."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the last sample."""
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._stop.wait(SAMPLED_EVERY)
            self.mib = max(self.mib, pss_mib(self._root))


def _table() -> dict[int, list[str]]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # It may have ended meanwhile.
            with contextlib.suppress(OSError):
                found[int(name)] = _fields(Path(f"/proc/{name}/stat").read_text("utf-8", "replace"))
    return found


def _fields(stat: str) -> list[str]:
    return stat.rpartition(")")[2].split()


def _below(root: int, table: dict[int, list[str]]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for pid, fields in table.items():
        children.setdefault(int(fields[_PPID]), []).append(pid)
    waiting = [root] if root in table else []
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting.extend(children.get(pid, ()))


def _pss_kib(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line[:4] == "Pss:"), 0)
