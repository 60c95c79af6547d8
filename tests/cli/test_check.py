"""`check`: thresholds, exit statuses and performance data, as monitoring expects them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from sqlalchemy import Engine

from mailqueue.cli.thresholds import MEASURES, Level, Limits, limits, thresholds
from mailqueue.clock import SystemClock
from mailqueue.outbox.workers import Worker, register
from tests.cli.conftest import Invoke
from tests.support import rows

MINUTE = 60_000_000
HEALTHY = ("--warn", "disk=1", "--crit", "disk=1")
"""The disk of whoever tests is no concern of the tests."""


@pytest.fixture
def well(engine: Engine) -> Engine:
    """An outbox with a daemon, in which nothing waits."""
    now = SystemClock().now()
    with engine.begin() as connection:
        register(connection, Worker("w1", "mx", 77, "1.0", now, now))
    return engine


def _check(invoke: Invoke, url: str, *options: str) -> tuple[int, list[str]]:
    result = invoke("check", "--database", url, *HEALTHY, *options)
    return result.exit_code, result.stdout.splitlines()


@pytest.mark.usefixtures("well")
def test_all_well(invoke: Invoke, url: str, backend: str) -> None:
    """0, one line with performance data, and a line for each measure; a file has two of its own."""
    status, (first, *others) = _check(invoke, url)
    assert status == 0
    measured = [one for one in MEASURES if backend == "sqlite" or one not in ("disk", "log")]
    count = len(measured)
    assert first.startswith(f"MAILQUEUE OK: {count} measures, all well | oldest=0s;900;3600;0 fail")
    assert [line.split()[0] for line in others] == ["ok"] * count
    assert [line.split()[1].rstrip(":") for line in others] == measured
    perf = r"[a-z]+=(U|[0-9.]+)(s|%|B)?;[0-9.]*:?;[0-9.]*:?;0"
    for one in first.split(" | ")[1].split():
        assert re.fullmatch(perf, one), one


def _troubled(engine: Engine, trouble: str) -> None:
    now = SystemClock().now()
    with engine.begin() as connection:
        match trouble:
            case "oldest":
                rows.add_message(connection, recipient={"due_at": now - 20 * MINUTE})
            case "failed":
                for state, verdict in [("sent", "sent")] * 17 + [("failed", "fail")] * 3:
                    message = rows.add_message(connection, recipient={"state": state})
                    (one,) = rows.recipient_ids(connection, message)
                    rows.add_attempt(connection, one, verdict=verdict, ended_at=now)
            case "doubt":
                (one,) = rows.recipient_ids(connection, rows.add_message(
                    connection, recipient={"due_at": now + 99 * MINUTE}))  # fmt: skip
                rows.add_attempt(connection, one, verdict="in-doubt", ended_at=now)
            case "paused":
                rows.add_relay(connection, "main", breaker="open", since=now - 5 * MINUTE,
                               stage="auth", code=535, text="bad | password")  # fmt: skip
            case "a person's pause":
                rows.add_relay(connection, "main", since=now, paused_at=now - 5 * MINUTE,
                               paused_by="olga", pause_reason="new address")  # fmt: skip


@pytest.mark.parametrize(
    ("trouble", "said", "see"),
    [
        ("oldest", "the oldest due mail has been due for 20m", "explain --message 1"),
        ("failed", "3 of 20 recipients failed in 1h", "reasons --outcome fail"),
        ("doubt", "1 attempts in doubt in 1h", "reasons --outcome in-doubt"),
        ("paused", "paused: main; main for 5m, at auth: 535 bad / password", "doctor"),
        ("a person's pause", "paused: main; main for 5m, by olga: new address", "relays"),
    ],
)
def test_each_trouble_is_a_warning(
    invoke: Invoke, well: Engine, url: str, trouble: str, said: str, see: str
) -> None:
    """It is named on the first line, with the command that tells more on its own."""
    _troubled(well, trouble)
    trouble = trouble.replace("a person's pause", "paused")
    status, (first, *others) = _check(invoke, url)
    assert status == 1
    assert first.startswith("MAILQUEUE WARNING: ")
    assert first.count("|") == 1
    (line,) = (line for line in others if line.startswith("warning"))
    assert line.startswith(f"warning  {trouble}: {said}")
    assert f"see `mailqueue {see}" in line
    assert _check(invoke, url, "--crit", f"{trouble}=1")[0] == 2
    assert _check(invoke, url, "--warn", f"disk=1,{trouble}=off")[0] == 0


def test_no_daemon_is_critical(invoke: Invoke, engine: Engine, url: str) -> None:
    """Without a heartbeat there is no value, which is worse than any; unless it is not measured."""
    status, (first, *_) = _check(invoke, url)
    assert (status, "no daemon is running" in first) == (2, True)
    assert " heartbeat=U;60;120;0" in first
    off = ("--warn", "disk=1,heartbeat=off", "--crit", "disk=1,heartbeat=off")
    assert _check(invoke, url, *off)[0] == 0


def test_few_failures_say_nothing(invoke: Invoke, well: Engine, url: str) -> None:
    """One refusal of one mail is a hundred percent, and no reason to wake anybody."""
    now = SystemClock().now()
    with well.begin() as connection:
        failed = {"state": "failed"}
        (one,) = rows.recipient_ids(connection, rows.add_message(connection, recipient=failed))
        rows.add_attempt(connection, one, verdict="fail", ended_at=now)
    status, lines = _check(invoke, url)
    assert status == 0
    assert any("1 of 1 recipients failed in 1h, too few to judge by" in line for line in lines)


def test_what_is_mended_alarms_no_longer(invoke: Invoke, well: Engine, url: str) -> None:
    """Refusals that somebody has let begin anew are told, and counted no more."""
    _troubled(well, "failed")
    assert _check(invoke, url)[0] == 1
    assert invoke("retry", "--state", "failed", "--yes", "--database", url).exit_code == 0
    status, lines = _check(invoke, url)
    assert status == 0
    said = "0 of 17 recipients failed in 1h; 3 others failed and have begun anew"
    assert any(said in line for line in lines)


@pytest.mark.backend("sqlite")
@pytest.mark.usefixtures("well")
def test_a_floor_is_a_floor(invoke: Invoke, url: str) -> None:
    """Of free space too little is bad, and its thresholds are written as Nagios writes a least."""
    status, (first, *others) = _check(invoke, url, "--warn", "disk=900TiB", "--crit", "disk=1KiB")
    assert status == 1
    assert f"B;{900 * 2**40}:;1024:;0" in first
    assert any("(warning below 900.0 TiB, critical below 1.0 KiB)" in line for line in others)


@pytest.mark.usefixtures("path")
def test_what_cannot_be_told_is_unknown(invoke: Invoke, url: str) -> None:
    """No outbox, or tables of another version: 3, and the reason on standard output."""
    result = invoke("check", "--database", url)
    assert (result.exit_code, result.stderr) == (3, "")
    assert result.stdout.startswith("MAILQUEUE UNKNOWN: there is no outbox in ")
    (told,) = map(json.loads, invoke("check", "--json", "--database", url).stdout.splitlines())
    assert told["level"] == "unknown"


@pytest.mark.backend("sqlite")
@pytest.mark.usefixtures("well")
def test_json(invoke: Invoke, url: str) -> None:
    """One object for each measure; the exit status stays the overall answer."""
    result = invoke("check", "--json", "--database", url, *HEALTHY, "--crit", "heartbeat=0s")
    found: list[dict[str, Any]] = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["measure"] for one in found] == [*MEASURES]
    assert result.exit_code == 2
    (beat,) = (one for one in found if one["measure"] == "heartbeat")
    assert (beat["level"], beat["unit"], beat["see"]) == ("critical", "s", "mailqueue doctor")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("", {}),
        ("oldest=15m", {"oldest": 900}),
        ("failed=5%,doubt=3", {"failed": 5, "doubt": 3}),
        ("failed=7.5", {"failed": 7.5}),
        ("disk=1GiB,log=off,", {"disk": 2**30, "log": None}),
    ],
)
def test_thresholds_are_written_with_their_units(
    written: str, meant: dict[str, float | None]
) -> None:
    """Each measure in its own unit, as the configuration writes them."""
    assert thresholds(written) == meant


@pytest.mark.parametrize("written", ["age=1m", "oldest", "oldest=soon", "failed=x%", "doubt=-1"])
def test_a_mistyped_threshold_is_a_usage_error(invoke: Invoke, url: str, written: str) -> None:
    """What is not understood is not taken for something else."""
    result = invoke("check", "--database", url, "--warn", written)
    assert result.exit_code == 64
    assert "--warn" in result.stderr


@pytest.mark.parametrize("measure", MEASURES.values(), ids=lambda measure: measure.name)
def test_defaults_are_in_order(measure: Any) -> None:
    """A warning comes before it is critical, and what is off never comes."""
    bounds = limits(measure, {}, {})
    assert bounds.level(measure.crit, measure) in (Level.CRITICAL, Level.WARNING)
    worse = measure.crit - 1 if measure.is_floor else measure.crit + 1
    assert bounds.level(worse, measure) is Level.CRITICAL
    assert bounds.level(None, measure) is Level.CRITICAL
    better = measure.warn + 1 if measure.is_floor else measure.warn - 1
    assert bounds.level(better, measure) is Level.OK
    assert Limits(None, None).level(worse, measure) is Level.OK
