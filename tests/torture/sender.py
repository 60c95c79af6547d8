"""The producer of a torture on PostgreSQL: it notes what it was told before it goes on."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from mailqueue import Limits, Outbox, OutboxError, OutcomeUnknownError
from tests.torture.life import write_to
from tests.torture.mails import SENDER, Mail

PACE = 0.01
"""Seconds between two mails."""
_ENOUGH = 100
"""How many recipients may wait before the next mail does."""
_WAITING = text("SELECT count(*) FROM mailqueue_recipients WHERE due_at IS NOT NULL")


@dataclass
class Notes:
    """What a producer wrote down.

    ``stored``: the receipt's number of each mail that was acknowledged. ``open``: how often a mail
    was begun and nobody was told what became of it: the producer was killed, or told just that.
    """

    stored: dict[int, int] = field(default_factory=dict)
    open: Counter[int] = field(default_factory=Counter)
    unknown: int = 0

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Notes:
        """Read them; the last line may have been cut off by a kill."""
        notes = cls()
        for path in paths:
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    notes.take(*line.decode().split())
        return notes

    def take(self, what: str, number: str, receipt: str = "") -> None:
        """Take one line over."""
        mail = int(number)
        match what:
            case "try":
                self.open[mail] += 1
            case "refused":
                self.open[mail] -= 1
            case "unknown":
                self.unknown += 1
            case "stored":
                self.open[mail] -= 1
                self.stored[mail] = int(receipt)


def has_key(mail: Mail) -> bool:
    """Whether a mail is enqueued under an idempotency key; the other half is stored by trust."""
    return mail.number % 2 == 0


def produce(url: str, path: Path, log: Path, first: int, step: int) -> None:
    """Enqueue the mails ``first``, ``first + step`` and so on until killed, from where it ended."""
    write_to(log)
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    pause = threading.Event()
    reading = create_engine(url)
    done = len(Notes.of([path]).stored)
    with Outbox(url, busy_timeout=3.0, limits=Limits(free_disk=None)) as outbox:
        for number in count(first + done * step, step):
            while not _enqueued(outbox, Mail(number), notes):
                pause.wait(PACE)
            pause.wait(PACE)
            while _waiting(reading) > _ENOUGH:
                pause.wait(PACE)


def _enqueued(outbox: Outbox, mail: Mail, notes: int) -> bool:
    os.write(notes, b"try %d\n" % mail.number)
    try:
        receipt = outbox.enqueue(
            mail.raw,
            sender=SENDER,
            recipients=mail.recipients,
            idempotency_key=mail.key if has_key(mail) else None,
            on_doubt=mail.on_doubt,
        )
    except OutcomeUnknownError:
        os.write(notes, b"unknown %d\n" % mail.number)
        return False
    except OutboxError:
        # Nothing was stored: that is what is put to the test.
        os.write(notes, b"refused %d\n" % mail.number)
        return False
    os.write(notes, b"stored %d %d\n" % (mail.number, receipt.id))
    return True


def _waiting(engine: Engine) -> int:
    try:
        with engine.connect() as connection:
            return connection.execute(_WAITING).scalar() or 0
    except SQLAlchemyError:
        return 0
