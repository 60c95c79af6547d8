"""What an examination finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Grade(StrEnum):
    """How bad it is."""

    WELL = "well"
    WARNING = "warning"
    """It works, and should not stay so."""
    WRONG = "wrong"
    """It does not work, or mail may be lost."""

    @property
    def colour(self) -> str:
        """The colour of the word on a terminal."""
        return {"well": "green", "warning": "yellow", "wrong": "red"}[self.value]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: how it is, and what to do where that is not well."""

    grade: Grade
    what: str
    text: str
    remedy: str = ""

    def lines(self) -> Iterator[str]:
        """Yield it as lines for people."""
        yield f"{self.grade:<7} {self.what}: {self.text}"
        if self.remedy:
            yield f"{'':<7} {self.remedy}"

    def as_object(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "grade": str(self.grade),
            "what": self.what,
            "text": self.text,
            "remedy": self.remedy or None,
        }


def well(what: str, text: str) -> Finding:
    """Return that ``what`` is as it should be."""
    return Finding(Grade.WELL, what, text)


def warning(what: str, text: str, remedy: str) -> Finding:
    """Return that ``what`` works and should not stay so."""
    return Finding(Grade.WARNING, what, text, remedy)


def wrong(what: str, text: str, remedy: str) -> Finding:
    """Return that ``what`` does not work."""
    return Finding(Grade.WRONG, what, text, remedy)
