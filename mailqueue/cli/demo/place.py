"""Where the demo lives: a directory with the outbox, the configuration, a password and logs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mailqueue.cli.demo.relays import USER
from mailqueue.testing import ScriptedRelay

_CONFIGURATION = """\
[daemon]
default_relay = "main"
poll = "200ms"
poll_max = "500ms"
# Short, so that a stalled daemon loses its leases while we watch.
heartbeat = "500ms"
lease = "3s"
drain = "5s"

[limits]
free_disk = 0

[backoff]
initial = "400ms"
maximum = "2s"
give_up = "1h"
"""
_BREAKER = """
[relays.{name}.breaker]
initial = "800ms"
maximum = "1s"
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The files of a demo."""

    directory: Path

    @property
    def url(self) -> str:
        """The outbox."""
        return f"sqlite:///{self.directory / 'outbox.db'}"

    @property
    def config_file(self) -> Path:
        """What the daemons read."""
        return self.directory / "config.toml"

    @property
    def password_file(self) -> Path:
        """What the daemons present to the relay `account`."""
        return self.directory / "password"

    @property
    def ca_file(self) -> Path:
        """The certificate of who issued that of `account`; there only if it speaks TLS."""
        return self.directory / "ca.pem"

    def log_file(self, daemon: str) -> Path:
        """What the daemon of this name writes to standard error."""
        return self.directory / f"{daemon}.log"

    def write_password(self, password: str) -> None:
        """Put ``password`` in force for the next connection."""
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(f"{password}\n", encoding="utf-8")

    def write_configuration(self, relays: Mapping[str, ScriptedRelay]) -> None:
        """Write a configuration with short pauses for the relays by these names."""
        tables = "".join(self._relay(name, relay) for name, relay in relays.items())
        database = f"[database]\nurl = {_quoted(self.url)}\n\n"
        self.config_file.write_text(f"{database}{_CONFIGURATION}{tables}", encoding="utf-8")

    def _relay(self, name: str, relay: ScriptedRelay) -> str:
        keys = "\n".join(f"{key} = {value}" for key, value in self._keys(relay))
        return f"\n[relays.{name}]\n{keys}\n{_BREAKER.format(name=name)}"

    def _keys(self, relay: ScriptedRelay) -> Iterator[tuple[str, str | int]]:
        yield "host", _quoted(relay.host)
        yield "port", relay.port
        yield "connections", 4
        yield "tls", _quoted("none" if relay.tls is None else "starttls")
        if relay.tls is not None:
            yield "ca_file", _quoted(str(self.ca_file))
        if relay.users:
            yield "username", _quoted(USER)
            yield "password_file", _quoted(str(self.password_file))


def _quoted(text: str) -> str:
    # What JSON escapes, TOML's basic strings escape alike.
    return json.dumps(text)
