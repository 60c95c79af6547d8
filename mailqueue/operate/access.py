"""How an operator's verbs reach the outbox: one way to write, and another to read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from sqlalchemy import URL, Connection, Engine

from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.engine import read_engine, write_engine
from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import database_path, parse_url
from mailqueue.outbox.outcome import committing
from mailqueue.outbox.schema import check


class Access:
    """The engines of an operator: made for a URL or a path, or an application's to write with."""

    def __init__(
        self, place: str | URL | PathLike[str] | Engine, busy_timeout: float, *, notify: bool = True
    ) -> None:
        self._notify = notify
        self._own: list[Engine] = []
        seen: URL | Path | None
        if isinstance(place, Engine):
            self._writer = place
            # Transactions of an application's on SQLite may all take the write lock, and a long
            # look would hold it. On a server its engine does for looking, too.
            seen = database_path(place.url)
        else:
            seen = parse_url(place)
            self._writer = self._made(write_engine(seen, busy_timeout=busy_timeout))
        self._reader = (
            self._writer
            if seen is None
            else self._made(read_engine(parse_url(seen), busy_timeout=busy_timeout))
        )

    def _made(self, engine: Engine) -> Engine:
        self._own.append(engine)
        return engine

    @property
    def url(self) -> URL:
        """Where the outbox is."""
        return self._writer.url

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that is committed at the end; raises `OutboxError`."""
        with translating(self._writer.url), committing(self._writer) as connection:
            check(connection)
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that holds nobody up; raises `OutboxError`."""
        with translating(self._reader.url, reading=True), self._reader.begin() as connection:
            check(connection)
            yield connection

    def ring_after_commit(self, connection: Connection) -> None:
        """Wake the daemons when the transaction of ``connection`` is committed."""
        if self._notify or connection.dialect.name != "postgresql":
            ring_after_commit(connection)

    def close(self) -> None:
        """Close the connections, but those of an application's engine."""
        for engine in self._own:
            engine.dispose()
