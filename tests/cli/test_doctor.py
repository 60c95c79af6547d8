"""`doctor`: each thing that can be wrong with a set-up is found, and nothing is changed."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from mailqueue.cli.doctor.database import library
from mailqueue.cli.doctor.files import open_by
from mailqueue.cli.doctor.finding import Grade
from mailqueue.clock import SystemClock
from mailqueue.outbox import schema
from mailqueue.outbox.workers import Worker, register
from mailqueue.testing import RelayThread, Script, ScriptedRelay
from tests.cli.conftest import Invoke
from tests.support import rows


@pytest.fixture
def script() -> Script:
    """What the relay does out of the ordinary."""
    return Script()


@pytest.fixture
def relay(script: Script) -> Iterator[RelayThread]:
    """A relay without TLS."""
    with RelayThread(ScriptedRelay(script)) as thread:
        yield thread


@pytest.fixture
def file(tmp_path: Path, url: str, engine: Engine, relay: RelayThread) -> Path:
    """A configuration with which all is well, and a daemon that runs."""
    tmp_path.chmod(0o2770)
    now = SystemClock().now()
    with engine.begin() as connection:
        register(connection, Worker("w1", "mx", 77, "1.0", now, now))
    file = tmp_path / "config.toml"
    file.write_text(
        f'[database]\nurl = "{url}"\n[limits]\nfree_disk = "1KiB"\n'
        f'[relays.main]\nhost = "127.0.0.1"\nport = {relay.port}\ntls = "none"\n'
    )
    return file


def _found(invoke: Invoke, *options: object) -> tuple[int, dict[str, list[dict[str, Any]]]]:
    result = invoke("doctor", "--json", *options)
    found: dict[str, list[dict[str, Any]]] = {}
    for line in result.stdout.splitlines():
        finding = json.loads(line)
        found.setdefault(finding["what"], []).append(finding)
    return result.exit_code, found


def _grade(invoke: Invoke, what: str, *options: object) -> tuple[str, str]:
    _, found = _found(invoke, *options)
    (finding,) = found[what]
    assert finding["grade"] == "well" or finding["remedy"]
    return finding["grade"], finding["text"]


@pytest.mark.backend("sqlite")
def test_all_well(invoke: Invoke, file: Path, relay: RelayThread) -> None:
    """Nothing is wrong; the relay was asked as far as EHLO and got no mail."""
    status, found = _found(invoke, "--config", file)
    assert status == 0
    wrong = [one for findings in found.values() for one in findings if one["grade"] == "wrong"]
    assert wrong == []
    assert found["relay main"][0]["text"].startswith(f"127.0.0.1:{relay.port}, without TLS")
    assert found["tables"][0]["text"] == f"version {schema.HEAD}"
    assert "synchronous 2" in found["connections"][0]["text"]
    assert found["daemon"][0]["text"].startswith("w1 on mx, process 77, version 1.0, heard of ")
    assert len(relay.ledger) == 0


def test_it_speaks_to_people(invoke: Invoke, file: Path) -> None:
    """Each finding is a line with its grade, and below it what to do where it is not well."""
    shown = invoke("doctor", "--offline", "--config", file).stdout
    assert "\nwell    settings: lease, timeouts, backoff and retention go together\n" in shown
    assert "relay main" not in shown


def test_a_relay_that_refuses(invoke: Invoke, file: Path, script: Script) -> None:
    """The stage and the words of the relay are told, and the settings to look at."""
    script.on("EHLO").reply("550 we do not know you \x1b[2J")
    status, found = _found(invoke, "--config", file)
    (finding,) = found["relay main"]
    assert (status, finding["grade"]) == (69, "wrong")
    assert "at ehlo: 550 we do not know you ?[2J" in finding["text"]


def test_a_relay_that_is_silent(invoke: Invoke, file: Path, script: Script) -> None:
    """It is waited for as long as --timeout says, and not the five minutes of a mail."""
    script.on("EHLO").silence()
    grade, text = _grade(invoke, "relay main", "--config", file, "--timeout", "200ms")
    assert grade == "wrong"
    assert "did not answer within" in text


def test_a_relay_that_is_not_there(invoke: Invoke, file: Path) -> None:
    """A wrong port is told with the keys to look at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        text = file.read_text()
        port = next(line for line in text.splitlines() if line.startswith("port"))
        file.write_text(text.replace(port, f"port = {taken.getsockname()[1]}"))
        _, found = _found(invoke, "--config", file)
    (finding,) = found["relay main"]
    assert "at connect: no reply (refused" in finding["text"]
    assert "host and port under [relays.main]" in finding["remedy"]


