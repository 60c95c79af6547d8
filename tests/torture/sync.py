"""How each commit of this process is made: whether it is on the disk when it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from sqlalchemy import Connection, Engine, event

from mailqueue.outbox.flush import Flush
from mailqueue.outbox.writing import _Kept

FULL = 2
"""``PRAGMA synchronous=FULL``: the log is synced before a commit returns."""


@dataclass(slots=True, eq=False)
class Commit:
    """What the connection of a commit had in force."""

    database: str | None
    synchronous: int
    journal_mode: str
    is_flushed: bool = False
    """Whether the log was brought to the disk behind it, before anybody was told."""

    @property
    def is_durable(self) -> bool:
        """Whether it survives the power once it has returned."""
        is_synced = self.synchronous >= FULL or self.is_flushed
        return is_synced and self.journal_mode == "wal"


@contextmanager
def commits() -> Iterator[list[Commit]]:
    """Collect every commit of every SQLAlchemy engine, and of every kept connection.

    Those that can only read are left out.
    """
    made: list[Commit] = []

    def note(connection: Connection) -> None:
        def ask(pragma: str) -> str:
            return str(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())

        if ask("query_only") == "0":
            made.append(
                Commit(connection.engine.url.database, int(ask("synchronous")), ask("journal_mode"))
            )

    waiting: list[tuple[Flush, Commit]] = []

    def commit(kept: _Kept) -> None:
        note(kept.connection)
        if kept.flush is not None:
            waiting.append((kept.flush, made[-1]))
        kept.driver.commit()

    def flush(log: Flush) -> None:
        before = [each for each in waiting if each[0] is log]
        flushed(log)
        for each in before:
            each[1].is_flushed = True
            waiting.remove(each)

    flushed = Flush.__call__
    event.listen(Engine, "commit", note)
    try:
        with (
            mock.patch.object(_Kept, "commit", commit),
            mock.patch.object(Flush, "__call__", flush),
        ):
            yield made
    finally:
        event.remove(Engine, "commit", note)
