"""Text that a program writes into a page, between two marks."""

from __future__ import annotations


def replaced(page: str, begin: str, end: str, *, text: str) -> str:
    """Return ``page`` with ``text`` between its marks. Raises ValueError where it has none."""
    before, found, rest = page.partition(begin)
    _, ending, after = rest.partition(end)
    if not (found and ending):
        raise ValueError(f"the page has no place for this: {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"
