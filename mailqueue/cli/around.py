"""What is known besides the mail itself, read when a command looks."""

from __future__ import annotations

from sqlalchemy import Connection

from mailqueue.cli.access import Access
from mailqueue.cli.waiting import Surroundings
from mailqueue.mail.schedule import Backoff
from mailqueue.outbox import relays
from mailqueue.outbox.moment import present
from mailqueue.outbox.tables import DEFAULT_RELAY


def surroundings(connection: Connection, access: Access) -> Surroundings:
    """Return the relays as the daemon shows them and as they are configured, and the time."""
    configured = None if access.config is None else access.relays
    rows, now = relays.load(connection), present(connection)
    return Surroundings(rows, access.default_relay, now, configured)


def backoff(access: Access, name: str) -> Backoff:
    """Return the schedule of mail that carries ``name``: that of its relay, or the global one.

    Without a configuration, the one that holds where nothing is configured.
    """
    config = access.config
    if config is None:
        return Backoff()
    relay = config.default_relay.name if name == DEFAULT_RELAY else name
    settings = config.backoff_for(relay) if relay in config.relays else config.backoff
    return Backoff(**settings.model_dump())