@pytest.mark.parametrize(
    ("settings", "what", "words"),
    [
        ("[daemon]\nlease = '70s'\n[database]\nbusy_timeout = '60s'", "daemon.lease", "sent twice"),
        ("[daemon]\ndrain = '1s'", "daemon.drain", "leaves doubt"),
        ("[daemon]\ndeliveries = 5", "relays.main.connections", "never open"),
        ("[retention]\nmessages = '1d'", "retention", "contents are not kept"),
        ("[backoff]\ninitial = '5s'", "backoff of main", "greylisting"),
        ("[backoff]\ngive_up = '2h'", "backoff of main", "over night"),
        ("[relays.main.timeouts]\nend_of_data = '1m'", "relays.main.timeouts", "sent it again"),
    ],
)
def test_values_that_will_be_regretted(
    invoke: Invoke, tmp_path: Path, settings: str, what: str, words: str
) -> None:
    """What is allowed and does not go together is a warning, with the reason."""
    file = tmp_path / "config.toml"
    file.write_text(f'[relays.main]\nhost = "localhost"\ntls = "none"\n{settings}\n')
    grade, text = _grade(invoke, what, "--offline", "--config", file)
    assert grade == "warning"
    assert words in text


@pytest.mark.usefixtures("path")
def test_a_configuration_that_cannot_be_used(invoke: Invoke, tmp_path: Path, url: str) -> None:
    """It is a finding like others, and what can be looked at without it is."""
    file = tmp_path / "config.toml"
    file.write_text("[daemon]\nlease = 'long'\n")
    status, found = _found(invoke, "--config", file, "--database", url)
    assert status == 69
    assert "daemon.lease" in found["configuration"][0]["text"]
    assert "there is no outbox" in found["outbox"][0]["text"]


@pytest.mark.parametrize(
    ("mode", "directory", "words"),
    [
        (0o666, 0o2770, "every user may read or write"),
        (0o660, 0o2777, "put another file in its place"),
        (0o640, 0o2770, "only its owner can enqueue"),
        (0o660, 0o0770, "shuts the others out"),
    ],
)
def test_modes(
    invoke: Invoke, file: Path, path: Path, mode: int, directory: int, words: str
) -> None:
    """Who may read all mail, or not enqueue any, is told with the mode that would be right."""
    path.chmod(mode)
    path.parent.chmod(directory)
    grade, text = _grade(invoke, "modes", "--offline", "--config", file)
    path.parent.chmod(0o2770)
    assert grade == "warning"
    assert words in text


@pytest.mark.backend("sqlite")
def test_a_disk_that_is_nearly_full(invoke: Invoke, file: Path) -> None:
    """Below the floor of the configuration nothing is enqueued, and that is wrong."""
    file.write_text(file.read_text().replace('"1KiB"', '"4000TiB"'))
    grade, text = _grade(invoke, "disk", "--offline", "--config", file)
    assert (grade, "nothing is enqueued" in text) == ("wrong", True)


def test_mail_for_a_relay_that_nobody_configured(
    invoke: Invoke, file: Path, engine: Engine
) -> None:
    """A misspelt name is found where mail waits for it."""
    with engine.begin() as connection:
        rows.add_message(connection, relay="typo")
        rows.add_message(connection)
    grade, text = _grade(invoke, "relays", "--offline", "--config", file)
    assert (grade, "called typo" in text) == ("wrong", True)


def test_a_clock_that_was_set_back(invoke: Invoke, file: Path, engine: Engine) -> None:
    """A heartbeat from the future is told."""
    later = SystemClock().now() + 600_000_000
    with engine.begin() as connection:
        register(connection, Worker("w2", "mx", 78, "1.0", later, later))
    _, found = _found(invoke, "--offline", "--config", file)
    assert any("in the future" in one["text"] for one in found["daemon"])


@pytest.mark.parametrize(
    ("version", "grade"),
    [
        ((3, 40, 1), Grade.WARNING),
        ((3, 51, 2), Grade.WARNING),
        ((3, 51, 3), Grade.WELL),
        ((4, 0, 0), Grade.WELL),
    ],
)
def test_versions_of_sqlite(version: tuple[int, int, int], grade: Grade) -> None:
    """Those with the WAL-reset bug are named."""
    assert library(version).grade is grade


def test_who_has_the_file_open(engine: Engine, path: Path) -> None:
    """A process that keeps the file open is found by name and number."""
    with engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
        assert any(f"({os.getpid()})" in one for one in open_by(path.resolve()))
    assert [*open_by(path.with_name("other.db"))] == []


def test_nothing_is_changed(invoke: Invoke, file: Path, path: Path, engine: Engine) -> None:
    """A doctor looks: the file, its version and its rows are as before."""
    engine.dispose()
    before = path.read_bytes()
    invoke("doctor", "--offline", "--config", file)
    assert path.read_bytes() == before
