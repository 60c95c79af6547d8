"""Files that are shipped beside the code: the units, and the example of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Final

UNITS: Final = {
    "mailqueue.service": "system/mailqueue.service",
    "mailqueue@.service": "system/mailqueue@.service",
    "sysusers": "sysusers.d/mailqueue.conf",
    "tmpfiles": "tmpfiles.d/mailqueue.conf",
}
"""What systemd reads: its name on our command line, and its place below ``deploy/``."""

_EXECUTABLE: Final = "/usr/bin/mailqueue"


def unit(name: str, *, executable: Path) -> str:
    """Return one of `UNITS` with ``executable`` as what it starts.

    Raises `ValueError` where the path is one that systemd would read otherwise.
    """
    _check_plain(executable)
    text = (_deploy() / UNITS[name]).read_text(encoding="utf-8")
    return text.replace(f"ExecStart={_EXECUTABLE} ", f"ExecStart={executable} ")


def example() -> str:
    """Return the configuration with every key."""
    packaged = _package() / "_config.example.toml"
    path = packaged if packaged.is_file() else _package().parent / "config.example.toml"
    return path.read_text(encoding="utf-8")


def _check_plain(executable: Path) -> None:
    text = str(executable)
    if not executable.is_absolute() or not text.isprintable() or set(text) & set(" \"'\\%$;"):
        raise ValueError(f"{text!r} is not an absolute path without blanks and special characters")


def _deploy() -> Path:
    packaged = _package() / "_deploy"
    return packaged if packaged.is_dir() else _package().parent / "deploy"


def _package() -> Path:
    # From this file and not by import, which would find the copy that an editable
    # installation leaves in site-packages.
    return Path(__file__).parents[1]
