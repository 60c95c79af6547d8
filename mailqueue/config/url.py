"""The address of the outbox database."""

from __future__ import annotations

import re

from mailqueue.config.secret import MASK

_KNOWN = re.compile(r"(sqlite|postgresql)(?:\+(?:pysqlite|aiosqlite|psycopg))?://(.*)")
_PASSWORD = re.compile(r"\A((?>(?:[a-z][a-z0-9+.-]*://)?)[^:]*):.*@", re.IGNORECASE)
_PASSWORD_IN_QUERY = re.compile(r"([?&]\w*(?:pass|pwd|secret|token)\w*=)[^&]*", re.IGNORECASE)


def check_url(url: str) -> str:
    """Return ``url`` if it names a database that can hold an outbox; else raise ValueError."""
    known = _KNOWN.fullmatch(url)
    if not known:
        raise ValueError(
            "is no database that mailqueue knows; write sqlite:///PATH, with four slashes before "
            "an absolute path",
        )
    kind, rest = known.groups()
    if kind == "sqlite" and not _names_a_file(rest):
        raise ValueError(
            "names no file, and an outbox in memory would lose mail; write sqlite:///PATH",
        )
    return url


def redact_url(url: str) -> str:
    """Return ``url`` without its password, neither before the host nor in the query.

    Takes any text: rather too much is masked than too little.
    """
    return _PASSWORD_IN_QUERY.sub(rf"\1{MASK}", _PASSWORD.sub(rf"\1:{MASK}@", url))


def _names_a_file(rest: str) -> bool:
    path = rest.partition("?")[0].removeprefix("/")
    return rest.startswith("/") and path not in {"", ":memory:"} and not path.startswith("file:")
