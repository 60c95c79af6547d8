"""What the environment says over the file: MAILQUEUE_SECTION__KEY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from mailqueue.config.keys import NAME, find_key, known_keys
from mailqueue.config.model import Config
from mailqueue.config.toml import FILE_VARIABLE

PREFIX = "MAILQUEUE_"
DELIMITER = "__"
TEST_PREFIX = "MAILQUEUE_TEST_"
"""Variables of test suites, which are none of our business."""


class _Names(Config, BaseSettings):
    """Config as pydantic-settings wants to see it; never made, so only `load` reads variables."""

    model_config = SettingsConfigDict(strict=True)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the environment sets.

    ``tables`` has the form of a file. ``variables`` tells for each path which variable set
    it. ``unknown`` are variables that were meant for us and match no key, each with a remedy;
    ``doubtful`` those that only look so.
    """

    tables: dict[str, Any]
    variables: dict[tuple[str, ...], str]
    unknown: dict[str, str]
    doubtful: dict[str, str]


def read_environment(environ: Mapping[str, str], relays: Iterable[str] = ()) -> Overrides:
    """Return what ``environ`` overrides; ``relays`` are the names that the file knows.

    A variable that is empty counts as not set, as it is what `NAME=${NAME}` leaves behind.
    """
    ours = [name for name in environ if _is_ours(name)]
    paths = {name: _path(name, relays) for name in ours if DELIMITER in name}
    known = {name: path for name, path in paths.items() if find_key(path)}
    variables = {path: name for name, path in known.items() if environ[name]}
    return Overrides(
        tables=_tables({path: environ[name] for path, name in variables.items()}),
        variables=variables,
        unknown={name: _remedy(name, paths[name]) for name in paths.keys() - known.keys()},
        doubtful=_doubtful(ours),
    )


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name != FILE_VARIABLE and not name.startswith(TEST_PREFIX)


def _path(name: str, relays: Iterable[str]) -> tuple[str, ...]:
    """Return the path that a variable names. SES_EU means the relay ses-eu where there is one.

    No shell can write a hyphen in a variable's name.
    """
    section, *rest = name.removeprefix(PREFIX).lower().split(DELIMITER)
    if section == "relays" and rest and rest[0] not in relays:
        rest[0] = next((relay for relay in relays if relay.replace("-", "_") == rest[0]), rest[0])
    return (section, *rest)


def _tables(values: Mapping[tuple[str, ...], str]) -> dict[str, Any]:
    """Return ``values`` as tables, numbers and booleans as such.

    pydantic-settings does the nesting and, because the models are strict, the conversion. It
    does not look into the environment itself: it passes over a variable that matches no
    field, and a misspelt one would be silent. Releases before 2.15 convert otherwise.
    """
    source = EnvSettingsSource(_Names, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)
    source.env_vars = {_lower_name(path): value for path, value in values.items()}
    return source()


def _lower_name(path: tuple[str, ...]) -> str:
    return f"{PREFIX}{DELIMITER.join(path)}".lower()


def _upper_name(path: Iterable[str], delimiter: str = DELIMITER) -> str:
    return f"{PREFIX}{delimiter.join(path).replace('-', '_')}".upper()


def _remedy(name: str, path: tuple[str, ...]) -> str:
    relay = path[1] if path[0] == "relays" and len(path) > 2 else NAME
    there_are = [
        _upper_name(relay if part == NAME else part for part in key.path).removeprefix(PREFIX)
        for key in known_keys()
    ]
    # Without the prefix, which all have in common and which would make all of them alike.
    close = get_close_matches(name.removeprefix(PREFIX).upper(), there_are, n=1)
    return (
        f"did you mean {PREFIX}{close[0]}?"
        if close
        else "unset it, or see `mailqueue config example`"
    )


def _doubtful(names: Iterable[str]) -> dict[str, str]:
    """Return variables that a single underscore keeps from being ours, and what they may mean.

    No error, because Kubernetes sets MAILQUEUE_PORT and its like for a service of this name.
    """
    meant = {_upper_name(key.path, "_"): _upper_name(key.path) for key in known_keys()}
    return {name: meant[name] for name in names if name in meant}
