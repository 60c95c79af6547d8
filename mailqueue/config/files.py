"""The files that a configuration names: whether they can be used, and who else may read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from mailqueue.config.model import Config
from mailqueue.config.problems import Problem, shown, written_path
from mailqueue.config.secret import is_open_to_all, locate, read_secret_file

_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----")


def file_problems(config: Config, environ: Mapping[str, str]) -> Iterator[Problem]:
    """Yield what keeps a named file from being used: it is missing, unreadable, empty, no PEM."""
    for name, relay in config.relays.items():
        if relay.password_file is not None:
            flaw = _password_flaw(relay.password_file, environ)
            yield from _problems(("relays", name, "password_file"), relay.password_file, flaw)
        if relay.ca_file is not None:
            flaw = _certificate_flaw(relay.ca_file)
            yield from _problems(("relays", name, "ca_file"), relay.ca_file, flaw)


def file_warnings(config: Config, file: Path | None, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each file with a secret in it that every user may read."""
    for name, relay in config.relays.items():
        if relay.password_file is not None:
            path = locate(relay.password_file, environ)
            if is_open_to_all(path):
                yield f"relays.{name}.password_file: {_exposed(path)}"
    if file and any(relay.password for relay in config.relays.values()) and is_open_to_all(file):
        yield f"a relay's password is in the configuration, and {_exposed(file)}"


def _problems(path: tuple[str, ...], file: Path, flaw: str) -> Iterator[Problem]:
    if flaw:
        yield Problem(written_path(path), flaw, shown(path, file))


def _password_flaw(file: Path, environ: Mapping[str, str]) -> str:
    try:
        read_secret_file(locate(file, environ))
    except ValueError as error:
        return str(error)
    return ""


def _certificate_flaw(file: Path) -> str:
    try:
        content = file.read_bytes()
    except OSError as error:
        return f"cannot be read ({error.strerror}); name a file of certificates"
    if not _CERTIFICATE.search(content):
        return "holds no certificate in PEM form; name a file that does"
    return ""


def _exposed(path: Path) -> str:
    return f"{path} can be read by every user of this machine; take that away with chmod o-r"
