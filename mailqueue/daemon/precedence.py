"""Who has SQLite's lock goes first: meanwhile the event loop leaves the interpreter to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

MOST_SECONDS: Final = 0.02
"""For how long the loop stands still at the most, as for a disk that has to be waited for."""


@contextmanager
def precedence(loop: asyncio.AbstractEventLoop, *, most: float = MOST_SECONDS) -> Iterator[None]:
    """Let ``loop``, which runs in another thread, do nothing while the block runs.

    A thread gives the interpreter's lock away with every statement, and gets it back when the
    other has something to wait for, or after 5 ms. Beside a busy loop a transaction went through
    a hundred such waits, and whoever waited for SQLite's lock through all of them. See
    docs/decisions/0063-the-loop-stands-aside.md. ``most``: seconds.
    """
    has_ended = threading.Event()
    with suppress(RuntimeError):  # the loop has been closed, so it is not in the way
        loop.call_soon_threadsafe(has_ended.wait, most)
    try:
        yield
    finally:
        has_ended.set()
