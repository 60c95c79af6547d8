"""A configuration written out again, for `mailqueue config show`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mailqueue.config.keys import find_key
from mailqueue.config.model import Config
from mailqueue.config.secret import MASK


def describe(config: Config) -> str:
    """Return ``config`` as TOML: everything in force, defaults too, secrets as asterisks.

    What is derived is written out as well: the default relay, each relay's port and backoff.
    """
    tables = config.model_dump(mode="json")
    tables["daemon"]["default_relay"] = config.default_relay.name
    for name, relay in config.relays.items():
        tables["relays"][name]["port"] = relay.effective_port
        tables["relays"][name]["backoff"] = config.backoff_for(name).model_dump(mode="json")
    return "\n\n".join("\n".join(lines) for lines in _tables(tables, ())) + "\n"


def _tables(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the lines of each table that has keys of its own, inner tables after outer ones."""
    keys = [
        f"{name} = {_value((*path, name), value)}"
        for name, value in table.items()
        if value is not None and not isinstance(value, Mapping)
    ]
    if keys:
        yield [f"[{'.'.join(path)}]", *keys]
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _tables(value, (*path, name))


def _value(path: tuple[str, ...], value: object) -> str:
    """Write ``value`` as TOML, which takes strings, numbers and arrays as JSON writes them."""
    key = find_key(path)
    return json.dumps(MASK if key is None or key.is_secret else value, ensure_ascii=False)
