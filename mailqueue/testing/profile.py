"""What a relay offers: its name, extensions, TLS, users and limits."""

import math
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

DEFAULT_EXTENSIONS = (
    "PIPELINING",
    "SIZE 36700160",
    "8BITMIME",
    "SMTPUTF8",
    "ENHANCEDSTATUSCODES",
)


@dataclass(kw_only=True, eq=False)
class Profile:
    """How a relay presents itself. Fields may be assigned while it runs; new commands see them.

    Attributes:
        hostname: the name in greeting and EHLO.
        extensions: EHLO lines; STARTTLS and AUTH are added where they apply.
        tls: the context to serve TLS with; with it STARTTLS is offered.
        implicit_tls: TLS from the first byte (RFC 8314) instead of STARTTLS.
        require_tls: refuse MAIL outside TLS with 530.
        users: passwords, or for XOAUTH2 tokens, by user name. Where there are any, AUTH is
            offered: inside TLS only if there is TLS, otherwise in the clear.
        mechanisms: AUTH mechanisms, of PLAIN, LOGIN and XOAUTH2.
        require_auth: refuse MAIL without AUTH with 530.
        max_recipients: 452 4.5.3 to every RCPT beyond.
    """

    hostname: str = "relay.example"
    extensions: Sequence[str] = DEFAULT_EXTENSIONS
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    require_tls: bool = False
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN", "XOAUTH2")
    require_auth: bool = False
    max_recipients: int = 1000

    def __post_init__(self) -> None:
        if (self.implicit_tls or self.require_tls) and self.tls is None:
            raise ValueError("TLS needs a context: pass tls=...")
        if self.require_auth and not self.users:
            raise ValueError("nobody can authenticate: pass users=...")

    @property
    def keywords(self) -> frozenset[str]:
        """The names of the configured extensions, in upper case."""
        return _keywords(tuple(self.extensions))

    def offers_starttls(self, *, secured: bool) -> bool:
        """Whether STARTTLS is offered at this point of a session."""
        return self.tls is not None and not self.implicit_tls and not secured

    def offers_auth(self, *, secured: bool) -> bool:
        """Whether AUTH is offered at this point of a session."""
        return bool(self.users) and (secured or self.tls is None)

    def capabilities(self, *, secured: bool) -> list[str]:
        """Return the EHLO lines after the first."""
        lines = list(self.extensions)
        if self.offers_starttls(secured=secured):
            lines.append("STARTTLS")
        if self.offers_auth(secured=secured):
            lines.append(f"AUTH {' '.join(self.mechanisms)}")
        return lines

    @property
    def size_limit(self) -> float:
        """The limit in octets declared with SIZE (RFC 1870), infinite without a fixed one."""
        return _size_limit(tuple(self.extensions))


@lru_cache(maxsize=64)
def _keywords(extensions: tuple[str, ...]) -> frozenset[str]:
    return frozenset(line.partition(" ")[0].upper() for line in extensions)


@lru_cache(maxsize=64)
def _size_limit(extensions: tuple[str, ...]) -> float:
    for line in extensions:
        keyword, _, limit = line.partition(" ")
        if keyword.upper() == "SIZE" and limit:
            return int(limit) or math.inf
    return math.inf
