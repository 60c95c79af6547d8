"""A private Postfix: started, filled, let go and ended by the benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks import mails
from benchmarks.postfix_config import PostfixSettings
from benchmarks.processes import tree

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_WAITING: Final = ("incoming", "active", "deferred", "maildrop")
_SOON: Final = 30.0


def found(program: str) -> str | None:
    """Return where a program of Postfix is, if it is anywhere."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def missing() -> str | None:
    """Return why there is no Postfix to measure, or None."""
    absent = [name for name in ("postfix", "postconf", "smtp-source") if found(name) is None]
    if absent:
        return f"{', '.join(absent)}: not installed"
    return None if os.geteuid() == 0 else "Postfix can only be started by root"


def postconf(name: str) -> str:
    """Return a parameter as it is compiled in."""
    said = subprocess.run(
        [found("postconf") or "postconf", "-dh", name], capture_output=True, text=True, check=True
    )
    return said.stdout.strip()


class Postfix:
    """An instance that runs."""

    def __init__(self, settings: PostfixSettings, master: subprocess.Popen[bytes]) -> None:
        self._settings = settings
        self._master = master

    @property
    def pid(self) -> int:
        """The process above all others of it."""
        return self._master.pid

    @property
    def port(self) -> int:
        """Where it takes mail in."""
        return self._settings.port

    def inject(self, count: int, *, sessions: int, timeout: float) -> None:
        """Have it take in ``count`` mails, each to a recipient of its own."""
        directory = self._settings.directory
        inject(self.port, count, sessions=sessions, directory=directory, timeout=timeout)

    def let_go(self) -> None:
        """Let it deliver what it has taken in."""
        self._settings.write(delivers=True)
        self._master.send_signal(signal.SIGHUP)

    def is_empty(self) -> bool:
        """Whether nothing waits in its queue."""
        return not any(
            files for name in _WAITING for *_, files in os.walk(self._settings.queue / name)
        )


@contextlib.contextmanager
def postfix(settings: PostfixSettings, *, delivers: bool) -> Iterator[Postfix]:
    """Run Postfix in the foreground, and end all of its processes, whatever happens."""
    settings.directory.chmod(0o755)  # its unprivileged processes pass through
    settings.write(delivers=delivers)
    shutil.chown(settings.data, user=postconf("mail_owner"))
    with (settings.directory / "postfix.log").open("ab") as log:
        command = [found("postfix") or "postfix", "-c", str(settings.config), "check"]
        subprocess.run(command, check=True, stdout=log, stderr=log)
        master = subprocess.Popen(
            [f"{postconf('daemon_directory')}/master", "-d", "-c", str(settings.config)],
            env=os.environ | {"MAIL_CONFIG": str(settings.config)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        await_port(settings.port)
        yield Postfix(settings, master)
    finally:
        _end(master)


def inject(port: int, count: int, *, sessions: int, directory: Path, timeout: float) -> None:
    """Submit by smtp-source, on sessions that stay open; returns when all are taken in.

    Raises `subprocess.SubprocessError`.
    """
    content = directory / "content.eml"
    content.write_bytes(mails.raw(0).replace(b"\r\n", b"\n"))
    command = [found("smtp-source") or "smtp-source", "-d", "-N"]
    command += ["-s", str(min(sessions, count)), "-m", str(count), "-F", str(content)]
    command += ["-f", mails.SENDER, "-t", "reader@example.net", f"127.0.0.1:{port}"]
    subprocess.run(command, check=True, timeout=timeout)


def free_port() -> int:
    """Return a port of the loopback that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def await_port(port: int) -> None:
    """Return as soon as somebody listens; raises `OSError` where nobody does."""
    deadline = time.monotonic() + _SOON
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _end(master: subprocess.Popen[bytes]) -> None:
    # Looked up first: once the master has gone, nothing leads to its children.
    processes = tree(master.pid)
    master.terminate()
    try:
        master.wait(10)
    except subprocess.TimeoutExpired:
        master.kill()
        master.wait()
    for pid in processes[1:]:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
