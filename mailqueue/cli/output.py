"""Text for a terminal or a pipe: made harmless, dated and laid out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from mailqueue.clock import MICROSECONDS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def printable(text: str) -> str:
    """Return ``text`` with everything but its line breaks printable.

    What relays, mails and database rows hold would act on the terminal otherwise: escape
    sequences, and characters that turn the direction of what follows.
    """
    return "\n".join(map(_printable, text.split("\n")))


def one_line(text: str) -> str:
    """Return ``text`` printable and on one line, its line breaks as slashes."""
    return " / ".join(map(_printable, text.split("\n")))


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(one if one.isprintable() else " " if one == "\t" else "?" for one in line)


def instant(at: int) -> str:
    """Return an instant (epoch microseconds) as ISO-8601 text in UTC, to the second."""
    try:
        return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%dT%H:%M:%SZ}"
    except OverflowError:
        # Any row may hold any number.
        return f"({at} us)"


def iso(at: int | None) -> str | None:
    """Return an instant as the views have it, with microseconds; None stays None."""
    if at is None:
        return None
    try:
        return f"{_EPOCH + timedelta(microseconds=at):%Y-%m-%dT%H:%M:%S.%fZ}"
    except OverflowError:
        return None


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units, such as ``4m 12s``."""
    left = round(abs(seconds))
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(filter(None, parts[:2])) or "0s"


def relative(at: int, now: int) -> str:
    """Return how far ``at`` is from ``now``: ``in 4m 12s`` or ``4m 12s ago``."""
    seconds = (at - now) / MICROSECONDS
    return f"in {duration(seconds)}" if seconds > 0 else f"{duration(seconds)} ago"
