"""The bells beside a SQLite file, found and rung at the price of two system calls."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from mailqueue.clock import SystemClock

KIND: Final = "bell"
# sockaddr_un holds 108 bytes on Linux and 104 elsewhere, with a NUL at the end.
_LONGEST_ADDRESS = 103
_SETTLED = 1_000_000_000
"""Nanoseconds after which a directory's time stamp tells of every change that came before.

Stamps have the grain of the kernel's tick or, on some file systems, of a second: a bell that is
hung in the same grain as another leaves no trace in them.
"""
_DIRECTORIES: Final = 64


@dataclass(frozen=True, slots=True)
class _Row:
    """The bells of one outbox, as they hung when their directory was last changed."""

    directory: str
    changed: int
    bells: tuple[Path, ...]


_rows: dict[Path, _Row] = {}
_clock = SystemClock()


def ring_bells(path: Path) -> None:
    """Ring whatever bell hangs beside ``path``, which holds no links.

    Never blocks. Raises `OSError` where the directory cannot be read.
    """
    for bell in _bells(path):
        # One that is full has been rung often enough; one without rights is not for us.
        with suppress(OSError):
            _ring_one(bell)


def _bells(path: Path) -> tuple[Path, ...]:
    """Return the bells of ``path``; the directory is only read when it has changed."""
    row = _rows.get(path)
    directory = str(path.parent) if row is None else row.directory
    changed = os.stat(directory).st_mtime_ns
    if row is not None and row.changed == changed:
        return row.bells
    beginning = f"{path.name}.{KIND}-"
    names = [name for name in os.listdir(directory) if name.startswith(beginning)]
    bells = tuple(path.with_name(name) for name in names)
    if len(_rows) >= _DIRECTORIES:
        _rows.clear()
    if 1000 * _clock.now() - changed > _SETTLED:
        _rows[path] = _Row(directory, changed, bells)
    return bells


def _ring_one(bell: Path) -> None:
    try:
        if (address := _short_address(bell)) is not None:
            _sender().sendto(b"\0", address)
            return
        with address_of(bell) as address:
            _sender().sendto(b"\0", address)
    except ConnectionRefusedError:
        # Nobody has it bound: its daemon was killed. Workers' names are not used again.
        if stat.S_ISSOCK(bell.lstat().st_mode):
            bell.unlink()


@lru_cache(maxsize=_DIRECTORIES)
def _short_address(bell: Path) -> str | None:
    return str(bell) if len(os.fsencode(bell)) <= _LONGEST_ADDRESS else None


@dataclass(slots=True)
class _Sending:
    """The socket that this process rings with; threads share it, and a child has its own."""

    process: int = 0
    socket: socket.socket | None = None


_sending = _Sending()


def _sender() -> socket.socket:
    sender = _sending.socket
    if sender is None or _sending.process != os.getpid():
        if sender is not None:
            # A child that closed what it inherited may have the number in use for something else.
            sender.detach()
        sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sender.setblocking(False)
        _sending.socket, _sending.process = sender, os.getpid()
    return sender


@contextmanager
def address_of(bell: Path) -> Iterator[str]:
    """Yield an address for the socket ``bell``, whose directory may be deeper than addresses go.

    On Linux a long path is named through the open directory; elsewhere it raises `OSError`.
    """
    if (short := _short_address(bell)) is not None:
        yield short
        return
    directory = os.open(bell.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{bell.name}"
    finally:
        os.close(directory)
