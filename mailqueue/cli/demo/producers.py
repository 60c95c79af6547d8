"""What applications do in the demo: enqueue, and everything that can be done wrong with it."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from mailqueue import AsyncOutbox, Limits
from mailqueue.cli.demo.chronicle import Chronicle, Enqueued, Injection
from mailqueue.cli.demo.daemon import environment
from mailqueue.cli.demo.lookout import StuckError
from mailqueue.cli.demo.mails import Mail
from mailqueue.client.outgoing import Outgoing
from mailqueue.clock import MICROSECONDS, Clock
from mailqueue.errors import MailqueueError
from mailqueue.outbox.engine import async_write_engine

VICTIM = "victim@example.net"
"""Whom each injection tries to send to."""
_INJECTED = f"x@example.net>\r\nRCPT TO:<{VICTIM}"
_SMUGGLED = f"\n.\r\nMAIL FROM:<>\r\nRCPT TO:<{VICTIM}>\r\nDATA\r\n"
_BREAK_SENDER = "UPDATE mailqueue_messages SET sender = :value WHERE id = :id"
_BREAK_CONTENT = (
    "UPDATE mailqueue_contents SET raw = CAST(raw || :value AS BLOB) WHERE message_id = :id"
)
_HOSTILE = {
    "a line break in an address": Outgoing(
        Mail(("customer-0@example.net",)).message, recipients=[_INJECTED]
    ),
    "a line break in a header": Outgoing(
        f"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\rBcc: {VICTIM}\r\n\r\n".encode()
    ),
    "a NUL in a header": Outgoing(
        b"From: a@example.org\r\nTo: b@example.net\r\nSubject: x\0y\r\n\r\n"
    ),
    "two addresses in one": Outgoing(
        Mail(("customer-0@example.net",)).message, recipients=[f"x@example.net, {VICTIM}"]
    ),
}


class RolledBack(Exception):
    """The application's transaction comes to nothing."""


class Producers:
    """Applications that share one outbox; what they do stands in ``chronicle``."""

    def __init__(self, url: str, *, chronicle: Chronicle, clock: Clock) -> None:
        self._url = url
        self._outbox = AsyncOutbox(url, limits=Limits(free_disk=None))
        self._engine = async_write_engine(url)
        self._chronicle = chronicle
        self._clock = clock

    async def create(self) -> None:
        """Create the outbox, and note how it commits."""
        await self._outbox.create()
        async with self._engine.begin() as connection:
            (synchronous,) = (await connection.execute(text("PRAGMA synchronous"))).one()
        self._chronicle.synchronous = synchronous

    async def close(self) -> None:
        """Close the connections."""
        await self._outbox.close()
        await self._engine.dispose()

    async def enqueue(self, mails: Sequence[Mail]) -> None:
        """Enqueue ``mails`` in one transaction."""
        receipts = await self._outbox.enqueue_many([mail.outgoing() for mail in mails])
        for mail, receipt in zip(mails, receipts, strict=True):
            self._chronicle.enqueued.append(Enqueued(mail, receipt.id))

    async def enqueue_twice(self, mail: Mail) -> None:
        """Enqueue ``mail`` and, as after a lost answer, once more with its idempotency key."""
        outgoing = replace(mail.outgoing(), idempotency_key=f"key of {mail.recipients[0]}")
        first = await self._outbox.enqueue(outgoing)
        second = await self._outbox.enqueue(outgoing)
        self._chronicle.enqueued.append(Enqueued(mail, first.id))
        self._chronicle.again.append(second.duplicate and second.id == first.id)

    async def roll_back(self, mails: Sequence[Mail]) -> None:
        """Enqueue ``mails`` in a transaction of the application's own, which fails afterwards."""
        try:
            async with self._engine.begin() as connection:
                for mail in mails:
                    await self._outbox.enqueue(mail.outgoing(), connection=connection)
                raise RolledBack
        except RolledBack:
            self._chronicle.rolled_back += [one for mail in mails for one in mail.recipients]

    async def enqueue_and_die(self, mail: Mail) -> None:
        """Let another process enqueue ``mail`` and be killed as soon as that has returned."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailqueue.cli.demo.doomed", self._url, *mail.recipients),
            stdout=PIPE,
            env=environment(),
            start_new_session=True,
        )
        try:
            said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if not said:
            raise StuckError(f"a producer that was to be killed ended with {process.returncode}")
        self._chronicle.enqueued.append(Enqueued(mail, int(said)))
        self._chronicle.orphaned += mail.recipients

    async def enqueue_and_cancel(self, mail: Mail) -> None:
        """Enqueue ``mail`` for later, and think better of it."""
        now = datetime.fromtimestamp(self._clock.now() / MICROSECONDS, UTC)
        later = replace(mail.outgoing(), send_at=now + timedelta(hours=1))
        receipt = await self._outbox.enqueue(later)
        await self._outbox.cancel(receipt.id)
        self._chronicle.enqueued.append(Enqueued(mail, receipt.id))

    async def inject(self) -> None:
        """Hand over what would say more to a relay than it should."""
        for what, outgoing in _HOSTILE.items():
            error = ""
            try:
                await self._outbox.enqueue(outgoing)
            except MailqueueError as refusal:
                error = str(refusal)
            self._chronicle.injections.append(Injection(what, error))

    async def tamper(self, with_sender: Mail, with_content: Mail) -> None:
        """Enqueue two mails, and change their rows before anybody sees them."""
        await self._enqueue_changed(with_sender, _BREAK_SENDER, _INJECTED)
        await self._enqueue_changed(with_content, _BREAK_CONTENT, _SMUGGLED)

    async def _enqueue_changed(self, mail: Mail, statement: str, value: str) -> None:
        async with self._engine.begin() as connection:
            receipt = await self._outbox.enqueue(mail.outgoing(), connection=connection)
            await connection.execute(text(statement), {"value": value, "id": receipt.id})
        self._chronicle.enqueued.append(Enqueued(mail, receipt.id))
