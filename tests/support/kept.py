"""The connection that an outbox on a SQLite file of its own keeps to write with."""

from __future__ import annotations

import sqlite3

from mailqueue import AsyncOutbox, Outbox


def kept_driver(outbox: Outbox | AsyncOutbox) -> sqlite3.Connection:
    """Return what ``outbox``, which has been written to already, drives SQLite with."""
    if isinstance(outbox, Outbox):
        writing = outbox._access.writing
    else:
        assert outbox._writer is not None
        writing = outbox._writer._writing
    assert writing is not None
    assert writing._kept is not None
    return writing._kept.driver
