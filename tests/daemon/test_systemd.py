"""What the service manager is told, and where it listens."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from mailqueue.clock import FakeClock
from mailqueue.daemon.systemd import Notifier


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name is short enough for the address of a socket."""
    with tempfile.TemporaryDirectory(prefix="notify") as name:
        yield Path(name)


def listening(address: str) -> socket.socket:
    """Return a socket that listens where a service manager would."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.settimeout(5)
    manager.bind(address)
    return manager


def test_everything_is_said_as_the_protocol_wants_it(directory: Path) -> None:
    """The words of sd_notify(3), one datagram each."""
    clock = FakeClock()
    clock.advance(1.5)
    with listening(str(directory / "socket")) as manager:
        notifier = Notifier(clock, {"NOTIFY_SOCKET": str(directory / "socket")})
        assert notifier.is_heard
        notifier.ready()
        notifier.status("3 sending")
        notifier.alive()
        notifier.reloading()
        notifier.extend(20.0)
        notifier.stopping()
        heard = [manager.recv(1000).decode() for _ in range(6)]
    assert heard == [
        "READY=1",
        "STATUS=3 sending",
        "WATCHDOG=1",
        "RELOADING=1\nMONOTONIC_USEC=1500000",
        "EXTEND_TIMEOUT_USEC=20000000",
        "STOPPING=1",
    ]


def test_abstract_sockets_are_spoken_to(directory: Path) -> None:
    """An address that begins with @ has no file."""
    name = f"mailqueue-{directory.name}"
    with listening("\0" + name) as manager:
        Notifier(FakeClock(), {"NOTIFY_SOCKET": "@" + name}).ready()
        assert manager.recv(1000) == b"READY=1"


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:9"}])
def test_without_a_service_manager_nothing_is_said(environ: Mapping[str, str]) -> None:
    """A daemon in a terminal or a container needs none."""
    notifier = Notifier(FakeClock(), environ)
    assert not notifier.is_heard
    notifier.ready()


def test_a_service_manager_that_is_gone_stops_no_mail(directory: Path) -> None:
    """Nobody listens there; nothing is raised."""
    notifier = Notifier(FakeClock(), {"NOTIFY_SOCKET": str(directory / "nobody")})
    assert notifier.is_heard
    notifier.ready()


def test_a_service_manager_that_does_not_listen_blocks_nobody(directory: Path) -> None:
    """Where its queue is full the word is lost, and mail goes on."""
    with listening(str(directory / "socket")) as manager:
        notifier = Notifier(FakeClock(), {"NOTIFY_SOCKET": str(directory / "socket")})
        for _ in range(2000):
            notifier.alive()
        assert manager.recv(1000) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        pytest.param({"WATCHDOG_USEC": "30000000"}, 30.0, id="for whoever reads it"),
        pytest.param({"WATCHDOG_USEC": "1", "WATCHDOG_PID": str(os.getpid())}, 1e-6, id="for us"),
        pytest.param({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}, None, id="for another process"),
        pytest.param({"WATCHDOG_USEC": "1", "WATCHDOG_PID": "x"}, None, id="for nobody"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="off"),
        pytest.param({"WATCHDOG_USEC": "-5"}, None, id="negative"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no number"),
        pytest.param({}, None, id="unset"),
    ],
)
def test_the_watchdog_is_the_one_that_watches_this_process(
    environ: Mapping[str, str], seconds: float | None
) -> None:
    """Variables that were inherited from a service's parent are for the parent."""
    assert Notifier(FakeClock(), environ).watchdog_seconds == seconds


def test_the_environment_of_the_process_is_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is given, the variables are those that systemd has set."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    notifier = Notifier(FakeClock())
    assert notifier.is_heard
    assert notifier.watchdog_seconds == 2.0
