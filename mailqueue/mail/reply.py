"""What a relay answered, or that it did not: replies, no-replies and the evidence made of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from mailqueue.mail.stage import Stage
from mailqueue.mail.value import value

MAX_TEXT_BYTES = 1024
"""How much of a reply's text is kept. Enough for any real explanation; bounds every row."""

_SHORT_OCTETS = 256
"""Longer lines are not remembered: a relay must not claim memory by them."""

_REPLY_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class EnhancedStatus:
    """An enhanced mail system status code (RFC 3463): class, subject and detail."""

    klass: int
    subject: int
    detail: int

    @classmethod
    def parse(cls, text: str) -> EnhancedStatus | None:
        """Return the status written at the start of ``text``, or None (RFC 2034 section 4)."""
        found = _ENHANCED.match(text)
        return cls(*map(int, found.groups())) if found else None

    def __str__(self) -> str:
        return f"{self.klass}.{self.subject}.{self.detail}"


@value
class Reply:
    """One reply of the relay (RFC 5321 section 4.2).

    ``text`` is fit to be stored and shown: printable, at most 1 KB, its lines joined by
    newlines, with the enhanced status code taken off each line. ``code`` is any three
    digits; whether it means anything is for the verdict to say.
    """

    code: int
    text: str = ""
    enhanced: EnhancedStatus | None = None

    @property
    def is_reply_code(self) -> bool:
        """Whether the first digit is one that RFC 5321 section 4.2.1 gives a meaning to."""
        return 200 <= self.code <= 599

    @property
    def is_positive(self) -> bool:
        """2yz: done."""
        return 200 <= self.code <= 299

    @property
    def is_intermediate(self) -> bool:
        """3yz: go on."""
        return 300 <= self.code <= 399

    @property
    def is_transient(self) -> bool:
        """4yz: not now."""
        return 400 <= self.code <= 499

    @property
    def is_permanent(self) -> bool:
        """5yz: no."""
        return 500 <= self.code <= 599

    def __str__(self) -> str:
        said = f"{self.code}" if self.enhanced is None else f"{self.code} {self.enhanced}"
        return f"{said} {self.text}" if self.text else said


class NoReplyKind(StrEnum):
    """Why there is no reply to act on."""

    REFUSED = "refused"
    """The connection could not be made."""
    UNRESOLVED = "unresolved"
    """The relay's name has no address."""
    TIMEOUT = "timeout"
    """The relay stayed silent for longer than the stage allows (RFC 5321 section 4.5.3.2)."""
    LOST = "lost"
    """The connection ended."""
    TLS = "tls"
    """The handshake failed, or TLS was asked for and is not offered."""
    UNSUPPORTED = "unsupported"
    """The relay does not offer what this configuration asks of it, such as AUTH."""
    MALFORMED = "malformed"
    """What came is not one SMTP reply: garbage, differing codes, or more bytes behind it."""
    ABANDONED = "abandoned"
    """We ended it ourselves: a shutdown, or a lease that was no longer ours."""
    LOCAL = "local"
    """A fault on this side: a bug, a bad row, a full disk."""


@value
class NoReply:
    """Silence, with its kind and whatever detail this side knows (sanitised)."""

    kind: NoReplyKind
    detail: str = ""

    def __str__(self) -> str:
        return f"no reply ({self.kind}{': ' + self.detail if self.detail else ''})"


@dataclass(frozen=True, slots=True)
class Unsendable:
    """Our own finding from what the relay offers: this mail cannot go there as it is.

    Nothing was asked of the relay, so there is no reply code; the enhanced status is the
    one an SMTP server would have used (RFC 1870, RFC 6531, RFC 6152).
    """

    enhanced: EnhancedStatus
    text: str

    def __str__(self) -> str:
        return f"{self.enhanced} {self.text}"


Answer = Reply | NoReply | Unsendable


@value
class Evidence:
    """What was learnt at one stage. ``command`` is the line we sent, never with credentials."""

    stage: Stage
    answer: Answer
    command: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """A reply cut off the front of received bytes, and what was left behind it."""

    reply: Reply
    rest: bytes


class MalformedReplyError(ValueError):
    """Bytes that cannot be the beginning of an SMTP reply."""


def parse_reply(raw: bytes) -> Parsed | None:
    """Cut one whole reply off ``raw``; None while its last line has not arrived.

    Raises `MalformedReplyError`, see `take_reply`.
    """
    taken = take_reply(raw)
    return None if taken is None else Parsed(taken[0], raw[taken[1] :])


