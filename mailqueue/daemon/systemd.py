"""The notify protocol of systemd (sd_notify(3)), without its library."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from mailqueue.clock import Clock


class Notifier:
    """Tells the service manager how the daemon is; does nothing where there is none."""

    def __init__(self, clock: Clock, environ: Mapping[str, str] | None = None) -> None:
        environ = os.environ if environ is None else environ
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._clock = clock
        self.watchdog_seconds = _watchdog_seconds(environ)

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager to tell."""
        return self._address is not None

    def ready(self) -> None:
        """The daemon takes mail."""
        self.send("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self.send(f"STATUS={text}")

    def alive(self) -> None:
        """The watchdog may wait for another period."""
        self.send("WATCHDOG=1")

    def reloading(self) -> None:
        """A new configuration is being read; `ready` ends it.

        The time must come with it, or a manager of version 253 and later waits in vain.
        """
        self.send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1e6)}")

    def stopping(self) -> None:
        """The daemon has begun to stop."""
        self.send("STOPPING=1")

    def extend(self, seconds: float) -> None:
        """Ask for up to ``seconds`` more before the manager loses patience."""
        self.send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def send(self, text: str) -> None:
        """Send ``text``. A service manager that cannot be told is no reason to stop mail."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
                to.setblocking(False)
                to.sendto(text.encode(), self._address)
        except OSError:
            return


def _address(name: str) -> str | None:
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Return the watchdog's period in seconds, None where it does not watch this process."""
    watched = environ.get("WATCHDOG_PID")
    if watched is not None and watched != str(os.getpid()):
        return None
    try:
        period = int(environ.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return period / 1e6 if period > 0 else None
