"""What is wrong with a configuration, in lines that name key, value and remedy and no secret."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from mailqueue.config.keys import find_key, known_keys, names_under
from mailqueue.config.section import Contradiction
from mailqueue.config.url import redact_url

Path = tuple[str | int, ...]

_LONGEST_VALUE = 100
_BARE_KEY = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")

_TEXTS = {
    "bool_type": "is not true or false; write one of them, without quotes",
    "dict_type": "is not a table; write it as [{path}] on a line of its own",
    "finite_number": "is not a finite number; write one",
    "float_type": "is not a number; write one, without quotes",
    "greater_than_equal": "is too small; it must be at least {ge}",
    "int_from_float": "is not a whole number; write one",
    "int_type": "is not a whole number; write one, without quotes",
    "less_than_equal": "is too large; it must be at most {le}",
    "literal_error": "is not known; it must be {expected}",
    "model_type": "is not a table; write it as [{path}] on a line of its own",
    "path_type": "is not a path; write one, in quotes",
    "string_type": "is not text; write it in quotes",
    "too_short": "is empty; give it a value or leave it out",
    "tuple_type": 'is not an array of names; write it as ["first", "second"]',
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, what was given there if it may be shown, and the remedy."""

    where: str
    text: str
    value: str = ""
    origin: str = ""

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        origin = f" (from {self.origin})" if self.origin else ""
        return f"{self.where}{value}{origin}: {self.text}"


def explain(
    error: ValidationError, given: Mapping[str, Any], variables: Mapping[tuple[str, ...], str]
) -> list[Problem]:
    """Return the problems in ``error``.

    ``given`` are the tables that were validated, and ``variables`` says which of their paths
    an environment variable has set.
    """
    return [
        Problem(
            where=written_path(path),
            text=text,
            value=shown(path, _value_at(path, given)),
            origin=_origin(path, variables),
        )
        for path, text in _findings(error)
    ]


def written_path(path: Path) -> str:
    """Return ``path`` as one would write it in the file, positions in an array left out."""
    return ".".join(
        part if _BARE_KEY.issuperset(part) else json.dumps(part)
        for part in path
        if isinstance(part, str)
    )


def shown(path: Path, value: object) -> str:
    """Return ``value`` as it may stand in a message; nothing if it might be or hold a secret.

    Only single values of known keys are shown: a table, or what stands under an unknown key,
    may hold a password in the wrong place. A bare name in password_file may be one, too.
    """
    names = tuple(part for part in path if isinstance(part, str))
    key = find_key(names)
    if key is None or key.is_secret or isinstance(value, Mapping | list | tuple) or value is None:
        return ""
    if names[-1] == "password_file" and not str(value).startswith("/"):
        return ""
    if isinstance(value, bool | int | float):
        return _cut(json.dumps(value))
    return json.dumps(_cut(redact_url(str(value))))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _findings(error: ValidationError) -> Iterator[tuple[Path, str]]:
    # include_input would do no harm here, yet what is not asked for cannot leak.
    for finding in error.errors(include_url=False, include_input=False):
        path, kind = finding["loc"], finding["type"]
        context = finding.get("ctx", {})
        reason = context.get("error")
        if isinstance(reason, Contradiction):
            for clash in reason.clashes:
                yield (*path, *clash.path), clash.text
        elif kind == "default_factory_not_called":
            continue  # A default that hangs on a key that is wrong itself, which is told anyway.
        elif kind == "extra_forbidden":
            yield path, _unknown_key(path)
        elif isinstance(reason, ValueError):
            yield _without_name(path), str(reason)
        else:
            yield path, _text(kind, {**context, "path": written_path(path)}) or finding["msg"]


def _text(kind: str, context: Mapping[str, object]) -> str:
    return _TEXTS.get(kind, "").format_map(context)


def _without_name(path: Path) -> Path:
    """The name of a relay is the name of its table, so a bad one is the table's problem."""
    return path[:-1] if path[:1] == ("relays",) and path[2:] == ("name",) else path


def _unknown_key(path: Path) -> str:
    *around, name = path
    there_are = names_under(around)
    written = str(name).lower().replace("-", "_")
    close = get_close_matches(written, there_are, n=1)
    if close:
        return f"is no key; did you mean {close[0]}?"
    elsewhere = [key.path[:-1] for key in known_keys() if key.path[-1] == written]
    if elsewhere:
        tables = " or ".join(f"[{'.'.join(table)}]" for table in elsewhere)
        return f"is no key here; it belongs in {tables}"
    return f"is no key; remove it, or take one of: {', '.join(there_are)}"


def _value_at(path: Path, given: object) -> object:
    for part in path:
        if isinstance(given, Mapping):
            given = given.get(part)
        elif isinstance(given, Sequence) and not isinstance(given, str) and isinstance(part, int):
            given = given[part] if part < len(given) else None
        else:
            break
    return given


def _origin(path: Path, variables: Mapping[tuple[str, ...], str]) -> str:
    return variables.get(tuple(part for part in path if isinstance(part, str)), "")
