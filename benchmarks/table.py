"""The result as a Markdown table, and the page that it stands in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.figures import Spread
from benchmarks.targets import Standing

BEGIN = "<!-- make bench writes from here -->"
END = "<!-- make bench writes to here -->"
_HEAD = "| | figure | beside it | ratio | target | reached |\n|---|---|---|---|---|---|"
_VERDICTS = {True: "yes", False: "**no**", None: ""}


class NoPlace(Exception):
    """The page has no two markers for the table to stand between."""


def section(
    facts: Sequence[tuple[str, str]], standings: Sequence[Standing], notes: Sequence[str]
) -> str:
    """Return what stands between the markers: the machine, the table and what is left out."""
    told = "\n".join(f"- {name}: {value}" for name, value in facts)
    lines = "\n".join(map(line, standings)) or "| nothing was measured | | | | | |"
    rest = "".join(f"\n- {note}" for note in notes)
    return f"{told}\n\n{_HEAD}\n{lines}\n" + (f"\nLeft out or failed:\n{rest}\n" if rest else "")


def line(standing: Standing) -> str:
    """Return one line of the table."""
    asked = standing.line
    cells = (
        f"{asked.label}{f' ({asked.unit})' if asked.unit else ''}",
        spread(standing.figure),
        _beside(standing),
        spread(standing.ratio) if standing.ratio else "",
        "; ".join(map(str, asked.bounds)),
        _VERDICTS[standing.reached],
    )
    return f"| {' | '.join(cells)} |"


def spread(found: Spread) -> str:
    """Return the median, and the least and the most in brackets where there are several."""
    if found.rounds == 1:
        return number(found.median)
    return f"{number(found.median)} [{number(found.least)}…{number(found.most)}]"


def number(value: float) -> str:
    """Return three digits that count, and all of those before the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def rewrite(page: Path, text: str) -> None:
    """Put ``text`` between the markers of ``page``; raises `NoPlace`."""
    before, after = check_place(page)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def check_place(page: Path) -> tuple[str, str]:
    """Return what stands before and after the markers of ``page``; raises `NoPlace`."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise NoPlace(f"{page} has no lines {BEGIN} and {END}")
    return before, after


def _beside(standing: Standing) -> str:
    if standing.beside is None or standing.line.beside is None:
        return ""
    return f"{standing.line.beside.system}: {spread(standing.beside)}"
