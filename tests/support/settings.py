"""Configurations for tests, which make a daemon quick and lead it to a relay of the test's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mailqueue.config import Config, Loaded
from mailqueue.testing import ScriptedRelay
from tests.support.outbox_file import PlainOutbox

Settings = dict[str, Any]
"""A configuration, or a part of it, as it would stand in TOML."""

_QUICK: Settings = {
    "daemon": {"poll": 0.1, "poll_max": 0.25, "drain": 10},
    "limits": {"free_disk": 0},
}


def leading_to(relay: ScriptedRelay, **keys: Any) -> Settings:
    """Return the settings of a relay that lead to this one, without TLS unless ``keys`` say so."""
    return {"host": relay.host, "port": relay.port, "tls": "none"} | keys


def settings_for(outbox: PlainOutbox, relays: Mapping[str, Settings], **sections: Any) -> Settings:
    """Return a whole configuration; ``sections`` go over what makes a daemon of tests quick."""
    names = {*_QUICK, *sections}
    merged = {name: _QUICK.get(name, {}) | sections.get(name, {}) for name in names}
    database = {"url": outbox.url} | merged.pop("database", {})
    return {"database": database, "relays": dict(relays), **merged}


def loaded(settings: Settings) -> Loaded:
    """Return checked settings as a file would give them."""
    return Loaded(Config.model_validate(settings), "a test")


def write_settings(path: Path, settings: Settings) -> None:
    """Write a configuration file that nobody else may read."""
    path.write_text("\n".join(_toml(settings)))
    path.chmod(0o600)


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Write a table, those inside of it after its own keys."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    if path:
        yield f"[{'.'.join(path)}]"
    for key in table.keys() - inner.keys():
        yield f"{key} = {_toml_value(table[key])}"
    for key, value in inner.items():
        yield from _toml(value, (*path, key))


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    return repr(value) if isinstance(value, int | float) else f'"{value}"'
