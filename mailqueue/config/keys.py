"""Every key there is, read off the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import get_args, get_origin

from pydantic import SecretStr

from mailqueue.config.model import Config
from mailqueue.config.section import Section

NAME = "NAME"
"""Stands in a key's path for what the operator chooses: the name of a relay."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its path, such as ("relays", NAME, "host"), and whether its value is secret."""

    path: tuple[str, ...]
    is_secret: bool

    def matches(self, path: Sequence[object]) -> bool:
        """Whether ``path`` leads to this key, whatever the relay is called."""
        return len(path) == len(self.path) and self.begins_with(path)

    def begins_with(self, path: Sequence[object]) -> bool:
        """Whether ``path`` leads to this key or to a table around it."""
        return len(path) <= len(self.path) and all(
            mine in (NAME, theirs) for mine, theirs in zip(self.path, path, strict=False)
        )


@cache
def known_keys() -> tuple[Key, ...]:
    """Return all keys, in the order of the models."""
    return tuple(_keys_of(Config, ()))


def find_key(path: Sequence[object]) -> Key | None:
    """Return the key that ``path`` leads to, or None."""
    return next((key for key in known_keys() if key.matches(path)), None)


def names_under(path: Sequence[object]) -> tuple[str, ...]:
    """Return the names of the keys and tables that may stand in the table at ``path``."""
    depth = len(path)
    under = (key for key in known_keys() if len(key.path) > depth and key.begins_with(path))
    return tuple(dict.fromkeys(key.path[depth] for key in under))


def _keys_of(section: type[Section], path: tuple[str, ...]) -> Iterator[Key]:
    for name, field in section.model_fields.items():
        if field.exclude:
            continue
        kinds = tuple(_kinds(field.annotation))
        table = next((kind for kind in kinds if issubclass(kind, Section)), None)
        if table is None:
            yield Key((*path, name), is_secret=SecretStr in kinds)
        else:
            chosen = (NAME,) if dict in kinds else ()
            yield from _keys_of(table, (*path, name, *chosen))


def _kinds(annotation: object) -> Iterator[type]:
    """Yield every class in an annotation, however deep in unions, Annotated and dict it stands."""
    origin = get_origin(annotation)
    for part in (origin, *get_args(annotation)) if origin else (annotation,):
        if get_origin(part):
            yield from _kinds(part)
        elif isinstance(part, type):
            yield part
