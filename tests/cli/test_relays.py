"""`mailqueue relays`, `pause` and `resume`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, insert

from mailqueue.clock import SystemClock, microseconds
from mailqueue.operate import login_name
from mailqueue.outbox.relays import load
from mailqueue.outbox.tables import limits, shares
from mailqueue.outbox.workers import Worker, register
from tests.cli.conftest import Invoke
from tests.support.rows import add_message, add_relay


@pytest.fixture
def config(tmp_path: Path, url: str, engine: Engine) -> Path:
    """A configuration with the relays main and bulk, over an outbox that no daemon has seen."""
    del engine
    file = tmp_path / "config.toml"
    file.write_text(
        f'[database]\nurl = "{url}"\n[daemon]\ndefault_relay = "main"\n'
        '[relays.main]\nhost = "127.0.0.1"\ntls = "none"\n'
        '[relays.bulk]\nhost = "127.0.0.1"\ntls = "none"\n'
    )
    return file


def test_pause_before_any_daemon(invoke: Invoke, config: Path, engine: Engine) -> None:
    """The relays of the configuration can be paused though nobody has run with it yet."""
    result = invoke("pause", "bulk", "--for", "2h", "--reason", "new address", "--config", config)
    assert result.exit_code == 0
    assert result.stdout.startswith("bulk: paused until 20")
    assert result.stdout.endswith("; its mail waits\n")
    with engine.connect() as connection:
        row = load(connection)["bulk"]
    assert (row.paused_by, row.pause_reason) == (login_name(), "new address")
    assert row.paused_at is not None
    assert row.paused_until == row.paused_at + microseconds(7200)


def test_resume(invoke: Invoke, config: Path) -> None:
    """It ends the pause; where there is none it says so and is content."""
    invoke("pause", "main", "--config", config)
    assert invoke("resume", "main", "--config", config).stdout == "main: resumed\n"
    again = invoke("resume", "main", "--config", config)
    assert (again.exit_code, again.stdout) == (0, "main: was not paused\n")


def test_default_is_answered_with_the_relays_own_name(invoke: Invoke, config: Path) -> None:
    """Whoever pauses the default relay is told which one that is."""
    paused = invoke("pause", "default", "--config", config)
    assert paused.stdout.startswith("main: paused until")
    resumed = invoke("resume", "default", "--json", "--config", config)
    assert json.loads(resumed.stdout) == {"relay": "main", "was_paused": True}


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_an_unknown_relay(invoke: Invoke, config: Path, verb: str) -> None:
    """The error names the relays that there are."""
    result = invoke(verb, "mian", "--config", config)
    assert (result.exit_code, result.stdout) == (65, "")
    assert "there is no relay mian; there are: bulk, main" in result.stderr


@pytest.mark.parametrize("lasting", ["0s", "soon", "-1h"])
def test_a_pause_of_no_length(invoke: Invoke, config: Path, lasting: str) -> None:
    """How long it lasts is written as everywhere, and is more than nothing."""
    assert invoke("pause", "main", "--for", lasting, "--config", config).exit_code == 64


@pytest.mark.usefixtures("engine")
def test_where_no_relay_is_known(invoke: Invoke, url: str) -> None:
    """An outbox that no daemon has seen, named without a configuration, knows none."""
    assert invoke("relays", "--database", url).stdout.startswith("no relay is known")
    assert "no daemon has made any known" in invoke("pause", "x", "--database", url).stderr


def test_how_relays_stand(invoke: Invoke, config: Path, engine: Engine) -> None:
    """Breaker, pause, queue, last trouble and last success of each; strangers are named."""
    now = SystemClock().now()
    with engine.begin() as connection:
        trouble = {"stage": "auth", "code": 535, "enhanced": "5.7.8", "text": "no\x1b[2J"}
        add_relay(
            connection,
            "main",
            breaker="open",
            probe_at=now + microseconds(60),
            last_trouble_at=now - microseconds(90),
            last_success_at=now - microseconds(3600),
            is_default=True,
            **trouble,
        )
        add_message(connection, "a@example.net", "b@example.net", recipient={"due_at": now})
        add_message(connection, relay="typo", recipient={"state": "held"})
    invoke("pause", "main", "--reason", "new address", "--config", config)
    result = invoke("relays", "--config", config)
    assert result.exit_code == 0
    assert all(line.isprintable() for line in result.stdout.splitlines())
    told = result.stdout
    assert "main (default): breaker open since" in told
    assert "next probe" in told
    assert f"paused by {login_name()} " in told
    assert "until resumed: new address" in told
    assert "2 queued, 0 deferred, 0 sending, 0 held; the first due" in told
    assert "at auth: 535 5.7.8 no?[2J" in told
    assert "(1h ago)" in told
    assert "bulk: no daemon has used it yet" in told
    assert "typo: not configured\n  0 queued, 0 deferred, 0 sending, 1 held" in told


def test_json(invoke: Invoke, config: Path, engine: Engine) -> None:
    """One object for each relay, and one for what was decided."""
    with engine.begin() as connection:
        add_relay(connection, "main", is_default=True)
    paused = json.loads(invoke("pause", "main", "--for", "1h", "--json", "--config", config).stdout)
    assert (paused["relay"], paused["by"]) == ("main", login_name())
    lines = invoke("relays", "--json", "--config", config).stdout.splitlines()
    bulk, main = map(json.loads, lines)
    assert (bulk["relay"], bulk["breaker"], bulk["pause"]) == ("bulk", None, None)
    assert main["is_default"]
    assert main["pause"]["until"] == paused["until"]
    ended = invoke("resume", "main", "--json", "--config", config).stdout
    assert json.loads(ended) == {"relay": "main", "was_paused": True}
    assert (
        json.loads(invoke("relays", "--json", "--config", config).stdout.splitlines()[1])["pause"]
        is None
    )


def test_waiting_mail_names_the_pause(invoke: Invoke, config: Path, engine: Engine) -> None:
    """Whoever looks at mail that waits sees that a person paused its relay, and how to go on."""
    with engine.begin() as connection:
        add_message(connection, relay="bulk")
    invoke("pause", "bulk", "--reason", "new address", "--config", config)
    who = f"relay bulk is paused by {login_name()}: new address"
    assert who in invoke("list", "--config", config).stdout
    told = invoke("show", 1, "--config", config).stdout
    assert f"{who}; `mailqueue resume bulk` lets it go on" in told
    invoke("resume", "bulk", "--config", config)
    assert "paused" not in invoke("show", 1, "--config", config).stdout


def share(engine: Engine, worker: str, granted: int, *, connections: int = 8) -> None:
    """Let a daemon have a share of the relay main, whose rate is 14/s and used up."""
    until = SystemClock().now() + 60_000_000
    values = {
        "relay": "main",
        "worker": worker,
        "connections": connections,
        "spacing": 1_000_000 / 14,
        "wanted": 0,
        "granted": granted,
        "until_at": until,
    }
    with engine.begin() as connection:
        connection.execute(insert(shares).values(values))
        connection.execute(delete(limits))
        connection.execute(insert(limits).values(relay="main", next_at=until))


def test_what_several_daemons_have_of_a_relay(invoke: Invoke, config: Path, engine: Engine) -> None:
    """Who has how many connections, which limit holds where they differ, and the rate."""
    share(engine, "a", 2, connections=20)
    share(engine, "b", 6)
    shown = invoke("relays", "--config", config).stdout
    assert (
        "8 connections at most, of which 2 daemons have 6 and 2; "
        "they are configured with 8 and 20, and the smallest holds"
    ) in shown
    assert "rate 14/s, counted in recipients, all of it used just now" in shown
    told = [
        json.loads(line)
        for line in invoke("relays", "--json", "--config", config).stdout.splitlines()
    ]
    (main,) = (one for one in told if one["relay"] == "main")
    assert (main["connections"], main["granted"], main["rate"]) == (8, [6, 2], "14/s")
    assert main["rate_free_at"] is not None


def test_doctor_warns_where_daemons_differ(invoke: Invoke, config: Path, engine: Engine) -> None:
    """One that has more configured than another is bound by that, and may not know why."""
    share(engine, "a", 2, connections=20)
    share(engine, "b", 6)
    found = invoke("doctor", "--offline", "--config", config).stdout
    assert "different connections for relay main: 8, 20; 8 holds for all of them" in found


def test_explain_names_the_rate(invoke: Invoke, config: Path, engine: Engine) -> None:
    """Mail that is due waits for it, and for nothing else."""
    share(engine, "a", 8)
    now = SystemClock().now()
    with engine.begin() as connection:
        add_message(connection, recipient={"due_at": now, "lifetime_from": now})
        register(connection, Worker("a", "here", 1, "0", now, now))
    told = invoke("explain", "1", "--json", "--config", config)
    (one,) = map(json.loads, told.stdout.splitlines())
    assert one["gate"] == "rate-used-up"
    assert one["gates"][0]["text"] == (
        "the rate of its relay, 14/s, is used up by other mail just now"
    )


def test_stats_tell_where_due_mail_waits_for_the_rate(
    invoke: Invoke, config: Path, engine: Engine
) -> None:
    """Below the table, and for programs in each relay's object."""
    share(engine, "a", 8)
    with engine.begin() as connection:
        add_message(connection)
    assert invoke("stats", "--config", config).stdout.endswith(
        "main: due mail waits for the rate, 14/s\n"
    )
    told = invoke("stats", "--json", "--config", config).stdout.splitlines()
    main, total = map(json.loads, told)
    assert (main["rate"], main["waits_for_rate"]) == ("14/s", True)
    assert (total["rate"], total["waits_for_rate"]) == (None, False)
