"""How durations, sizes and names are written in a configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

_SECONDS = {
    "": Fraction(1),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3_600),
    "d": Fraction(86_400),
    "w": Fraction(604_800),
}
_BYTES = {
    "": Fraction(1),
    "b": Fraction(1),
    "kb": Fraction(10**3),
    "mb": Fraction(10**6),
    "gb": Fraction(10**9),
    "tb": Fraction(10**12),
    "kib": Fraction(2**10),
    "mib": Fraction(2**20),
    "gib": Fraction(2**30),
    "tib": Fraction(2**40),
}
_AMOUNT = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z]*)")

LONGEST = 36_500 * 86_400.0
"""A hundred years, in seconds: added to any instant it still fits a column of microseconds."""
LARGEST = 2**63 - 1
"""The largest size in bytes: what an SQL integer can hold."""

_DURATION_FORM = 'write seconds, or a number with ms, s, m, h, d or w, such as "30s" or "5d"'
_SIZE_FORM = 'write bytes, or a number with kB, MB, GB, KiB, MiB or GiB, such as "25MiB"'


def parse_duration(value: object) -> float:
    """Return ``value`` in seconds: a number of seconds, or text such as "500ms", "5m" or "1.5h".

    Raises ValueError for anything else, for what is negative, and beyond a hundred years.
    """
    amount = _amount(value, _SECONDS)
    if amount is None:
        raise ValueError(f"is not a duration; {_DURATION_FORM}")
    if not 0 <= amount <= LONGEST:
        raise ValueError('is out of range; a duration lies between 0 and "36500d"')
    return float(amount)


def parse_size(value: object) -> int:
    """Return ``value`` in bytes: a whole number of bytes, or text such as "512kB" or "25MiB".

    Upper and lower case are the same. Raises ValueError for anything else, for what is
    negative, and for what is not a whole number of bytes.
    """
    amount = _amount(value.lower() if isinstance(value, str) else value, _BYTES)
    if amount is None:
        raise ValueError(f"is not a size; {_SIZE_FORM}")
    if not 0 <= amount <= LARGEST:
        raise ValueError("is out of range; a size lies between 0 and 2^63 - 1 bytes")
    if amount.denominator != 1:
        raise ValueError("is not a whole number of bytes; write it in a smaller unit")
    return int(amount)


def format_duration(seconds: float) -> str:
    """Return ``seconds`` as `parse_duration` reads them, in the largest unit that is exact."""
    for unit in ("d", "h", "m"):
        if seconds and not seconds % _SECONDS[unit]:
            return f"{int(Fraction(seconds) / _SECONDS[unit])}{unit}"
    # Decimal, because repr() may choose an exponent, which is no way to write a duration.
    return f"{Decimal(repr(float(seconds))):f}".removesuffix(".0") + "s"


def format_size(size: int) -> str:
    """Return ``size`` as `parse_size` reads it, in the largest binary unit that is exact."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and not size % _BYTES[unit.lower()]:
            return f"{size // _BYTES[unit.lower()]}{unit}"
    return f"{size}B"


def check_printable(text: str) -> str:
    """Return ``text`` if it is one line of printable characters.

    A line break in a host name or an EHLO name would be a command of its own on the wire
    (CRLF injection), and invisible characters come from copying and are never meant.
    """
    if not text:
        raise ValueError("is empty; give it a value or leave the key out")
    if not text.isprintable():
        raise ValueError("holds a line break or another unprintable character; write it anew")
    return text


def _amount(value: object, units: Mapping[str, Fraction]) -> Fraction | None:
    """Return a number as it is, or written text times its unit; None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        is_finite = isinstance(value, int) or math.isfinite(value)
        return Fraction(value) if is_finite else None
    written = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if written is None or written[2] not in units:
        return None
    return Fraction(written[1]) * units[written[2]]


def _more_than_none(amount: float) -> float:
    if not amount:
        raise ValueError("must be more than 0")
    return amount


def _checked_path(value: object) -> object:
    return check_printable(str(value)) if isinstance(value, str | Path) else value


DurationOrZero = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, when_used="json"),
]
"""Seconds, 0 or more."""

Duration = Annotated[DurationOrZero, AfterValidator(_more_than_none)]
"""Seconds, more than 0."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size, when_used="json"),
]
"""Bytes, 0 or more."""

Line = Annotated[str, AfterValidator(check_printable)]
"""One line of printable text, not empty."""

FilePath = Annotated[Path, Field(strict=False), BeforeValidator(_checked_path)]
"""A path whose name is printable; strings are taken, as TOML has no paths."""
