"""`mailqueue systemd`, `completion` and `config example`: what an installation hands out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mailqueue.cli.shipped import UNITS
from tests.cli.conftest import Invoke

ROOT = Path(__file__).parents[2]


def test_a_unit_starts_the_mailqueue_of_this_installation(invoke: Invoke) -> None:
    """Nothing in a printed unit needs to be edited for a virtual environment."""
    printed = invoke("systemd", "--print", "mailqueue.service")
    own = Path(sys.executable).with_name("mailqueue")
    assert f"\nExecStart={own} run --config /etc/mailqueue/config.toml\n" in printed.stdout


def test_without_a_name_all_are_printed_under_their_places(invoke: Invoke) -> None:
    """Somebody who looks sees everything that an installation needs, and where it goes."""
    printed = invoke("systemd", "--print", "--executable", "/opt/mailqueue/bin/mailqueue").stdout
    for place in UNITS.values():
        assert f"{place}\n" in printed
    assert printed.count("ExecStart=/opt/mailqueue/bin/mailqueue ") == 2


def test_they_are_written_where_systemd_looks(invoke: Invoke, tmp_path: Path) -> None:
    """`--install /etc` puts units, users and directories into place, and says where."""
    done = invoke("systemd", "--install", tmp_path, "--executable", "/opt/m/bin/mailqueue")
    assert done.exit_code == 0
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {
        "systemd/system/mailqueue.service",
        "systemd/system/mailqueue@.service",
        "sysusers.d/mailqueue.conf",
        "tmpfiles.d/mailqueue.conf",
    }
    assert {str(tmp_path / each) for each in written} == set(done.stdout.split())


def test_a_place_that_cannot_be_written_is_named(invoke: Invoke, tmp_path: Path) -> None:
    """It ends with 73 and the path, not with a trace."""
    (tmp_path / "systemd").write_text("in the way")
    done = invoke("systemd", "--install", tmp_path, "--executable", "/opt/m/bin/mailqueue")
    assert done.exit_code == 73
    assert str(tmp_path / "systemd") in done.stderr


@pytest.mark.parametrize("path", ["bin/mailqueue", "/opt/my mail/bin/mailqueue", "/opt/%h/x"])
def test_a_path_that_systemd_reads_otherwise_is_refused(invoke: Invoke, path: str) -> None:
    """Blanks and specifiers mean something in a unit."""
    done = invoke("systemd", "--print", "--executable", path)
    assert done.exit_code == 64
    assert "absolute path" in done.stderr


def test_a_home_that_the_unit_hides_is_warned_of(invoke: Invoke) -> None:
    """ProtectHome= would let the start fail with no word of why."""
    hidden = invoke("systemd", "--print", "--executable", "/home/ann/v/bin/mailqueue")
    assert "ProtectHome=" in hidden.stderr
    assert not invoke("systemd", "--print", "--executable", "/opt/v/bin/mailqueue").stderr


def test_it_wants_to_know_what_to_do(invoke: Invoke) -> None:
    """Neither printing nor installing, or both, is a mistake."""
    assert invoke("systemd").exit_code == 64
    assert invoke("systemd", "--print", "--install", "/nowhere").exit_code == 64


def test_the_example_is_printed_as_it_is_shipped(invoke: Invoke) -> None:
    """`mailqueue config example` begins a configuration where there is no checkout."""
    assert invoke("config", "example").stdout == (ROOT / "config.example.toml").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(invoke: Invoke, shell: str) -> None:
    """The script asks `mailqueue` itself, in the protocol of that shell."""
    done = invoke("completion", shell)
    assert done.exit_code == 0
    assert f"_MAILQUEUE_COMPLETE={shell}_complete" in done.stdout
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n"], input=done.stdout, text=True, check=True)


def test_commands_and_options_are_completed() -> None:
    """The commands, which are loaded late, are known to the completion."""

    def offered(words: str, number: int) -> set[str]:
        environ = {"_MAILQUEUE_COMPLETE": "bash_complete", "COMP_WORDS": words}
        done = subprocess.run(
            [Path(sys.executable).with_name("mailqueue")],
            env=environ | {"COMP_CWORD": str(number)},
            capture_output=True,
            text=True,
            check=True,
        )
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert offered("mailqueue re", 1) == {"retry", "release", "relays", "resume", "reasons"}
    assert "--executable" in offered("mailqueue systemd --", 2)
