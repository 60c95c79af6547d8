"""The conversation as somebody may watch it."""

from __future__ import annotations

from typing import Protocol


class Transcript(Protocol):
    """Is told every line of a session as it goes over the wire.

    Credentials arrive as ``***`` and content as its size. What the relay says has been made
    printable: escape sequences would act on the terminal of whoever reads it.
    """

    def sent(self, line: str) -> None:
        """Take one line that we sent."""
        ...

    def received(self, text: str) -> None:
        """Take one reply, its lines joined by newlines."""
        ...
