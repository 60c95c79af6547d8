"""What is said on a connection, read along by who watches: commands, replies, and final dots."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

_GREETING, _DOT = "(greeting)", "."
_END = b"\r\n.\r\n"
_NO_CONTENT = b"\r\n"
"""What stands before content, for its end: a lone dot ends content without a line."""


@dataclass(slots=True)
class Envelope:
    """``accepted``: the recipients to whom the relay has said yes by now."""

    sender: str
    accepted: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Begun:
    """A MAIL command was written."""


@dataclass(frozen=True, slots=True)
class Dotted:
    """A final dot was written, of the message with this envelope."""

    envelope: Envelope


class Exchange:
    """Pairs commands with replies in their order, however they were cut into segments.

    With pipelining (RFC 2920) several commands are under way, and behind a final dot the next
    transaction: so a dot's envelope is that of the DATA which was answered last.
    """

    def __init__(self) -> None:
        self._asked: deque[tuple[str, Envelope, str]] = deque()
        self._asked.append((_GREETING, Envelope(""), ""))
        self._mailed = self._dated = Envelope("")
        self._in_content = False
        self._unwritten = self._unheard = b""

    @property
    def awaits(self) -> bool:
        """Whether a reply that matters is owed, or content is on its way."""
        return self._in_content or any(verb != "QUIT" for verb, _, _ in self._asked)

    def wrote(self, block: bytes) -> Iterator[Begun | Dotted]:
        """Take what the process wrote."""
        self._unwritten += block
        while True:
            if self._in_content:
                _, found, rest = self._unwritten.partition(_END)
                if not found:
                    self._unwritten = self._unwritten[-len(_END) :]
                    return
                self._unwritten, self._in_content = rest, False
                self._asked.append((_DOT, self._dated, ""))
                yield Dotted(self._dated)
            else:
                line, found, rest = self._unwritten.partition(b"\r\n")
                if not found:
                    return
                self._unwritten = rest
                yield from self._asks(line.decode())

    def heard(self, data: bytes) -> None:
        """Take what the relay said."""
        *lines, self._unheard = (self._unheard + data).split(b"\r\n")
        for line in lines:
            if line[3:4] != b"-" and self._asked:
                self._answered(*self._asked.popleft(), reply=line)

    # Steps

    def _asks(self, line: str) -> Iterator[Begun]:
        verb = line.partition(" ")[0]
        if verb == "MAIL":
            self._mailed = Envelope(path(line))
            yield Begun()
        self._asked.append((verb, self._mailed, path(line)))

    def _answered(self, verb: str, envelope: Envelope, address: str, *, reply: bytes) -> None:
        if verb == "RCPT" and reply.startswith(b"2"):
            envelope.accepted.append(address)
        elif verb == "DATA" and reply.startswith(b"354"):
            self._dated, self._in_content = envelope, True
            self._unwritten = _NO_CONTENT


def path(line: str) -> str:
    """Return the address in a line of MAIL or RCPT."""
    return line.partition("<")[2].partition(">")[0]
