"""A real outbox in a file: filled as producers fill it, asked as a person with a shell asks."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mailqueue.clock import SystemClock
from mailqueue.mail.content import freeze
from mailqueue.mail.envelope import Envelope
from mailqueue.outbox import schema
from mailqueue.outbox.doorbell import ring_after_commit
from mailqueue.outbox.engine import write_engine
from mailqueue.outbox.enqueue import Draft, Options, enqueue
from tests.support.shell import Row, shell_on

SENDER = "sender@example.org"
BODY = b"Subject: hello\r\n\r\nhello\r\n"


class PlainOutbox:
    """An outbox, filled as producers fill it and read by plain SQL. ``directory``: for files."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self.directory = directory
        self._numbers = itertools.count(1)
        self._engine = write_engine(url)
        self._shell = shell_on(url)

    @property
    def is_file(self) -> bool:
        """Whether it stands in a SQLite file."""
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Let go of the database."""
        self._shell.close()
        self._engine.dispose()

    def draft(
        self, *addresses: str, raw: bytes = BODY, sender: str = SENDER, **options: Any
    ) -> Draft:
        """Return a message for ``addresses`` with a Message-ID of its own."""
        message_id = f"<{next(self._numbers)}@example.org>"
        content, digest = freeze(
            raw, make_message_id=lambda: message_id, date="Mon, 1 Jan 2024 00:00:00 +0000"
        )
        return Draft(Envelope(sender, addresses), content, digest, Options(**options))

    def put(self, *addresses: str, now: int | None = None, **message: Any) -> int:
        """Store one message (see `draft`) and ring; returns its number."""
        return self.put_all([self.draft(*addresses, **message)], now=now)[0]

    def put_all(self, drafts: Sequence[Draft], *, now: int | None = None) -> list[int]:
        """Store ``drafts`` in one transaction and ring; returns their numbers."""
        with self._engine.begin() as connection:
            ring_after_commit(connection)
            receipts = enqueue(connection, drafts, now=now or SystemClock().now())
        return [receipt.id for receipt in receipts]

    def query(self, sql: str, *values: Any) -> list[Row]:
        """Return the rows that ``sql`` finds."""
        return self._shell.ask(sql, *values)

    def value(self, sql: str, *values: Any) -> Any:
        """Return the only column of the only row."""
        ((value,),) = self.query(sql, *values)
        return value

    def execute(self, sql: str, *values: Any) -> None:
        """Change something as a person with a shell would: without our engine, and unannounced."""
        self._shell.execute(sql, *values)

    def states(self) -> Counter[str]:
        """Return how many recipients are in each state."""
        rows = self.query(
            "SELECT state, count(*) AS count FROM mailqueue_recipients GROUP BY state"
        )
        return Counter({row["state"]: row["count"] for row in rows})

    def recipient(self, address: str) -> Row:
        """Return the row of the only recipient of this address."""
        (row,) = self.query("SELECT * FROM mailqueue_recipients WHERE address = ?", address)
        return row

    def state(self, address: str) -> str:
        """Return the state of the only recipient of this address."""
        return str(self.recipient(address)["state"])

    def attempts(self, address: str = "%") -> list[Row]:
        """Return the attempts for recipients whose address is like this, in their order."""
        return self.query(
            "SELECT a.*, r.address FROM mailqueue_attempts a"
            " JOIN mailqueue_recipients r ON r.id = a.recipient_id"
            " WHERE r.address LIKE ? ORDER BY a.id",
            address,
        )

    def attempt(self, address: str) -> Row:
        """Return the only attempt for this address."""
        (row,) = self.attempts(address)
        return row

    def relay(self, name: str = "main") -> Row:
        """Return what SQL sees of a relay."""
        (row,) = self.query("SELECT * FROM mailqueue_relays WHERE name = ?", name)
        return row

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Keep everybody else from writing for a while, as a forgotten shell does."""
        return self._shell.locked()


class OutboxFile(PlainOutbox):
    """One in the SQLite file ``path``, which is made if it is not there."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists()
        self.path = path
        url = f"sqlite:///{path}"
        if is_new:
            engine = write_engine(url)
            schema.create(engine)
            engine.dispose()
        super().__init__(url, path.parent)
