"""What the tests of the client make and look at."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from mailqueue import Outbox
from mailqueue.client.intake import draft
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing
from mailqueue.clock import FakeClock
from mailqueue.outbox.enqueue import Draft
from tests.support.shell import shell_on

RAW = b"From: sender@example.org\r\nTo: anna@example.net\r\nSubject: hello\r\n\r\nhello\r\n"


def make_message(text: str = "hello\n", **fields: str) -> EmailMessage:
    """Return a message from sender@example.org to anna@example.net, or with other ``fields``."""
    message = EmailMessage()
    for name, value in {
        "From": "sender@example.org",
        "To": "anna@example.net",
        "Subject": "hello",
        **fields,
    }.items():
        message[name.replace("_", "-")] = value
    message.set_content(text)
    return message


def drafted(message: Any, **wishes: Any) -> Draft:
    """Return what would be stored."""
    return draft(Outgoing(message, **wishes), clock=FakeClock(), limits=Limits())


def header_of(message: Any, **wishes: Any) -> list[str]:
    """Return the header lines that would go out, unfolded."""
    header = drafted(message, **wishes).content.raw.partition(b"\r\n\r\n")[0].decode()
    return header.replace("\r\n ", " ").replace("\r\n\t", "\t").split("\r\n")


def query(place: Path | str, sql: str) -> list[tuple[Any, ...]]:
    """Ask the database at this path or URL as somebody with a shell would."""
    if isinstance(place, str):
        shell = shell_on(place)
        try:
            return [tuple(row) for row in shell.ask(sql)]
        finally:
            shell.close()
    connection = sqlite3.connect(place)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


class Awaited:
    """An `Outbox` whose verbs are awaited, so that one test can speak of both kinds."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        verb = getattr(self._outbox, name)

        async def awaited(*args: Any, **options: Any) -> Any:
            return verb(*args, **options)

        return awaited
