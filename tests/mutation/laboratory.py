"""A copy of the checkout in which the code may be broken."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.mutation.mutations import Mutation

ROOT: Final = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "build", "*.egg-info"
)
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py::\w+)", re.MULTILINE)
_SOME_FAILED = 1
"""pytest's exit status where tests ran and some of them failed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a mutation. ``caught_by``: the test that failed, None where none did."""

    mutation: Mutation
    caught_by: str | None


class Laboratory:
    """The copy; the working tree itself is never changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def try_out(self, mutation: Mutation) -> Finding:
        """Apply ``mutation``, run its tests until one fails, and take it back.

        Raises RuntimeError where the tests could not be run at all, which proves nothing.
        """
        file = self._directory / mutation.file
        whole = file.read_text()
        file.write_text(mutated(whole, mutation))
        try:
            ended = self.run(mutation.tests)
        finally:
            file.write_text(whole)
        return Finding(mutation, _caught_by(ended))

    def run(self, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run tests of the copy, up to the first that fails."""
        command = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests)
        # The copy goes before the checkout, which an editable installation points to.
        environ = os.environ | {"PYTHONPATH": str(self._directory), "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            command,
            cwd=self._directory,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )


@contextlib.contextmanager
def laboratory() -> Iterator[Laboratory]:
    """Make a copy of the checkout and remove it in the end."""
    with tempfile.TemporaryDirectory(prefix="mailqueue-mutation-") as name:
        directory = Path(name) / "checkout"
        shutil.copytree(ROOT, directory, ignore=_LEFT_OUT)
        yield Laboratory(directory)


def mutated(text: str, mutation: Mutation) -> str:
    """Return ``text`` with the mutation in it; its place must be there exactly once."""
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.file} does not hold exactly once: {mutation.old!r}")
    return text.replace(mutation.old, mutation.new)


def _caught_by(ended: subprocess.CompletedProcess[str]) -> str | None:
    if ended.returncode == 0:
        return None
    found = _FAILED.search(ended.stdout)
    if ended.returncode != _SOME_FAILED or found is None:
        raise RuntimeError(f"the tests could not be run:\n{ended.stdout}\n{ended.stderr}")
    return found[1]
