"""Content as it goes on the wire: checked once at enqueue, then never made anew."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from io import IncrementalNewlineDecoder

from mailqueue.mail.envelope import Content

_FIELD_NAME = re.compile(rb"([\x21-\x39\x3b-\x7e]+)[ \t]*:")
# A field whose folds are plain. A header that is not made of these is read line by line, which
# knows what to say about it.
_FIELD = re.compile(
    rb"(([\x21-\x39\x3b-\x7e]++)[ \t]*+:[^\r\n]*+\r\n(?:[ \t]++[^\s][^\r\n]*+\r\n)*+)"
)
_BLIND = frozenset({b"bcc", b"resent-bcc"})
_IDENTITY = frozenset({b"message-id", b"date"})
_UNSAID = _BLIND | _IDENTITY
_BARE_CR_OR_LF = re.compile(rb"\r(?!\n)|(?<!\r)\n")
# Spelled out, because the engine seeks a literal several times faster than ={15}.
_PYTHON_BOUNDARY = re.compile(rb"===============\d+==")
_BOUNDARY_BEGINS = b"==============="
_MESSAGE_ID = re.compile(rb"<[^<>\s]+>")
_READ_AT_ONCE = 65_536
"""Octets that are turned into text at once: a large content is not held in memory a second time."""

MAX_LINE_OCTETS = 998
"""Without its CRLF (RFC 5322 section 2.1.1). A longer line is what relays refuse with 500."""


class UnfitContentError(ValueError):
    """These bytes are not a message that may go on the wire; the sentence says why and where."""


Field = tuple[bytes, bytes]
"""A header field: its name in lower case, and all of its octets, folds and last CRLF included."""
Parts = tuple[list[Field], bytes]
"""A message taken apart: its header fields, and its body with the empty line before it."""


def wire_form(raw: bytes) -> bytes:
    """Return ``raw`` with CRLF line ends, as the wire needs it.

    A text whose lines all end in a lone LF, as files and `EmailMessage.as_bytes` have
    them, is converted. Anything mixed is an error: guessing at line ends is how one
    message is smuggled inside another. Raises `UnfitContentError`.
    """
    if b"\r" not in raw:
        raw = raw.replace(b"\n", b"\r\n")
    elif not has_only_crlf(raw):
        raise _mixed_line_ends(raw)
    return raw if raw.endswith(b"\r\n") else raw + b"\r\n"


def has_only_crlf(raw: bytes) -> bool:
    """Whether each CR of ``raw`` stands before an LF, and each LF behind a CR."""
    # Text files are read by it. It takes a third of the time that counting does.
    ends = IncrementalNewlineDecoder(None, translate=False)
    for begin in range(0, len(raw), _READ_AT_ONCE):
        ends.decode(raw[begin : begin + _READ_AT_ONCE].decode("latin-1"))
    ends.decode("", final=True)
    return ends.newlines in (None, "\r\n")


def _mixed_line_ends(raw: bytes) -> UnfitContentError:
    found = _BARE_CR_OR_LF.search(raw)
    assert found is not None
    what = "CR without LF" if found[0] == b"\r" else "LF without CR"
    return UnfitContentError(
        f"the content has a {what} at octet {found.start()}; end every line with CRLF, "
        "or every line with LF",
    )


def freeze(raw: bytes, *, make_message_id: Callable[[], str], date: str) -> tuple[Content, bytes]:
    """Check ``raw`` (CRLF line ends) and return it ready for the wire, with its `digest`.

    As `complete` does it. Raises `UnfitContentError`.
    """
    parts = split(raw)
    content = complete(raw, parts, make_message_id=make_message_id, date=date)
    return content, digest(parts)


def complete(raw: bytes, parts: Parts, *, make_message_id: Callable[[], str], date: str) -> Content:
    """Check ``raw``, which is made of ``parts``, and return it ready for the wire.

    Bcc and Resent-Bcc are taken out; Message-ID and Date are added where they are missing
    (RFC 5322 section 3.6), from ``make_message_id`` (with angle brackets) and ``date``.
    Raises `UnfitContentError`.
    """
    if (nul := raw.find(b"\0")) != -1:
        raise UnfitContentError(f"the content has a NUL at octet {nul}, which SMTP cannot carry")
    _check_line_lengths(raw)
    fields, body = parts
    kept = _kept(fields)
    message_id = _message_id(kept)
    added = b""
    if message_id is None:
        message_id = make_message_id()
        added += b"Message-ID: " + message_id.encode("ascii") + b"\r\n"
    if b"date" not in dict(kept):
        added += b"Date: " + date.encode("ascii") + b"\r\n"
    frozen = raw
    if added or len(kept) != len(fields):
        frozen = b"".join(octets for _, octets in kept) + added + body
    eight_bit = not frozen.isascii()
    utf8_header = eight_bit and _has_utf8(kept)
    return Content(frozen, message_id, eight_bit, utf8_header)


def _kept(fields: list[Field]) -> list[Field]:
    return [
        field
        for field in fields
        if field[0] not in _UNSAID or not (field[0] in _BLIND or _is_void(field[1]))
    ]


def _is_void(octets: bytes) -> bool:
    """Whether a Message-ID or Date says nothing: as good as missing."""
    return not octets.partition(b":")[2].strip()


def _has_utf8(fields: list[Field]) -> bool:
    header = b"".join(octets for _, octets in fields)
    if header.isascii():
        return False
    _check_utf8(header)
    return True


def _check_utf8(header: bytes) -> None:
    try:
        header.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnfitContentError(
            f"the header has an octet above 127 that is not UTF-8 (0x{header[error.start]:02X}); "
            "encode it as RFC 2047 says",
        ) from None


def _check_line_lengths(raw: bytes) -> None:
    start = 0
    while len(raw) - start > MAX_LINE_OCTETS:
        # From one line's beginning as far as it may reach: the lines in between are short enough.
        end = raw.rfind(b"\n", start, start + MAX_LINE_OCTETS + 2)
        if end == -1:
            raise UnfitContentError(
                f"the line at octet {start} is longer than {MAX_LINE_OCTETS} octets, the most "
                "that SMTP carries: encode that part as quoted-printable or base64",
            )
        start = end + 1


def split(raw: bytes) -> Parts:
    """Return the header fields of ``raw`` (CRLF line ends), and the body with its empty line.

    Raises `UnfitContentError` for a header line that is neither a field nor a continuation.
    """
    end = raw.find(b"\r\n\r\n") + 2
    header, body = (raw, b"\r\n") if end == 1 else (raw[:end], raw[end:])
    found = _FIELD.findall(header)
    if found:
        fields, names = zip(*found, strict=True)
        if b"".join(fields) == header:
            return [*zip(map(bytes.lower, names), fields, strict=True)], body
    return _split_by_lines(raw)


def _split_by_lines(raw: bytes) -> Parts:
    fields: list[Field] = []
    start = 0
    while True:
        end = raw.find(b"\r\n", start) + 2
        if end == 1:
            return _checked(fields), b"\r\n"
        line = raw[start:end]
        if line == b"\r\n":
            return _checked(fields), raw[start:]
        if line[:1] in b" \t":
            fields.append(_continued(fields, line, start))
        else:
            fields.append((_name(line, start), line))
        start = end


def _continued(fields: list[Field], line: bytes, start: int) -> Field:
    if not fields:
        raise UnfitContentError("the content begins with a space: a header field is expected")
    if not line.strip():
        raise UnfitContentError(
            f"the header line at octet {start} is blank but not empty; it would end the header "
            "for one reader and not for another",
        )
    name, octets = fields.pop()
    return name, octets + line


def _name(line: bytes, start: int) -> bytes:
    found = _FIELD_NAME.match(line)
    if found is None:
        raise UnfitContentError(
            f"the header line at octet {start} is neither a field nor a continuation: "
            f"{line[:40]!r}; an empty line must separate header and body",
        )
    return found[1].lower()


def _checked(fields: list[Field]) -> list[Field]:
    if not fields:
        raise UnfitContentError("the content has no header fields")
    return fields


def _message_id(fields: list[Field]) -> str | None:
    for name, octets in fields:
        if name == b"message-id":
            found = _MESSAGE_ID.search(octets)
            value = found[0] if found else b" ".join(octets.partition(b":")[2].split())
            return value.decode("utf-8", "replace")
    return None


def digest(parts: Parts) -> bytes:
    """Return what tells whether two messages say the same.

    It leaves Bcc, Message-ID, Date and the boundaries that Python draws at random aside.
    """
    fields, body = parts
    said = [octets for name, octets in fields if name not in _UNSAID]
    if _BOUNDARY_BEGINS not in body and not any(_BOUNDARY_BEGINS in octets for octets in said):
        summary = hashlib.sha256(b"".join(said))
        summary.update(body)
        return summary.digest()
    return _digest_with_boundaries([*said, body])


def _digest_with_boundaries(said: list[bytes]) -> bytes:
    summary = hashlib.sha256()
    boundaries: dict[bytes, bytes] = {}

    def numbered(found: re.Match[bytes]) -> bytes:
        return boundaries.setdefault(found[0], b"boundary %d" % len(boundaries))

    for octets in said:
        summary.update(_PYTHON_BOUNDARY.sub(numbered, octets))
    return summary.digest()
