"""A queue in front of SQLite's write lock: whoever finds it taken is woken when it is free.

SQLite has none. Who finds its lock taken sleeps for a while and looks again, up to a tenth of a
second later, whatever has become of the lock meanwhile: the lock lies idle while all sleep, and
whoever has slept longest looks least often.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from mailqueue.clock import SystemClock

SUFFIX: Final = ".turn"
PATIENCE_SECONDS: Final = 0.25
"""How long it is waited for at the most. SQLite's lock is what counts, and is asked for then."""
TRUST_SECONDS: Final = 5.0
"""After a turn that did not come, for how long nobody waits for another: whoever has it stands
still, and may do so outside of any transaction."""
_LOST_SECONDS: Final = 0.02
"""How often to look without being woken: whoever is killed wakes nobody."""
_MODE = 0o660
_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
_WAKES_ONE = getattr(select, "EPOLLEXCLUSIVE", None)
_clock = SystemClock()


class Turnstile:
    """A pipe with a name, ``<database>.turn``: locked by whose turn it is, who leaves a byte in it
    for whoever comes next.

    It is a courtesy among those who use it, and gives nobody a right: others take SQLite's lock
    without it, and so does whoever has waited for too long. See
    docs/decisions/0061-a-queue-before-the-lock.md.
    """

    __slots__ = ("__weakref__", "_descriptor", "_distrusted_until", "_poll")

    def __init__(self, descriptor: int, poll: select.epoll) -> None:
        self._descriptor = descriptor
        self._poll = poll
        self._distrusted_until = 0.0

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return that of the database ``path``; None where the system or our rights allow none."""
        if _WAKES_ONE is None:
            return None
        try:
            descriptor = _opened(path.with_name(path.name + SUFFIX))
        except OSError:
            return None
        try:
            return cls(descriptor, select.epoll())
        except OSError:
            os.close(descriptor)
            return None

    def enter(self, patience: float) -> bool:
        """Wait for the turn, at most ``patience`` seconds; returns whether it has come.

        Whoever has it says so by `leave`.
        """
        if self._takes():
            return True
        now = _clock.monotonic()
        if now < self._distrusted_until:
            return False
        with suppress(OSError):
            if self._comes(until=now + min(patience, PATIENCE_SECONDS)):
                return True
        self._distrusted_until = _clock.monotonic() + TRUST_SECONDS
        return False

    def leave(self) -> None:
        """Let the next one have its turn."""
        # A pipe that is full wakes whoever comes.
        with suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.write(self._descriptor, b"\0")

    def close(self) -> None:
        """Give it up, once; in the child of a fork the parent keeps its own."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            self._poll.close()
            os.close(descriptor)

    def __del__(self) -> None:
        """Close it where nobody has."""
        with suppress(OSError):
            self.close()

    def _comes(self, *, until: float) -> bool:
        # Anew each time: the kernel wakes the first of those who wait, and who registers is last.
        self._poll.register(self._descriptor, select.EPOLLIN | (_WAKES_ONE or 0))
        try:
            while not self._takes():
                left = until - _clock.monotonic()
                if left <= 0:
                    return False
                self._poll.poll(min(left, _LOST_SECONDS))
                self._drain()
        finally:
            self._poll.unregister(self._descriptor)
        return True

    def _takes(self) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def _drain(self) -> None:
        # All of it: a byte of long ago would wake somebody for nothing.
        with suppress(BlockingIOError):
            os.read(self._descriptor, 4096)


def _opened(file: Path) -> int:
    try:
        descriptor = os.open(file, _FLAGS)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkfifo(file, _MODE)
            os.chmod(file, _MODE)  # the umask has taken its share
        descriptor = os.open(file, _FLAGS)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileExistsError(f"{file} is no pipe")
    return descriptor
