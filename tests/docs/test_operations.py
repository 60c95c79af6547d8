"""docs/operations.md says what happens, and the manual page what the commands say."""

from __future__ import annotations

import re
import shutil
import subprocess

import click
import pytest

from docs import walk_incident, write_man
from mailqueue.cli.main import cli
from mailqueue.cli.thresholds import MEASURES

TEXT = walk_incident.PAGE.read_text("utf-8")


@pytest.mark.slow
async def test_the_incident_happens_as_it_is_told() -> None:
    """A wrong password: critical, explained, mended, SIGHUP, drained; each word is real."""
    transcript = await walk_incident.walk()
    assert walk_incident.put(TEXT, transcript) == TEXT, "run python -m docs.walk_incident"
    assert "MAILQUEUE CRITICAL: paused: main" in transcript
    assert transcript.endswith(f"STATE  N\nsent   {walk_incident.MAILS}\n")


def test_each_measure_has_its_advice() -> None:
    """Whoever is woken by `check` finds the line of its measure."""
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    assert rows == [*MEASURES, "UNKNOWN"]


def test_each_command_of_the_page_exists() -> None:
    """No advice names a command that is not there."""
    context = click.Context(cli)
    named = re.findall(r"(?:`|# |-- )mailqueue ([a-z]+)(?: ([a-z]+))?", TEXT)
    assert len(named) > 15
    for first, second in named:
        command = cli.get_command(context, first)
        assert command is not None, first
        if isinstance(command, click.Group):
            assert command.get_command(context, second) is not None, (first, second)


def test_the_manual_page_is_current() -> None:
    """What deploy/mailqueue.1 says is what the commands say; python -m docs.write_man renews it."""
    assert write_man.PAGE.read_text("utf-8") == write_man.page()


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_the_manual_page_is_well_formed() -> None:
    """A formatter reads it without a warning."""
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", write_man.PAGE], capture_output=True, check=True
    )
    assert done.stderr == b""
    assert b"mailqueue" in done.stdout
