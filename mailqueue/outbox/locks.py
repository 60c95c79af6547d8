"""A lock for each worker, held as long as it lives, so that others can tell that it has died.

The kernel lets go of it with the process, however that ends. SQLite works on one machine
only, and so does this.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from mailqueue.errors import AlreadyRunningError
from mailqueue.outbox.location import sidecar

_KIND = "worker"
_MODE = 0o660
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class WorkerLock:
    """The file ``<database>.worker-<worker>``, locked by this process.

    Acquire it before the worker is registered or claims anything; release it after the
    last lease was handed back. Acquiring and releasing twice are harmless.
    """

    def __init__(self, path: Path, worker: str) -> None:
        self._path = sidecar(path, _KIND, worker)
        self._worker = worker
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock. Raises `AlreadyRunningError` if another process has it, or `OSError`."""
        if self._descriptor is None:
            self._descriptor = self._locked()

    def release(self) -> None:
        """Let go of the lock and remove its file."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        self._path.unlink(missing_ok=True)
        os.close(descriptor)

    def __enter__(self) -> WorkerLock:
        self.acquire()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.release()

    def _locked(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | _FLAGS, _MODE)
            try:
                if self._lock(descriptor) and _is_still(self._path, descriptor):
                    with suppress(PermissionError):  # a leftover may belong to another user
                        os.fchmod(descriptor, _MODE)
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _lock(self, descriptor: int) -> bool:
        """Return whether the lock was taken; False if somebody was just asking for it."""
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            # Whoever only asks shares the lock, for a moment; a worker does not.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(
                f"worker {self._worker!r} is running already: another process has {self._path} "
                "locked; give each daemon a name of its own"
            ) from None
        return False


def is_dead(path: Path, worker: str) -> bool:
    """Return whether ``worker`` of the database file ``path`` is proven to have died.

    The proof is a lock file that nobody holds. Without one there is no proof: its leases
    run out in their own time.
    """
    try:
        descriptor = os.open(sidecar(path, _KIND, worker), os.O_RDONLY | _FLAGS)
    except (OSError, ValueError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def is_locked(path: Path, worker: str) -> bool:
    """Return whether there is a lock file of ``worker`` that somebody holds."""
    try:
        return sidecar(path, _KIND, worker).exists() and not is_dead(path, worker)
    except ValueError:
        return False


def clear(path: Path, worker: str) -> None:
    """Remove the lock file of a dead worker, after its leases were settled; not of a living one."""
    with suppress(OSError, ValueError):
        file = sidecar(path, _KIND, worker)
        descriptor = os.open(file, os.O_RDONLY | _FLAGS)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.unlink()
            # Its doorbell too: nobody answers it any more, and ringers would try it for ever.
            sidecar(path, "bell", worker).unlink(missing_ok=True)
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Tell whether the locked file is the one with the name: it may have been cleared meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
