"""The configuration of a Postfix that has a directory of its own and touches nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

DEFAULT_CONCURRENCY = 20
"""default_destination_concurrency_limit, where it is not set."""


@dataclass(frozen=True, slots=True)
class PostfixSettings:
    """``sessions`` to the relay at the most. ``tuned``: also everything else that helps.

    Untuned, all parameters but those for a private instance are Postfix's own defaults.
    """

    directory: Path
    port: int
    relay_port: int
    sessions: int = DEFAULT_CONCURRENCY
    tuned: bool = False

    @property
    def config(self) -> Path:
        """Where main.cf and master.cf stand."""
        return self.directory / "etc"

    @property
    def queue(self) -> Path:
        """Where the mail is kept."""
        return self.directory / "spool"

    @property
    def data(self) -> Path:
        """Where its processes keep their locks; it belongs to mail_owner."""
        return self.directory / "data"

    def write(self, *, delivers: bool) -> Self:
        """Write both files."""
        for directory in (self.config, self.queue, self.data):
            directory.mkdir(parents=True, exist_ok=True)
        (self.config / "main.cf").write_text(self.main_cf(delivers=delivers))
        (self.config / "master.cf").write_text(self.master_cf(delivers=delivers))
        return self

    def main_cf(self, *, delivers: bool) -> str:
        """Return main.cf."""
        parameters = self._private() | self._speed()
        if not delivers:
            # It would slow the injector down, as nothing leaves.
            parameters["in_flow_delay"] = "0"
        return "".join(f"{name} = {value}\n" for name, value in parameters.items())

    def master_cf(self, *, delivers: bool) -> str:
        """Return master.cf: ports on the loopback, nothing chrooted; qmgr only if it delivers."""
        services = [f"127.0.0.1:{self.port} inet n - n - - smtpd"]
        services += [line for line in _SERVICES if delivers or not line.startswith(_DELIVERING)]
        return "\n".join(services) + "\n"

    def _private(self) -> dict[str, str]:
        return {
            "compatibility_level": "3.6",
            "queue_directory": str(self.queue),
            "data_directory": str(self.data),
            "syslog_name": "mailqueue-benchmark",
            "myhostname": "bench.example.org",
            "inet_interfaces": "127.0.0.1",
            "inet_protocols": "ipv4",
            "mydestination": "",
            "mynetworks": "127.0.0.0/8",
            "relayhost": f"[127.0.0.1]:{self.relay_port}",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "alias_maps": "",
            "alias_database": "",
            "disable_dns_lookups": "yes",
            "smtp_host_lookup": "native",
            "smtp_tls_security_level": "none",
            "smtpd_tls_security_level": "none",
        }

    def _speed(self) -> dict[str, str]:
        limits = {}
        if self.sessions != DEFAULT_CONCURRENCY or self.tuned:
            limits["default_destination_concurrency_limit"] = str(self.sessions)
        if self.tuned:
            limits |= {
                "initial_destination_concurrency": str(self.sessions),
                "default_process_limit": str(self.sessions + 150),
                "qmgr_message_active_limit": "50000",
                "in_flow_delay": "0",
                "smtp_connection_cache_destinations": f"[127.0.0.1]:{self.relay_port}",
            }
        return limits


_DELIVERING = ("qmgr ", "pickup ")
_SERVICES = (
    "pickup unix n - n 60 1 pickup",
    "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 300 1 qmgr",
    "rewrite unix - - n - - trivial-rewrite",
    "bounce unix - - n - 0 bounce",
    "defer unix - - n - 0 bounce",
    "trace unix - - n - 0 bounce",
    "verify unix - - n - 1 verify",
    "flush unix n - n 1000? 0 flush",
    "proxymap unix - - n - - proxymap",
    "proxywrite unix - - n - 1 proxymap",
    "smtp unix - - n - - smtp",
    "relay unix - - n - - smtp",
    "showq unix n - n - - showq",
    "error unix - - n - - error",
    "retry unix - - n - - error",
    "discard unix - - n - - discard",
    "anvil unix - - n - 1 anvil",
    "scache unix - - n - 1 scache",
)
