"""`mailqueue run` as it is measured: a process of its own, its log in a file, at "warning"."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.program import ROOT

_STOPPING = 60.0


@dataclass(frozen=True, slots=True)
class DaemonSettings:
    """``profile``: a directory for profiles, in which case figures mean little."""

    directory: Path
    url: str
    relay_port: int
    sessions: int
    processes: int = 1
    profile: Path | None = None

    def write(self) -> Path:
        """Write the configuration and return where it is. All else is as it comes."""
        path = self.directory / "config.toml"
        path.write_text(
            f"[database]\nurl = {json.dumps(self.url)}\n"
            '[log]\nlevel = "warning"\n'
            '[relays.main]\nhost = "127.0.0.1"\ntls = "none"\n'
            f"port = {self.relay_port}\nconnections = {self.sessions}\n"
        )
        return path

    def command(self) -> list[str]:
        """Return what is run."""
        run = ["mailqueue", "run", "--config", str(self.write())]
        if self.processes > 1:
            run += ["--processes", str(self.processes)]
        if self.profile is None:
            return [sys.executable, "-m", *run]
        return [sys.executable, "-m", "benchmarks.profiled", str(self.profile), *run]


@contextlib.contextmanager
def daemon(settings: DaemonSettings) -> Iterator[int]:
    """Run the daemon; gives the number of its process. It is stopped in order."""
    with (settings.directory / "daemon.log").open("ab") as log:
        process = subprocess.Popen(
            settings.command(), cwd=ROOT, env=_environment(), stdout=log, stderr=log
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOPPING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@cache
def has_processes() -> bool:
    """Whether ``mailqueue run`` can be several processes."""
    said = subprocess.run(
        [sys.executable, "-m", "mailqueue", "run", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return "--processes" in said.stdout


def _environment() -> dict[str, str]:
    # What is set for another daemon on this machine must not change this one.
    return {name: value for name, value in os.environ.items() if not name.startswith("MAILQUEUE_")}
