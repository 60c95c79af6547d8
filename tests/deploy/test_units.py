"""The units: what systemd itself says of them, and that they fit the daemon."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from configparser import RawConfigParser
from pathlib import Path

import pytest

from mailqueue.cli.exits import Exit
from mailqueue.cli.shipped import UNITS, unit
from mailqueue.config import Config
from mailqueue.config.values import parse_duration

ROOT = Path(__file__).parents[2]
SERVICES = ["mailqueue.service", "mailqueue@.service"]
WORST_EXPOSURE = 13
"""In tenths, as `systemd-analyze --threshold` counts."""

needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)
needs_root = pytest.mark.skipif(
    os.geteuid() != 0
    or not (shutil.which("systemd-sysusers") and shutil.which("systemd-tmpfiles")),
    reason="needs root, systemd-sysusers and systemd-tmpfiles",
)


@pytest.fixture
def executable(tmp_path: Path) -> Path:
    """Return something that can be started."""
    path = tmp_path / "mailqueue"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def written(name: str, directory: Path, executable: Path) -> Path:
    """Write a unit under its own name, which decides what systemd takes it for."""
    path = directory / name.replace("@", "@one")
    path.write_text(unit(name, executable=executable))
    return path


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Ask `systemd-analyze`, whatever it answers."""
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def sections(name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the lines of each section as pairs, in order; a key may come twice."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in unit(name, executable=Path("/usr/bin/mailqueue")).splitlines():
        if line.startswith("["):
            pairs = found.setdefault(line, [])
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            pairs.append((key, value))
    return found


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_systemd_has_nothing_to_say_against_a_unit(
    name: str, tmp_path: Path, executable: Path
) -> None:
    """`systemd-analyze verify` is content and silent."""
    done = analyze("verify", "--man=no", written(name, tmp_path, executable))
    assert done.returncode == 0, done.stderr
    ours = [line for line in done.stderr.splitlines() if "mailqueue" in line]
    assert ours == []


@needs_analyze
@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_exposes_little(name: str, tmp_path: Path, executable: Path) -> None:
    """`systemd-analyze security` scores 1.3 or better (10 is the worst)."""
    path = written(name, tmp_path, executable)
    done = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}", path)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_analyze
def test_the_threshold_is_one_that_can_be_missed(tmp_path: Path, executable: Path) -> None:
    """The same check refuses the unit without its hardening."""
    bare = tmp_path / "bare.service"
    bare.write_text(f"[Service]\nUser=mailqueue\nExecStart={executable}\n")
    done = analyze("security", "--offline=true", f"--threshold={WORST_EXPOSURE}", bare)
    assert done.returncode != 0


def test_the_template_is_the_unit() -> None:
    """Both run the same daemon with the same hardening; only what they are called differs."""
    one, many = map(sections, SERVICES)
    assert one["[Service]"] == many["[Service]"]
    assert dict(many["[Unit]"])["Description"].endswith("%i")


def test_the_unit_waits_longer_than_the_daemon_drains() -> None:
    """The wait for replies to written dots is not cut off, at the default drain."""
    service = dict(sections("mailqueue.service")["[Service]"])
    assert float(service["TimeoutStopSec"]) > Config().daemon.drain
    assert parse_duration(service["WatchdogSec"]) >= 2 * Config().daemon.poll_max


def test_the_unit_does_not_start_again_what_needs_a_person() -> None:
    """A configuration that cannot be used is not tried over and over."""
    service = dict(sections("mailqueue.service")["[Service]"])
    assert service["RestartPreventExitStatus"] == str(int(Exit.CONFIG))


def test_the_credential_is_the_one_that_the_example_names() -> None:
    """Unit and example fit each other as they are shipped."""
    service = dict(sections("mailqueue.service")["[Service]"])
    name, _, _ = service["LoadCredential"].partition(":")
    assert f'\npassword_file = "{name}"\n' in (ROOT / "config.example.toml").read_text()


@needs_root
def test_producers_of_the_group_can_write_where_the_outbox_is(tmp_path: Path) -> None:
    """sysusers.d makes user and group, tmpfiles.d the file 0660 in a directory 2770 of theirs."""
    (tmp_path / "etc").mkdir()
    for name, options in (("sysusers", []), ("tmpfiles", ["--create"])):
        conf = tmp_path / f"{name}.conf"
        conf.write_text(unit(name, executable=Path("/usr/bin/mailqueue")))
        subprocess.run([f"systemd-{name}", f"--root={tmp_path}", *options, conf], check=True)
    group = (tmp_path / "etc/group").read_text().split("mailqueue:x:")[1].split(":")[0]
    for path, mode in (("var/lib/mailqueue", 0o2770), ("var/lib/mailqueue/outbox.db", 0o660)):
        found = (tmp_path / path).stat()
        assert stat.S_IMODE(found.st_mode) == mode
        assert found.st_gid == int(group)


def test_every_unit_is_one_of_the_repository() -> None:
    """What the command prints and what lies in deploy/ are the same files."""
    there = {str(path.relative_to(ROOT / "deploy")) for path in ROOT.glob("deploy/*/*mailqueue*")}
    assert there == set(UNITS.values())
    for name in SERVICES:
        parser = RawConfigParser(strict=False)
        parser.read_string(unit(name, executable=Path("/usr/bin/mailqueue")))
        assert parser.sections() == ["Unit", "Service", "Install"]
