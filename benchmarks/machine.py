"""Where it was measured, and with which versions: figures mean nothing without."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks import postfix
from benchmarks.program import ROOT

NOT_FLUSHED = frozenset({"tmpfs", "ramfs", "overlay"})
"""File systems on which a flush costs nothing, or something else than on a disk."""


def facts(directory: Path) -> list[tuple[str, str]]:
    """Return name and value of each fact; ``directory`` is where the queues were."""
    return [
        ("Date", datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")),
        ("Processor", f"{_processor()}, {os.cpu_count()} cores"),
        ("Memory", f"{_memory_gib():.1f} GiB"),
        ("Kernel", f"{platform.system()} {platform.release()}"),
        ("File system", _file_system(directory)),
        ("Load before", " ".join(f"{load:.2f}" for load in os.getloadavg())),
        ("mailqueue", f"{version('mailqueue')}{_commit()}"),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("uvloop", _version("uvloop")),
        ("aiosmtplib", _version("aiosmtplib")),
        ("Postfix", "no" if postfix.missing() else postfix.postconf("mail_version")),
    ]


def kind_of_file_system(directory: Path) -> str:
    """Return the type of the file system that ``directory`` is on."""
    return _mount(directory)[1]


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _file_system(directory: Path) -> str:
    _, kind, options = _mount(directory)
    return f"{kind} ({options})"


def _mount(directory: Path) -> tuple[str, str, str]:
    mounts = [line.split()[1:4] for line in Path("/proc/mounts").read_text().splitlines()]
    over = [mount for mount in mounts if directory.resolve().is_relative_to(mount[0])]
    # The last of the longest: a later mount covers an earlier one.
    point, kind, options = max(reversed(over), key=lambda mount: len(mount[0]))
    return point, kind, options


def _commit() -> str:
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return f" ({said.stdout.strip()})" if said.returncode == 0 else ""


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
