"""Replay one history: ``python -m tests.simulation SEED`` prints what happened."""

from __future__ import annotations

import sys

from tests.simulation.history import live
from tests.simulation.place import place


def main() -> None:
    """Print the history of the seed that is given."""
    with place() as directory:
        history = live(int(sys.argv[1]), directory)
    print("\n".join(history.trace))  # noqa: T201 - it is asked for
    print(f"{history.days:.2f} days; {dict(sorted(history.met.items()))}")  # noqa: T201


if __name__ == "__main__":
    main()
