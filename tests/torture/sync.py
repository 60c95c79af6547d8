"""How each commit of this process is made: whether it is on the disk when it returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, event

FULL = 2
"""``PRAGMA synchronous=FULL``: the log is synced before a commit returns."""


@dataclass(frozen=True, slots=True)
class Commit:
    """What the connection of a commit had in force."""

    database: str | None
    synchronous: int
    journal_mode: str

    @property
    def is_durable(self) -> bool:
        """Whether it survives the power once it has returned."""
        return self.synchronous >= FULL and self.journal_mode == "wal"


@contextmanager
def commits() -> Iterator[list[Commit]]:
    """Collect every commit of every SQLAlchemy engine; those that can only read are left out."""
    made: list[Commit] = []

    def note(connection: Connection) -> None:
        def ask(pragma: str) -> str:
            return str(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())

        if ask("query_only") == "0":
            made.append(
                Commit(connection.engine.url.database, int(ask("synchronous")), ask("journal_mode"))
            )

    event.listen(Engine, "commit", note)
    try:
        yield made
    finally:
        event.remove(Engine, "commit", note)
