"""What holds where nothing was configured: an outbox at hand and a relay on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mailqueue.config.host import is_loopback
from mailqueue.config.model import DEFAULT_RELAY


def with_default_outbox(given: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return ``given`` with a database in systemd's state directory, if there is one.

    Elsewhere the model's own default holds, a file in the working directory.
    """
    database = given.get("database", {})
    # systemd lists several directories with colons between them (systemd.exec(5)).
    directory = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if not directory or not isinstance(database, Mapping) or "url" in database:
        return given
    url = f"sqlite:///{Path(directory, 'outbox.db')}"
    return {**given, "database": {**database, "url": url}}


def with_default_relay(given: dict[str, Any], *, in_file: bool) -> dict[str, Any]:
    """Return ``given`` with the relay "default" on this machine, if no relay is configured.

    ``in_file`` says whether the file has any. Where only the environment speaks of this
    relay, it stays without TLS for as long as it is on this machine: whoever sets the port
    for a mail catcher need not know more.
    """
    relays = given.get("relays", {DEFAULT_RELAY: {}})
    if in_file or DEFAULT_RELAY not in relays:
        return given
    relay = relays[DEFAULT_RELAY]
    if is_loopback(relay.get("host", "localhost")):
        relay = {"tls": "none", **relay}
    return {**given, "relays": {**relays, DEFAULT_RELAY: relay}}
