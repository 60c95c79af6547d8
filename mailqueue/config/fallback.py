"""Relays that stand in for others, and the ways among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def circles(fallbacks: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Yield a way from a relay along ``fallbacks`` back to itself, no relay in two of them.

    The way starts and ends with the same name; a relay that names itself is the shortest one.
    """
    told: set[str] = set()
    for name in fallbacks:
        way = _way_back(name, fallbacks)
        if way and told.isdisjoint(way):
            told.update(way)
            yield way


def _way_back(start: str, fallbacks: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    ways: list[tuple[str, ...]] = [(start, following) for following in fallbacks[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        reached = way[-1]
        if reached == start:
            return way
        if reached not in seen:
            seen.add(reached)
            ways += [(*way, following) for following in fallbacks.get(reached, ())]
    return ()
