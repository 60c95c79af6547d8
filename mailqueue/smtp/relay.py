"""A relay as the wire sees it: its settings, its one TLS context, and clients for it."""

from __future__ import annotations

import socket
import ssl

import aiosmtplib

from mailqueue.config.relays import RelaySettings
from mailqueue.errors import ConfigError


class Relay:
    """One configured relay. Building it reads certificates; connecting does not.

    Raises ConfigError where ``ca_file`` cannot be used.
    """

    def __init__(self, settings: RelaySettings) -> None:
        self.settings = settings
        self.tls_context = _tls_context(settings)

    @property
    def name(self) -> str:
        """The name it has in the configuration."""
        return self.settings.name

    @property
    def server_name(self) -> str:
        """The name that its certificate must bear."""
        return (self.settings.tls_server_name or self.settings.host).rstrip(".")

    def client(self, sock: socket.socket, *, local_hostname: str) -> aiosmtplib.SMTP:
        """Return aiosmtplib's client for a connected socket; it will own the socket.

        STARTTLS and AUTH are left to us: by itself the library would do without TLS where it
        is not offered, and try every mechanism with a wrong password.
        """
        return aiosmtplib.SMTP(
            hostname=self.server_name,
            sock=sock,
            local_hostname=local_hostname,
            use_tls=self.settings.tls == "implicit",
            start_tls=False,
            tls_context=self.tls_context,
        )


def _tls_context(settings: RelaySettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigError(
            f"relays.{settings.name}.ca_file cannot be used ({settings.ca_file}: {error}); "
            "it must hold certificates in PEM format",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
