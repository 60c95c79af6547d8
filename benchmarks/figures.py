"""What was measured, round by round, and what the rounds come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which figure: of which measurement, system and quantity."""

    measurement: str
    system: str
    quantity: str


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some rounds, and the least and the most."""

    median: float
    least: float
    most: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Return the spread of ``values``, of which there is at least one."""
        return cls(median(values), min(values), max(values), len(values))


@dataclass(slots=True)
class Figures:
    """All rounds of all figures. A round that failed has no value, so rounds are numbered."""

    values: dict[Key, dict[int, float]] = field(default_factory=dict)

    def add(self, key: Key, number: int, value: float) -> None:
        """Note what round ``number`` gave."""
        self.values.setdefault(key, {})[number] = value

    def spread(self, key: Key) -> Spread | None:
        """Return what the rounds of a figure come to, or None if it was not measured."""
        found = self.values.get(key)
        return Spread.of([*found.values()]) if found else None

    def ratio(self, above: Key, below: Key) -> Spread | None:
        """Return one figure over another, each round by itself, as they shared its noise."""
        over, under = self.values.get(above, {}), self.values.get(below, {})
        found = [over[number] / under[number] for number in over if under.get(number)]
        return Spread.of(found) if found else None

    def as_dict(self) -> dict[str, dict[str, dict[str, list[float]]]]:
        """Return measurement, system, quantity and the values, for JSON."""
        nested: dict[str, dict[str, dict[str, list[float]]]] = {}
        for key, rounds in sorted(self.values.items()):
            systems = nested.setdefault(key.measurement, {}).setdefault(key.system, {})
            systems[key.quantity] = [*rounds.values()]
        return nested
