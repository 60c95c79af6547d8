"""The producer of a torture: enqueues mail after mail, and notes what was acknowledged."""

from __future__ import annotations

import os
import sqlite3
import threading
from itertools import count
from pathlib import Path

from mailqueue import Limits, Outbox, failpoint
from tests.torture.life import write_to
from tests.torture.mails import SENDER, Mail

PACE = 0.02
"""Seconds between two mails."""
_ENOUGH = 50
"""How many recipients may wait before the next mail does."""
_WAITING = "SELECT count(*) FROM mailqueue_recipients WHERE due_at IS NOT NULL"


def produce(path: Path, acknowledged: Path, log: Path, armed: str) -> None:
    """Enqueue until killed, from the first mail that is not yet acknowledged.

    If the one before died between its commit and its note, that mail is enqueued again under
    the same key, as an application does that never got its answer.
    """
    write_to(log)
    failpoint.arm(armed)
    pause = threading.Event()
    notes = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    reading = sqlite3.connect(path)
    with Outbox(f"sqlite:///{path}", limits=Limits(free_disk=None)) as outbox:
        for number in count(len(acknowledgements(acknowledged)) + 1):
            mail = Mail(number)
            receipt = outbox.enqueue(
                mail.raw,
                sender=SENDER,
                recipients=mail.recipients,
                idempotency_key=mail.key,
                on_doubt=mail.on_doubt,
            )
            os.write(notes, b"%d\n" % receipt.id)
            pause.wait(PACE)
            while reading.execute(_WAITING).fetchone()[0] > _ENOUGH:
                pause.wait(PACE)


def acknowledgements(path: Path) -> list[int]:
    """Return the receipts' ids, that of the mail with the number 1 first."""
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []
