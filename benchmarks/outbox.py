"""The outboxes that are filled and drained: a new one for each measurement.

Which database is a URL: for SQLite ``sqlite:///DIRECTORY``, below which each outbox is a file.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import make_url

from benchmarks import mails
from benchmarks.program import Program
from mailqueue import Outbox

COPIED_AT_ONCE = 50_000
_TABLES = ("messages", "contents", "recipients")
_COPIED = {
    "id": "number",
    "message_id": "number",
    "header_message_id": "'<' || number || '@bench.example.org>'",
    "address": "'reader-' || number || '@example.net'",
    # Every mail has an instant of its own, and is due.
    "due_at": "due_at - :high + number",
}
_UNFINISHED = "SELECT 1 FROM mailqueue_recipients WHERE finished_at IS NULL LIMIT 1"
_STATES = "SELECT state, count(*) FROM mailqueue_recipients GROUP BY state"


class UnknownDatabase(Exception):
    """The URL names a database that is not measured here."""


@dataclass(frozen=True, slots=True)
class MeasuredOutbox:
    """One outbox. It is asked by plain SQL, as anybody with a shell could."""

    url: str
    path: Path

    def fill(self, first: int, count: int, *, log: Path, timeout: float) -> None:
        """Put mails in by `Outbox.enqueue_many`, from a process of its own."""
        with Program("benchmarks.producer", "fill", self.url, first, count, log=log) as producer:
            producer.hear("ready", timeout=timeout)
            producer.say("go")
            producer.hear("done", timeout=timeout)

    def is_finished(self) -> bool:
        """Whether no recipient waits or is being sent to."""
        with _connected(self.path) as connection:
            return connection.execute(_UNFINISHED).fetchone() is None

    def states(self) -> dict[str, int]:
        """Return how many recipients are in each state."""
        with _connected(self.path) as connection:
            return dict(connection.execute(_STATES).fetchall())

    def multiply(self, queued: int) -> None:
        """Fill it up to ``queued`` mails by INSERT ... SELECT from its first one."""
        with Outbox(self.url) as outbox:
            outbox.enqueue(mails.raw(0))
        with _connected(self.path) as connection:
            for low in range(2, queued + 1, COPIED_AT_ONCE):
                numbers = {"low": low, "high": min(low + COPIED_AT_ONCE - 1, queued)}
                with connection:
                    for table in _TABLES:
                        connection.execute(_copying(connection, table), numbers)
                # Else the log grows as large as the file.
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@dataclass(slots=True)
class Outboxes:
    """Makes outboxes in the database of ``url``; raises `UnknownDatabase`."""

    url: str
    _directory: Path = field(init=False)
    _serial: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        """See that it is one that is known here."""
        parsed = make_url(self.url)
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise UnknownDatabase(f"only sqlite:///DIRECTORY is measured here, not {self.url}")
        self._directory = Path(parsed.database)
        self._directory.mkdir(parents=True, exist_ok=True)

    def new(self) -> MeasuredOutbox:
        """Return an outbox with its tables and nothing in it."""
        path = (self._directory / f"outbox-{next(self._serial):04}.db").resolve()
        url = f"sqlite:///{path}"
        with Outbox(url) as outbox:
            outbox.create()
        return MeasuredOutbox(url, path)

    def remove(self, outbox: MeasuredOutbox) -> None:
        """Give its space back."""
        for path in outbox.path.parent.glob(f"{outbox.path.name}*"):
            path.unlink()


def _copying(connection: sqlite3.Connection, table: str) -> str:
    name = f"mailqueue_{table}"
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
    values = ", ".join(_COPIED.get(column, column) for column in columns)
    key = "message_id" if table == "contents" else "id"
    return (
        "WITH RECURSIVE numbers (number) AS "
        "(SELECT :low UNION ALL SELECT number + 1 FROM numbers WHERE number < :high) "
        f"INSERT INTO {name} ({', '.join(columns)}) SELECT {values} FROM {name}, numbers "
        f"WHERE {name}.{key} = 1"
    )


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=60)
    try:
        yield connection
    finally:
        connection.close()