def take_reply(raw: bytes, start: int = 0) -> tuple[Reply, int] | None:
    """Return the reply that begins at ``start`` and where it ends; None while it is not whole.

    Follows RFC 5321 section 4.2.1: each line is three digits, then a hyphen on all lines
    but the last, then text. A bare code without text is legal. Raises
    `MalformedReplyError` for anything else, and where the lines of one reply carry
    differing codes: no rule says which of them would be the true one.
    """
    end = raw.find(b"\n", start)
    if end == -1:
        return None
    if raw[start + 3 : start + 4] != b"-":
        line = raw[start:end]
        read = _read_line if end - start <= _SHORT_OCTETS else _read_line.__wrapped__
        return read(line), end + 1
    return _take_lines(raw, start)


@lru_cache(maxsize=256)
def _read_line(line: bytes) -> Reply:
    """Read a reply of one line. A relay says most of them again with each message."""
    found = _matched(line.removesuffix(b"\r"))
    return _reply_of(int(found[1]), [found[3] or b""])


def _take_lines(raw: bytes, start: int) -> tuple[Reply, int] | None:
    lines: list[bytes] = []
    code: bytes | None = None
    while (end := raw.find(b"\n", start)) != -1:
        found = _matched(raw[start:end].removesuffix(b"\r"))
        if code is not None and found[1] != code:
            raise MalformedReplyError(
                f"differing codes in one reply: {code.decode()} and {found[1].decode()}",
            )
        code = found[1]
        lines.append(found[3] or b"")
        start = end + 1
        if found[2] != b"-":
            return _reply_of(int(code), lines), start
    return None


def _matched(line: bytes) -> re.Match[bytes]:
    found = _REPLY_LINE.fullmatch(line)
    if found is None:
        raise MalformedReplyError(f"not a reply line: {printable(line)[:200]}")
    return found


def _reply_of(code: int, lines: list[bytes]) -> Reply:
    texts = [printable(line).strip() for line in lines]
    enhanced = next(filter(None, map(EnhancedStatus.parse, texts)), None)
    text = "\n".join(_without(enhanced, one) for one in texts)
    return Reply(code, sanitise(text), enhanced)


def _without(enhanced: EnhancedStatus | None, line: str) -> str:
    # Only the status that the reply keeps: a line with another one would lose it.
    found = _ENHANCED.match(line)
    return line[found.end() :] if found and EnhancedStatus.parse(line) == enhanced else line


def printable(raw: bytes) -> str:
    """Decode bytes of the relay as UTF-8, each undecodable or unprintable one as ``?``."""
    return _printable(raw.decode("utf-8", "replace").replace("\ufffd", "?"))


def sanitise(text: str) -> str:
    """Make ``text`` valid UTF-8, printable and at most 1 KB, keeping its line breaks.

    Escape sequences would act on the terminal of whoever reads them later, and lone
    surrogates cannot be stored: a result that cannot be written is a mail sent again.
    """
    clean = text.encode("utf-8", "replace").decode("utf-8")
    lines = "\n".join(map(_printable, clean.split("\n")))
    if len(lines) * 4 <= MAX_TEXT_BYTES or len(lines.encode()) <= MAX_TEXT_BYTES:
        return lines
    return lines.encode()[: MAX_TEXT_BYTES - 3].decode("utf-8", "ignore") + "..."


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else " " if one == "\t" else "?" for one in line)


# The lookbehinds hold each attempt to the start of a word, so that the time taken grows with
# the length of a text and not with its square or cube: a relay writes these.
_ADDRESS = re.compile(r"<?(?<![^\s<>@])[^\s<>@]+@[^\s<>@,;:.]+(?:\.[^\s<>@,;:.]+)+>?")
_TOKEN = re.compile(r"(?<![\w.-])(?=[\w.-]*\d)[\w.-]*[\w-]", re.ASCII)


def mask(text: str) -> str:
    """Replace addresses and every word with a digit in it, so that alike refusals group alike.

    Only the first line that says something is kept.

    >>> mask("<a@example.org>: rate 17 exceeded, id 4XyZ9")
    '<address>: rate # exceeded, id #'
    """
    first_words = next(filter(None, text.split("\n")), "")
    return _TOKEN.sub("#", _ADDRESS.sub("<address>", first_words))
