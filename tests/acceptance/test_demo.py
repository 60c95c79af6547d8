"""`mailqueue demo`: what it shows, how it ends, and that it leaves nothing behind."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

import mailqueue.cli.demo.demonstration as demonstration
import mailqueue.cli.demo.lookout as lookouts
from mailqueue import AsyncOutbox, Limits
from mailqueue.cli.demo.aftermath import Aftermath
from mailqueue.cli.demo.daemon import Daemon
from mailqueue.cli.demo.lookout import Lookout, StuckError
from mailqueue.cli.demo.mails import Mail
from mailqueue.cli.demo.place import Place
from mailqueue.cli.demo.progress import Progress
from mailqueue.cli.demo.relays import open_relays
from mailqueue.cli.main import cli
from mailqueue.clock import SystemClock
from tests.acceptance.demo_aftermath import World

WIDTH = 100


@pytest.mark.slow
def test_the_demo_from_beginning_to_end(tmp_path: Path) -> None:
    """A demo shows the run, what SQL and the log say of it, and that each promise was kept."""
    kept = tmp_path / "kept"
    shown = _run("--keep", str(kept))
    _progress_is_shown(shown)
    _failures_are_what_sql_says(shown, kept)
    _doubts_and_log_are_shown(shown)
    _each_promise_is_kept(shown)
    _fits_into_a_pipe(shown)
    _no_daemon_is_left(kept)


def _run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "mailqueue", "demo", *arguments],
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def _progress_is_shown(shown: str) -> None:
    assert re.search(r"^ +\d+\.\d s  .*\d+ sent.* \| .*main \d+", shown, re.MULTILINE)


def _failures_are_what_sql_says(shown: str, kept: Path) -> None:
    table = shown.partition("SELECT * FROM mailqueue_failures;")[2].partition(" rows;")[0]
    with closing(sqlite3.connect(kept / "outbox.db")) as connection:
        found = connection.execute("SELECT recipient, state, code FROM mailqueue_failures")
        failures = found.fetchall()
    assert {state for _, state, _ in failures} == {"failed", "expired"}
    assert table.endswith(f"({len(failures)}")
    for recipient, state, code in failures:
        assert re.search(rf"^\d+ +{recipient} +{state} +{code or '-'} ", table, re.MULTILINE)


def _doubts_and_log_are_shown(shown: str) -> None:
    doubts = shown.partition("FROM mailqueue_in_doubt;")[2].partition(" rows)")[0]
    assert re.search(r"lost-\d@example\.net +end-of-data ", doubts)
    assert " hold " in doubts
    log = " ".join(shown.partition("The log of the daemons")[2].split())
    words = r"INFO \d+: to=<\S+>, relay=main\[\S+\], delay=[\d.]+, dsn=[\d.]+, status="
    for status in ("sent (250 ", "deferred (451 ", "failed (550 "):
        assert re.search(words + re.escape(status), log)


def _each_promise_is_kept(shown: str) -> None:
    promises = shown.partition("The promises")[2]
    lines = re.findall(r"^\S.*? +(\d)  (\S.*(?:\n  .*)*)", promises, re.MULTILINE)
    assert [number for number, _ in lines] == list("12345678")
    assert re.findall(r"^(\S.*?) +\d  ", promises, re.MULTILINE) == ["kept"] * 8
    assert all(re.search(r": .*\d", text, re.DOTALL) for _, text in lines)


def _fits_into_a_pipe(shown: str) -> None:
    for line in shown.replace(str(tempfile.gettempdir()), "").splitlines():
        assert len(line) <= WIDTH
        assert line.isprintable()
        assert line == line.rstrip()


def _no_daemon_is_left(kept: Path) -> None:
    with closing(sqlite3.connect(kept / "outbox.db")) as connection:
        assert connection.execute("SELECT id FROM mailqueue_workers").fetchall() == []
    assert list(kept.glob("outbox.db.bell-*")) == []
    assert list(kept.glob("outbox.db.worker-*")) == []


def _play(monkeypatch: pytest.MonkeyPatch, outcome: Aftermath | Exception) -> list[Path]:
    """Have the demo end like this at once; returns the directories that it was given."""
    given = []

    async def demonstrate(directory: Path, console: Console) -> Aftermath:
        assert directory.is_dir()
        given.append(directory)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(demonstration, "demonstrate", demonstrate)
    return given


def _demo(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["demo", *arguments])


def test_a_broken_promise_exits_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promise that was broken says so in its line, and in the exit status."""
    world = World()
    world.took("customer-1@example.net")
    world.chronicle.rolled_back.append("customer-1@example.net")
    _play(monkeypatch, world.aftermath())
    result = _demo()
    assert result.exit_code == 1
    assert re.search(r"^BROKEN +1  Durable: customer-1@example\.net ", result.stdout, re.MULTILINE)


