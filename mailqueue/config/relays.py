"""The relays: where mail is handed over, how the session is secured and how much it carries."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from mailqueue.config.host import EhloName, Host, IpAddress, is_loopback
from mailqueue.config.pacing import BackoffSettings, BreakerSettings, Timeouts
from mailqueue.config.rate import RateSetting
from mailqueue.config.secret import check_secret, check_secret_path, read_password_file
from mailqueue.config.section import Clash, Section, refuse
from mailqueue.config.values import Duration, DurationOrZero, FilePath, Line
from mailqueue.mail.rate import Rate

Tls = Literal["starttls", "implicit", "none"]
Auth = Literal["none", "plain", "login", "xoauth2"]

_PORTS: dict[Tls, int] = {"none": 25, "starttls": 587, "implicit": 465}
_NAME = re.compile(r"[a-z0-9]+(?:[_-][a-z0-9]+)*")


def check_relay_name(name: str) -> str:
    """Return ``name`` if a relay can be called so.

    Small letters, digits and single hyphens or underscores, so that every relay's keys can
    also be set from the environment (MAILQUEUE_RELAYS__NAME__KEY).
    """
    if not _NAME.fullmatch(name) or len(name) > 63:
        raise ValueError(
            "cannot be the name of a relay; use small letters and digits, with single hyphens "
            "or underscores between them, 63 at most",
        )
    return name


def _names(value: object) -> object:
    """Take one name, or several with commas, for an array: the environment has no arrays."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(","))
    return tuple(value) if isinstance(value, list) else value


def _default_auth(given: Mapping[str, object]) -> Auth:
    return "plain" if given.get("username") else "none"


class RelaySettings(Section):
    """One relay: an SMTP server that takes responsibility for our mail.

    Raises pydantic's ValidationError for contradictions; it never shows what was given.
    """

    name: Annotated[str, AfterValidator(check_relay_name), Field(exclude=True)]
    """The name of the table, [relays.NAME]; not a key of its own."""
    host: Host = "localhost"
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """None: the port that goes with ``tls``, see `effective_port`."""
    tls: Tls = "starttls"
    allow_plaintext: bool = False
    """Allows ``tls = "none"`` to a host that is not this machine."""
    ca_file: FilePath | None = None
    """Certificates to trust in place of the system's."""
    tls_server_name: Host | None = None
    """The name in the relay's certificate, where it is not ``host``."""
    username: Line | None = None
    auth: Auth = Field(default_factory=_default_auth)
    """By default "plain" where a username is given, else "none"."""
    password: Annotated[SecretStr, AfterValidator(check_secret)] | None = None
    password_file: Annotated[FilePath, BeforeValidator(check_secret_path)] | None = None
    """An absolute path, or the name of a credential in $CREDENTIALS_DIRECTORY."""
    local_hostname: EhloName | None = None
    """What we say after EHLO; None: this machine's full name."""
    source_address: IpAddress | None = None
    """The address of this machine to connect from."""
    pipelining: bool = True
    """Whether commands are sent in groups, where the relay offers PIPELINING (RFC 2920)."""
    connections: Annotated[int, Field(ge=1)] = 10
    rate: RateSetting | None = None
    """How many recipients it is offered in a time; None: as many as it takes."""
    burst: Annotated[int, Field(ge=1)] | None = None
    """How many of them at once; None: those of one second, see `effective_rate`."""
    messages_per_session: Annotated[int, Field(ge=1)] = 100
    idle_seconds: DurationOrZero = 30.0
    session_seconds: Duration = 300.0
    recipients_per_transaction: Annotated[int, Field(ge=1)] = 100
    fallback: Annotated[tuple[Line, ...], NoDecode, BeforeValidator(_names)] = ()
    """Relays to use, in order, while this one is paused."""
    timeouts: Timeouts = Timeouts()
    backoff: BackoffSettings | None = None
    """None: the global [backoff] holds, see `Config.backoff_for`."""
    breaker: BreakerSettings = BreakerSettings()

    @property
    def effective_port(self) -> int:
        """The port to connect to: as given, else 25, 587 or 465 by ``tls`` (RFC 8314)."""
        return _PORTS[self.tls] if self.port is None else self.port

    @property
    def effective_rate(self) -> Rate | None:
        """The limit of its rate, with its burst: by default the recipients of one second."""
        if self.rate is None:
            return None
        burst = self.burst or max(1, math.ceil(self.rate.count / self.rate.seconds))
        return Rate(self.rate.count, float(self.rate.seconds), burst)

    @property
    def most_recipients(self) -> int:
        """How many recipients one transaction has at the most: no burst is larger."""
        rate = self.effective_rate
        most = self.recipients_per_transaction
        return most if rate is None else min(most, rate.burst)

    def read_secret(self, environ: Mapping[str, str] | None = None) -> str:
        """Return the password, or for xoauth2 the token, as it is now.

        A file is read anew at each call, so that a refreshed token is used at the next
        connection. ``environ`` (by default the process's own) names $CREDENTIALS_DIRECTORY.
        Raises ConfigError when there is none or the file cannot be used.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        return read_password_file(self.password_file, self.name, environ)

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse([*self._transport_clashes(), *self._credential_clashes(), *self._rate_clashes()])
        return self

    def _transport_clashes(self) -> Iterator[Clash]:
        if self.tls != "none" or is_loopback(self.host):
            return
        if self.username is not None:
            yield Clash(
                ("username",),
                f"would cross the network readable: tls is none and {self.host} is not this "
                'machine; set tls = "starttls" or "implicit"',
            )
        elif not self.allow_plaintext:
            yield Clash(
                ("tls",),
                f"mail would cross the network readable: {self.host} is not this machine; set "
                'tls = "starttls" or "implicit", or allow_plaintext = true if it is meant',
            )

    def _rate_clashes(self) -> Iterator[Clash]:
        if self.burst is not None and self.rate is None:
            yield Clash(("burst",), "goes with rate, which is missing; add it, or remove burst")

    def _credential_clashes(self) -> Iterator[Clash]:
        files = self.password is not None, self.password_file is not None
        if all(files):
            yield Clash(("password_file",), "goes with password, but only one can hold; remove one")
        if self.auth == "none" and (any(files) or self.username is not None):
            yield Clash(
                ("auth",),
                "is none, but a username or password is given; remove them, or set auth and "
                "username",
            )
        if self.auth != "none" and self.username is None:
            yield Clash(("username",), f"is missing, but auth is {self.auth}; add it")
        if self.auth != "none" and not any(files):
            yield Clash(
                ("password_file",),
                f"is missing, but auth is {self.auth}; name the file that holds the password",
            )
