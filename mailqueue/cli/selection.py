"""Which message is meant: by its number, or by its Message-ID."""

from __future__ import annotations

from sqlalchemy import Connection

from mailqueue.cli.exits import Exit, Failure
from mailqueue.outbox.lookup import find

LARGEST_NUMBER = 2**63 - 1


def message_number(connection: Connection, named: str) -> int:
    """Return the number of the message that ``named`` means.

    Raises `Failure` for a Message-ID that no message has, or several. Whether there is a message
    of a given number is left to whoever looks it up.
    """
    if named.isascii() and named.isdecimal():
        return _number(named)
    found = find(connection, named) or find(connection, f"<{named}>")
    if not found:
        raise Failure(f"there is no message with the Message-ID {named}", Exit.NO_INPUT)
    if len(found) > 1:
        numbers = ", ".join(map(str, found))
        text = f"{len(found)} messages have this Message-ID; name one by its number: {numbers}"
        raise Failure(text, Exit.DATA)
    return found[0]


def _number(digits: str) -> int:
    # What is no SQL integer would be an error of the database's driver.
    if len(digits) > len(str(LARGEST_NUMBER)) or int(digits) > LARGEST_NUMBER:
        raise Failure(f"there is no message {digits}", Exit.NO_INPUT)
    return int(digits)
