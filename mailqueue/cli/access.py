"""How a command gets at the outbox: which one, and a connection to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, TypeVar

import click

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mailqueue.config import Config
    from mailqueue.operate import Operator

R = TypeVar("R")

config_option = click.option(
    "--config",
    "config_file",
    metavar="FILE",
    envvar="MAILQUEUE_CONFIG",
    show_envvar=True,
    help="The configuration; by default /etc/mailqueue/config.toml, if it is there.",
)
database_option = click.option(
    "--database",
    metavar="URL",
    envvar="MAILQUEUE_DATABASE__URL",
    show_envvar=True,
    help="The outbox, in place of the one in the configuration.",
)


@dataclass(frozen=True, slots=True)
class Access:
    """An outbox that was named; ``config`` is None where it was named without a configuration."""

    url: str
    busy_timeout: float
    config: Config | None = None

    @property
    def default_relay(self) -> str | None:
        """The name of the relay for mail that names none, as far as a configuration says it."""
        return None if self.config is None else self.config.default_relay.name

    @property
    def relays(self) -> tuple[str, ...]:
        """The names of the relays in the configuration, if there is one."""
        return () if self.config is None else tuple(self.config.relays)

    def operator(self) -> Operator:
        """Return whoever is logged in, as somebody who decides about this outbox."""
        from mailqueue.operate import Operator

        return Operator(
            self.url,
            busy_timeout=self.busy_timeout,
            notify=self.config is None or self.config.database.notify,
            relays=self.relays,
            default_relay=self.default_relay,
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that cannot write, in a transaction of its own.

        Raises `OutboxError` where the outbox cannot be used, or its tables are of another version.
        """
        from mailqueue.outbox import schema

        with self.connecting() as connection:
            schema.check(connection)
            yield connection

    @contextmanager
    def connecting(self) -> Iterator[Connection]:
        """Do as `reading`, whatever version the tables are of."""
        from mailqueue.outbox.engine import read_engine
        from mailqueue.outbox.faults import translating

        with translating(self.url, reading=True):
            engine = read_engine(self.url, busy_timeout=self.busy_timeout)
            try:
                with engine.begin() as connection:
                    yield connection
            finally:
                engine.dispose()


def takes_outbox(command: Callable[Concatenate[Access, ...], R]) -> Callable[..., R]:
    """Give ``command`` the options that name an outbox, and the `Access` as first argument."""

    @config_option
    @database_option
    @wraps(command)
    def with_outbox(*args: Any, config_file: str | None, database: str | None, **rest: Any) -> R:
        return command(find(config_file, database), *args, **rest)

    return with_outbox


def find(config_file: str | None, database: str | None) -> Access:
    """Return the outbox that is named by URL, or else by the configuration.

    Raises `ConfigError` where the configuration is needed and cannot be used, and
    `click.BadParameter` for a URL that cannot be an outbox.
    """
    if database:
        from mailqueue.outbox.engine import BUSY_TIMEOUT

        return Access(checked_url(database), BUSY_TIMEOUT)
    from mailqueue.config import load
    from mailqueue.errors import ConfigError

    try:
        config = load(config_file, with_secrets=False).config
    except ConfigError as error:
        raise ConfigError(f"{error}\n(--database URL names an outbox without it)") from None
    return Access(config.database.url, config.database.busy_timeout, config)


def checked_url(database: str, *, hint: str = "'--database'") -> str:
    """Return ``database`` if it can name an outbox; raises `click.BadParameter`."""
    from mailqueue.errors import OutboxError
    from mailqueue.outbox.location import parse_url

    try:
        parse_url(database)
    except OutboxError as error:
        raise click.BadParameter(str(error), param_hint=hint) from None
    return database
