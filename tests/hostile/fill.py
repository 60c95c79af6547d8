"""Fills the file system of a directory with mail, then counts what is there.

Prints how many messages were acknowledged, how many are found, and how many were refused.
Run by `tests/hostile/test_disk.py` on a file system of its own.
"""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

from mailqueue import Limits, Outbox, OutboxFullError

RAW = b"From: s@example.org\r\nTo: a@example.net\r\n\r\n" + b"x" * 70 + b"\r\n" * 4000
ENOUGH = 3


def main(directory: Path) -> None:
    """Enqueue until the disk has refused a few times."""
    path = directory / "outbox.db"
    kept: list[int] = []
    refused = 0
    with Outbox(f"sqlite:///{path}", limits=Limits(free_disk=None)) as outbox:
        while refused < ENOUGH:
            try:
                kept.append(outbox.enqueue(RAW).id)
            except OutboxFullError:
                refused += 1
        found = [outbox.status(number).id for number in kept]
    with sqlite3.connect(path) as shell:
        assert shell.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    shell.close()
    sys.stdout.write(f"{len(kept)} {len(found)} {refused}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
