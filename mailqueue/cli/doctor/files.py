"""The outbox's file: who may read and write it, and what disk it is on."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mailqueue.cli.doctor.finding import Finding, warning, well, wrong
from mailqueue.cli.thresholds import said_size
from mailqueue.outbox.checkpoint import log_size
from mailqueue.outbox.mounts import FLEETING, NETWORK, filesystem

if TYPE_CHECKING:
    from mailqueue.config import Config

_LARGE_LOG = 256 * 2**20
_PROC = Path("/proc")


def examined(path: Path, config: Config | None) -> Iterator[Finding]:
    """Yield what is found about the database file ``path`` and its directory."""
    yield _filesystem(path)
    yield from _disk(path, config)
    if not path.exists():
        return
    yield from _modes(path)
    yield from _log(path)


def _filesystem(path: Path) -> Finding:
    kind = filesystem(path.parent)
    if kind in NETWORK:
        return wrong(
            "file system",
            f"{path} is on {kind}, a network file system: SQLite's locks cannot be relied on "
            "there, and its log needs memory that all users share",
            "move the outbox to a local disk",
        )
    if kind in FLEETING:
        return warning(
            "file system",
            f"{path} is on {kind}, which is lost with the power",
            "move the outbox to a disk, unless this is a trial",
        )
    return well("file system", f"{path} is on {kind or 'one of unknown kind'}")


def _disk(path: Path, config: Config | None) -> Iterator[Finding]:
    try:
        found = os.statvfs(path.parent)
    except OSError as error:
        yield wrong("disk", f"{path.parent}: {error.strerror}", "make the directory, mode 2770")
        return
    free = found.f_bavail * found.f_frsize
    floor = 256 * 2**20 if config is None else config.limits.free_disk
    said = f"{said_size(free)} free, {said_size(floor)} must stay so"
    if free < floor:
        yield wrong("disk", f"{said}: nothing is enqueued", "make room, or run `mailqueue prune`")
    elif free < 2 * floor:
        yield warning("disk", said, "make room before it is less")
    else:
        yield well("disk", said)


def _modes(path: Path) -> Iterator[Finding]:
    mode, parent = path.stat().st_mode, path.parent.stat().st_mode
    said = f"{path} has mode {stat.S_IMODE(mode):04o}, its directory {stat.S_IMODE(parent):04o}"
    flaws = [*_flaws(mode, parent)]
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        yield warning("access", f"this user may not write {path}", "run as a user of its group")
    for flaw, remedy in flaws:
        yield warning("modes", f"{said}: {flaw}", remedy)
    if not flaws:
        yield well("modes", said)


def _flaws(mode: int, parent: int) -> Iterator[tuple[str, str]]:
    if mode & stat.S_IRWXO:
        yield "every user may read or write all mail", "chmod o-rwx the file and its -wal and -shm"
    elif parent & stat.S_IWOTH and not parent & stat.S_ISVTX:
        yield "every user may put another file in its place", "chmod o-w the directory"
    if not mode & stat.S_IWGRP:
        yield "its group may not write it, so only its owner can enqueue", "chmod 660 the file"
    if mode & stat.S_IWGRP and not parent & stat.S_ISGID:
        yield (
            "the log may come to belong to a group that shuts the others out",
            "chmod 2770 the directory",
        )


def _log(path: Path) -> Iterator[Finding]:
    size = log_size(path)
    if size < _LARGE_LOG:
        yield well("log", f"SQLite's log has {said_size(size)}")
        return
    users = ", ".join(open_by(path)) or "nobody that this user may see"
    yield warning(
        "log",
        f"SQLite's log has {said_size(size)}: no daemon empties it, or somebody has been reading "
        f"for long; the file is open in: {users}",
        "end the long reading, such as a database shell or a copy that hangs",
    )


def open_by(path: Path, *, proc: Path = _PROC) -> Iterator[str]:
    """Yield the processes that have ``path`` open, as far as this user may see (proc(5))."""
    wanted = str(path)
    for process in sorted(proc.glob("[0-9]*")):
        try:
            has_it = any(_leads_to(link) == wanted for link in (process / "fd").iterdir())
            name = (process / "comm").read_text("utf-8", "replace").strip()
        except OSError:
            continue
        if has_it:
            yield f"{name} ({process.name})"


def _leads_to(link: Path) -> str | None:
    try:
        return os.readlink(link)
    except OSError:  # closed since it was listed
        return None