def test_not_having_seen_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A promise for which there was nothing to see says where to look, and breaks nothing."""
    _play(monkeypatch, World().aftermath())
    result = _demo()
    assert result.exit_code == 0
    assert " ".join(result.stdout.split()).count("not seen here: see tests/") == 8


def test_being_stuck_exits_with_70(monkeypatch: pytest.MonkeyPatch) -> None:
    """If something does not come about, the demo says what and exits with 70."""
    _play(monkeypatch, StuckError("this did not come about: peace"))
    result = _demo()
    assert result.exit_code == 70
    assert result.stderr == "mailqueue: this did not come about: peace\n"


@pytest.mark.parametrize(
    "outcome", [World().aftermath(), StuckError("stuck")], ids=["done", "stuck"]
)
def test_the_directory_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: Aftermath | Exception
) -> None:
    """Without --keep nothing is left, however it ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    given = _play(monkeypatch, outcome)
    _demo()
    assert [directory.parent for directory in given] == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_keep_overwrites_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """--keep makes a new directory, and refuses one that is there already."""
    given = _play(monkeypatch, World().aftermath())
    result = _demo("--keep", str(tmp_path))
    assert (result.exit_code, given) == (73, [])
    assert str(tmp_path) in result.stderr


@asynccontextmanager
async def watching(place: Place) -> AsyncIterator[Lookout]:
    """Give a lookout on the outbox in ``place``, where one mail waits for a daemon."""
    clock = SystemClock()
    async with (
        AsyncOutbox(place.url, limits=Limits(free_disk=None)) as outbox,
        open_relays("secret", None) as relays,
    ):
        await outbox.enqueue(Mail(("customer-1@example.net",)).outgoing())
        progress = Progress(Console(quiet=True), clock)
        lookout = Lookout(place.url, relays, progress=progress, clock=clock)
        yield lookout
        await lookout.close()


async def test_a_dead_daemon_is_noticed_at_once(tmp_path: Path) -> None:
    """Nothing is awaited of a daemon that has ended: its status and last words are told."""
    place = Place(tmp_path)
    place.config_file.write_text("nonsense = 1\n")
    async with watching(place) as lookout:
        lookout.daemons.append(await Daemon.start("a", place))
        with pytest.raises(StuckError, match=r"daemon a ended with status 78.*\n(.*\n)*.*nonsense"):
            await lookout.until("never", lambda _: False)


async def test_patience_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not come about in time is told, with who still waits and what the relays saw."""
    monkeypatch.setattr(lookouts, "PATIENCE", 0.0)
    async with watching(Place(tmp_path)) as lookout:
        with pytest.raises(StuckError) as stuck:
            await lookout.until(
                "the mail is sent", lambda found: found.are_settled(["customer-1@example.net"])
            )
    assert "the mail is sent" in str(stuck.value)
    assert "customer-1@example.net is queued" in str(stuck.value)
    assert "relay main: 0 accepted" in str(stuck.value)
