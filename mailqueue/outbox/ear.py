"""A connection to PostgreSQL that listens for the doorbell, and does nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from mailqueue.outbox.faults import translating
from mailqueue.outbox.location import parse_url
from mailqueue.outbox.notify import CHANNEL
from mailqueue.outbox.session import arguments

if TYPE_CHECKING:
    from psycopg import AsyncConnection


class Ear:
    """Hears NOTIFY in the running event loop; `open` makes one. Raises `OutboxError` throughout."""

    def __init__(self, connection: AsyncConnection[Any], url: URL) -> None:
        self._connection = connection
        self._url = url

    @classmethod
    async def open(cls, url: str | URL) -> Self:
        """Connect to the server that ``url`` names, and listen there."""
        # An extra, which a SQLite file does not need.
        from psycopg import AsyncConnection  # noqa: PLC0415

        known = parse_url(url).set(drivername="postgresql+psycopg")
        _, given = known.get_dialect()().create_connect_args(known)
        ours = arguments(known, name="mailqueue-listening")
        with _translating(known):
            connection = await AsyncConnection.connect(**ours, **given, autocommit=True)
            try:
                await _listen(connection)
            except BaseException:
                await connection.close()
                raise
        return cls(connection, known)

    def fileno(self) -> int:
        """Return what becomes readable when there may be something to hear."""
        with _translating(self._url):
            return self._connection.fileno()

    def hear(self) -> bool:
        """Take what has come, without waiting; returns whether somebody has rung."""
        heard = False
        with _translating(self._url):
            self._connection.pgconn.consume_input()
            while self._connection.pgconn.notifies() is not None:
                heard = True
        return heard

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self._connection.close()


_CHANNEL: Final = f"SELECT {CHANNEL}"


async def _listen(connection: AsyncConnection[Any]) -> None:
    from psycopg.sql import SQL, Identifier  # noqa: PLC0415 - an extra, as above

    cursor = await connection.execute(_CHANNEL)
    row = await cursor.fetchone()
    if row is not None and row[0] is not None:
        await connection.execute(SQL("LISTEN {}").format(Identifier(row[0])))


@contextmanager
def _translating(url: URL) -> Iterator[None]:
    from psycopg import Error  # noqa: PLC0415

    with translating(url):
        try:
            yield
        except Error as error:
            raise DBAPIError.instance(
                None, None, error, Error, hide_parameters=True, connection_invalidated=True
            ) from error
