"""The directory in which simulated worlds keep their files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import trustme

_MEMORY = Path("/dev/shm")
"""No disk: what a simulated power failure would lose is not what is tested here."""


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """Yield a new directory with what every world in it expects, and remove it at the end."""
    with TemporaryDirectory(prefix="world-", dir=_MEMORY if _MEMORY.is_dir() else None) as name:
        # The system's certificates would be read for each relay, and take longest of all.
        (Path(name) / "authority.pem").write_bytes(_authority())
        yield Path(name)


@cache
def _authority() -> bytes:
    return trustme.CA().cert_pem.bytes()
