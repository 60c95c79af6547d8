"""Passwords and tokens: read from files, checked, and never shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from mailqueue.errors import ConfigError

MASK = "********"
"""What is shown in place of a secret, whatever its length."""

_MAX_BYTES = 65_536
_RELATIVE = "is a relative path; write an absolute one, or the name of a credential"


def check_secret(secret: SecretStr) -> SecretStr:
    """Return ``secret`` if AUTH can carry it (RFC 4616 section 2): one line, not empty."""
    _check(secret.get_secret_value())
    return secret


def check_secret_path(value: object) -> object:
    """Return ``value`` if it is absolute or a bare name; "./name" would become one unseen."""
    if isinstance(value, str) and "/" in value and not value.startswith("/"):
        raise ValueError(_RELATIVE)
    return value


def read_password_file(
    file: Path | None, relay: str, environ: Mapping[str, str] | None = None
) -> str:
    """Return what ``file`` holds, without the line break at its end.

    Raises ConfigError, which names the key and says nothing of the content.
    """
    key = f"relays.{relay}.password_file"
    if file is None:
        raise ConfigError(f"{key} is not set, and neither is password; set one of them")
    try:
        return read_secret_file(locate(file, environ))
    except ValueError as error:
        raise ConfigError(f"{key} {error}") from None


def locate(file: Path, environ: Mapping[str, str] | None = None) -> Path:
    """Return the path of a password file: absolute as it is, a bare name as a credential.

    Raises ValueError without the name in it: whoever mistakes the key writes a password there.
    """
    if file.is_absolute():
        return file
    if len(file.parts) != 1 or file.name in {"", ".."}:
        raise ValueError(_RELATIVE)
    directory = (os.environ if environ is None else environ).get("CREDENTIALS_DIRECTORY")
    if not directory:
        raise ValueError(
            "names a credential, but $CREDENTIALS_DIRECTORY is not set; write an absolute path, "
            "or add LoadCredential= to the unit",
        )
    path = Path(directory, file)
    # Not Path.exists(), which raises where the directory may not be looked into.
    if not os.path.exists(path):
        raise ValueError(f"names a credential that is not in {directory}; {_offer(directory)}")
    return path


def read_secret_file(path: Path) -> str:
    """Return the one line that ``path`` holds; raises ValueError that says why it will not do."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"is no regular file ({path}); name the file with the password")
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ValueError(
            f"cannot be read ({path}: {error.strerror}); it must exist and be readable by the "
            "user that mailqueue runs as",
        ) from None
    return _decode(content)


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this machine may read ``path``; not if it has just gone away."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: a pipe that nobody writes to would stop the daemon."""
    return os.open(path, flags | os.O_NONBLOCK)


def _decode(content: bytes) -> str:
    if len(content) > _MAX_BYTES:
        raise ValueError("holds more than 64 KiB; it must hold the password and nothing else")
    # What is not UTF-8 becomes surrogates, which _check refuses without an exception that
    # carries the bytes.
    secret = content.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
    _check(secret)
    return secret


def _check(secret: str) -> None:
    if not secret:
        raise ValueError("is empty; it must hold the password")
    if any(ord(character) < 32 or ord(character) == 127 for character in secret):
        raise ValueError(
            "holds a control character or a second line; it must be the password and nothing else",
        )
    if any("\ud800" <= character <= "\udfff" for character in secret):
        raise ValueError("is not UTF-8 text; it must be the password and nothing else")


def _offer(directory: str) -> str:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        names = []
    if not names:
        return "nothing is there: add LoadCredential= to the unit"
    return f"there are: {', '.join(names)}"
