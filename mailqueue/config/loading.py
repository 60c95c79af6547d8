"""From a file and the environment to a checked configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mailqueue.config.defaults import with_default_outbox, with_default_relay
from mailqueue.config.environment import Overrides, read_environment
from mailqueue.config.files import file_problems, file_warnings
from mailqueue.config.model import Config
from mailqueue.config.problems import Problem, explain
from mailqueue.config.sections import DatabaseSettings
from mailqueue.config.toml import SYSTEM_FILE, find_file, read_file
from mailqueue.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and where it came from, as a sentence for the log.

    ``warnings`` are sentences about what works and should not stay so; ``file`` is None
    where there was none.
    """

    config: Config
    source: str
    warnings: tuple[str, ...] = ()
    file: Path | None = None


def load(
    path: Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    system_file: Path = SYSTEM_FILE,
    with_secrets: bool = True,
    options: Mapping[str, str] | None = None,
) -> Loaded:
    """Read, merge and check the configuration; may be called again at any time (SIGHUP).

    The file is ``path``, else $MAILQUEUE_CONFIG, else ``system_file`` if it exists, else
    none. The environment goes over the file, and the file over the defaults.
    ``with_secrets``: whether the files of passwords must be there and readable. Whoever only
    looks into the outbox may not read them, and need not. ``options`` are variables like those
    of the environment, and over them, that a command line stands for.

    Raises ConfigError, whose text names each key that is wrong, its value and the remedy,
    and no secret.
    """
    options = options or {}
    environ = {**(os.environ if environ is None else environ), **options}
    file = find_file(path, environ, system_file)
    written = read_file(file) if file else {}
    overrides = read_environment(environ, _relays(written))
    given = _merged(written, overrides.tables)
    completed = with_default_outbox(given, environ)
    completed = with_default_relay(completed, in_file="relays" in written)
    config = _checked(completed, overrides, file)
    if with_secrets and (problems := [*file_problems(config, environ)]):
        raise ConfigError(_report(problems, file))
    about_files = file_warnings(config, file, environ) if with_secrets else ()
    return Loaded(
        config,
        source=_source(config, given, file, _said(overrides, options)),
        warnings=(*_warnings(overrides), *about_files),
        file=file,
    )


def _relays(written: Mapping[str, Any]) -> tuple[str, ...]:
    relays = written.get("relays")
    return tuple(relays) if isinstance(relays, Mapping) else ()


def _merged(written: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``written`` with ``over`` put over it, key by key, tables into tables.

    What is no table where there should be one stays, so that the error names it.
    """
    merged = dict(written)
    for name, value in over.items():
        before = merged.get(name, {})
        if not isinstance(value, Mapping):
            merged[name] = value
        elif isinstance(before, Mapping):
            merged[name] = _merged(before, value)
    return merged


def _checked(given: dict[str, Any], overrides: Overrides, file: Path | None) -> Config:
    problems = [
        Problem(name, f"is no key of the configuration; {remedy}")
        for name, remedy in sorted(overrides.unknown.items())
    ]
    config = None
    try:
        config = Config.model_validate(given)
    except ValidationError as error:
        problems += explain(error, given, overrides.variables)
    if config is None or problems:
        # Raised outside the handler: a ValidationError carries all input, secrets and all.
        raise ConfigError(_report(problems, file))
    return config


def _report(problems: Iterable[Problem], file: Path | None) -> str:
    lines = [f"  {problem}" for problem in problems]
    where = f"in {file} or the environment" if file else "in the environment"
    return "\n".join([f"the configuration cannot be used, look {where}:", *lines])


def _warnings(overrides: Overrides) -> Iterator[str]:
    for name, meant in sorted(overrides.doubtful.items()):
        yield f"{name} is set and not read; if it is meant for mailqueue, write {meant}"


def _said(overrides: Overrides, options: Mapping[str, str]) -> list[str]:
    """Say what goes over the file, and from where."""
    by_option = [".".join(path) for path, name in overrides.variables.items() if name in options]
    from_outside = [name for name in overrides.variables.values() if name not in options]
    places = {"the environment": from_outside, "the command line": by_option}
    return [f"over it from {place}: {', '.join(found)}" for place, found in places.items() if found]


def _source(
    config: Config, given: Mapping[str, Any], file: Path | None, said: Sequence[str]
) -> str:
    parts = [f"configuration from {file}" if file else "no configuration file", *said]
    defaults = []
    if "url" not in given.get("database", {}):
        defaults.append(f"the outbox {_outbox(config)}")
    if "relays" not in given:
        relay = config.default_relay
        defaults.append(f"the relay {relay.host} port {relay.effective_port}, tls {relay.tls}")
    if defaults:
        parts.append(f"using {' and '.join(defaults)}")
    return "; ".join(parts)


def _outbox(config: Config) -> str:
    """Name the default outbox: in systemd's state directory, or else relative to where we are."""
    is_relative = config.database.url == DatabaseSettings().url
    return f"{config.database.url} in {Path.cwd()}" if is_relative else config.database.url
