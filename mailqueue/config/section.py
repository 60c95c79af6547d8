"""What holds for every section of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of the configuration: frozen, without unknown keys, without silent conversion.

    ``hide_input_in_errors`` because a ValidationError would otherwise print what was given,
    and that may be a password under a misspelt key.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )


@dataclass(frozen=True, slots=True)
class Clash:
    """A key whose value does not go with another: its path from there, what is wrong, a remedy."""

    path: tuple[str, ...]
    text: str


class Contradiction(ValueError):
    """Values that are each in order and do not go together; ``clashes`` names all of them."""

    def __init__(self, clashes: list[Clash]) -> None:
        super().__init__("; ".join(f"{'.'.join(c.path)} {c.text}" for c in clashes))
        self.clashes = tuple(clashes)


def refuse(clashes: list[Clash]) -> None:
    """Raise Contradiction if there is any clash."""
    if clashes:
        raise Contradiction(clashes)
