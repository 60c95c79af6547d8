"""Replies as bytes: spelling them, and reading the code out of what a script says."""

import re

_REPLY = re.compile(rb"((?:\d{3}-[^\r\n]*\r\n)*)(\d{3})(?: [^\r\n]*)?\r\n")
_ENHANCED = re.compile(r"^(\d{3}[ -])\d\.\d{1,3}\.\d{1,3} ", re.MULTILINE)


def spell(*lines: str | bytes) -> bytes:
    """Return the lines as they go on the wire, each ended by CRLF and otherwise untouched.

    A relay under test may have to say nonsense, so nothing is checked: `spell("450-a", "550 b")`
    is a reply whose codes disagree.
    """
    return b"".join(
        (line if isinstance(line, bytes) else line.encode("utf-8", "surrogateescape")) + b"\r\n"
        for line in lines
    )


def spell_multiline(code: int, lines: list[str]) -> bytes:
    """Return a well-formed multi-line reply (RFC 5321 section 4.2.1)."""
    marked = [f"{code}-{line}" for line in lines[:-1]]
    return spell(*marked, f"{code} {lines[-1]}")


def code_of(data: bytes) -> int | None:
    """Return the code of the reply `data` begins with, or `None` where that is not a whole one.

    A multi-line reply whose codes disagree has no code.
    """
    match = _REPLY.match(data)
    if match is None:
        return None
    earlier, code = match.groups()
    if earlier and any(line[:3] != code for line in earlier.split(b"\r\n")[:-1]):
        return None
    return int(code)


def without_enhanced(text: str) -> str:
    """Return the reply without its enhanced status code (RFC 2034), for a relay that has none."""
    return _ENHANCED.sub(r"\1", text)
