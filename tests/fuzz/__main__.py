"""`make fuzz`: every target for a while under a coverage-guided fuzzer (atheris, libFuzzer).

    python -m tests.fuzz SECONDS            every target, SECONDS each
    python -m tests.fuzz SECONDS TARGET     one of them

What breaks a target is kept in build/fuzz and can be given to it again:
`python -m tests.fuzz 1 reply build/fuzz/reply-crash-…`.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

from tests.fuzz.corpus import SEEDS

FOUND = Path("build") / "fuzz"
LONGEST = 4096
"""Octets of an input: enough for any rule to matter."""


def main(arguments: list[str]) -> int:
    """Fuzz as told; returns the exit status, 1 where a target was broken."""
    seconds = int(arguments[0]) if arguments else 30
    if importlib.util.find_spec("atheris") is None:
        sys.stdout.write(
            "make fuzz is skipped: atheris is not installed (it has wheels for CPython 3.11 to 3.13"
            " on Linux). The same targets run under hypothesis with every `make test`.\n"
        )
        return 0
    if len(arguments) > 1:
        _fuzz(arguments[1], seconds, arguments[2:])
    broken = [name for name in SEEDS if _run(name, seconds)]
    for name in SEEDS:
        sys.stdout.write(f"{name:<12} {'BROKEN' if name in broken else 'held'}\n")
    return 1 if broken else 0


def _run(name: str, seconds: int) -> int:
    """Fuzz one target in a process of its own, because libFuzzer ends the one it runs in."""
    command = [sys.executable, "-m", "tests.fuzz", str(seconds), name]
    return subprocess.run(command, check=False).returncode


def _fuzz(name: str, seconds: int, inputs: list[str]) -> None:
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["mailqueue"]):
        targets = importlib.import_module("tests.fuzz.targets")
    corpus = FOUND / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(SEEDS[name]):
        (corpus / f"seed-{number}").write_bytes(octets)
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            f"-artifact_prefix={FOUND}/{name}-",
            "-verbosity=0",
            *(inputs or [str(corpus)]),
        ],
        targets.TARGETS[name],
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
