"""An end for the wait for a server that has stopped answering and not said so."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection

ANSWER_SECONDS = 30.0
"""How long a transaction may take. The server ends long statements itself, while it can."""


class Hangup:
    """Breaks the connection that is at work, once it has been for too long.

    Whoever waits for an answer there gets the error of a lost connection, in whatever thread.
    """

    def __init__(self) -> None:
        self._driver: Any = None

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Allow what is done inside so much time; for the thread of the event loop."""
        self._wait_on()
        try:
            yield
        finally:
            self._alarm.cancel()
            self._driver = None

    def _wait_on(self) -> None:
        # Again, because the work may not have begun: it waits for its turn, or for a connection.
        self._alarm = asyncio.get_running_loop().call_later(ANSWER_SECONDS, self._break)

    def at_work(self, connection: Connection) -> None:
        """Note which connection would have to be broken; for the thread that works."""
        self._driver = connection.connection.driver_connection

    def _break(self) -> None:
        self._wait_on()
        # The driver's own way to close it is for the thread that uses it: this only ends the
        # wait of that thread. It may have ended at this very moment.
        with suppress(Exception):
            descriptor = os.dup(self._driver.fileno())
            with socket.socket(fileno=descriptor) as broken:
                broken.shutdown(socket.SHUT_RDWR)
