"""What can be asked of the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.ground import Choice
from benchmarks.profiled import LAST_VERSION

DIRECTORY = Path("/var/tmp")
"""Not /tmp, which is memory on many machines: a flush would cost nothing there."""

PROFILES = Path("build/profiles")
PROFILED = ("drain", "roundtrips", "e2e", "enqueue")
_PROFILE = (
    f"run mailqueue alone under cProfile and tell where its time goes ({', '.join(PROFILED)}); "
    "figures mean little then"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The options: what is measured, where, and what is written at the end."""

    choice: Choice
    directory: Path
    database: str | None
    json: Path | None
    page: Path | None


def ask(arguments: Sequence[str] | None, measured: Iterable[str]) -> Asked:
    """Return what the command line asks for; ``measured`` are the names there are."""
    given = sys.argv[1:] if arguments is None else arguments
    known = tuple(measured)
    parser = _parser(known)
    chosen = parser.parse_args(given)
    choice = Choice(
        only=chosen.only or (PROFILED[:1] if chosen.profile else known),
        rounds=chosen.rounds,
        mails=chosen.mails,
        sessions=chosen.sessions,
        producers=chosen.producers,
        latency=chosen.latency,
        samples=chosen.samples,
        queued=chosen.queued,
        idle_seconds=chosen.idle_seconds,
        postfix=not chosen.without_postfix,
        tuned=chosen.tuned,
        profile=chosen.profile,
    )
    if choice.profile is not None:
        choice = _profiled(parser, choice)
    return Asked(choice, chosen.directory, chosen.database, chosen.json, chosen.write)


def _profiled(parser: argparse.ArgumentParser, choice: Choice) -> Choice:
    if sys.version_info[:2] > LAST_VERSION:
        parser.error("--profile needs Python 3.11: later, cProfile mixes the threads up")
    if unknown := set(choice.only) - set(PROFILED):
        parser.error(f"--profile is not for {', '.join(sorted(unknown))}")
    return replace(choice, rounds=1, postfix=False)


def _parser(known: tuple[str, ...]) -> argparse.ArgumentParser:
    default = Choice(only=known)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure mailqueue beside Postfix and beside what this machine allows.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--only", type=_names(known), metavar="A,B", help=f"some of {', '.join(known)}")
    add("--rounds", type=_positive, default=default.rounds)
    add("--mails", type=_positive, default=default.mails, help="in each drain")
    add("--sessions", type=_positive, default=default.sessions, help="to the relay, of each system")
    add("--producers", type=_positive, default=default.producers)
    add("--latency", type=float, default=default.latency, help="seconds, of each reply from afar")
    add("--samples", type=_positive, default=default.samples, help="of the latency when idle")
    add("--queued", type=_positive, default=default.queued, help="mails in the long queue")
    add("--idle-seconds", type=float, default=default.idle_seconds)
    add("--tuned", action="store_true", help="measure a Postfix with raised limits as well")
    add("--without-postfix", action="store_true", help="measure none of Postfix's programs")
    _add_places(parser)
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--directory", type=Path, default=DIRECTORY, help="its file system is what is measured")
    add("--database", metavar="URL", help="sqlite:///DIRECTORY for the outboxes, if elsewhere")
    add("--json", type=Path, metavar="FILE", help="write all figures there")
    add("--write", type=Path, metavar="PAGE", help="put the table between the markers of a page")
    add("--profile", type=Path, nargs="?", const=PROFILES, metavar="DIRECTORY", help=_PROFILE)


def _names(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(",") if name.strip())
        if unknown := set(names) - set(known):
            raise argparse.ArgumentTypeError(
                f"no measurement {', '.join(sorted(unknown))}; there are {', '.join(known)}"
            )
        return names

    return parse


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
