"""How a rate is written in a configuration."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_RATE = re.compile(r"([0-9]{1,9}) ?/ ?([smhd])")
_FORM = 'write a number with /s, /m, /h or /d, such as "14/s" or "1000/h"'


@dataclass(frozen=True, slots=True)
class Frequency:
    """So many in each ``unit``: s, m, h or d."""

    count: int
    unit: str

    @property
    def seconds(self) -> int:
        """The length of the unit."""
        return _SECONDS[self.unit]

    def __str__(self) -> str:
        return f"{self.count}/{self.unit}"


def parse_rate(value: object) -> Frequency:
    """Return text such as "14/s" or "1000/h" as a frequency; raises ValueError for other values."""
    if isinstance(value, Frequency):
        return value
    written = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if written is None:
        raise ValueError(f"is not a rate; {_FORM}")
    if not int(written[1]):
        raise ValueError("must be more than 0; pause the relay to send nothing")
    return Frequency(int(written[1]), written[2])


RateSetting = Annotated[
    Frequency, BeforeValidator(parse_rate), PlainSerializer(str, when_used="json")
]
"""More than none in a time."""
