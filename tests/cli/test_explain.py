"""`explain`: what a reply means, and which gate holds a message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from mailqueue.clock import FakeClock, SystemClock
from mailqueue.mail.reply import Evidence, Reply
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import judge
from mailqueue.operate import Operator
from mailqueue.outbox.tables import recipients
from mailqueue.outbox.workers import Worker, register
from tests.cli.conftest import Invoke
from tests.cli.past import GREYLISTED, REFUSED, SENT, SILENT, Past
from tests.support import rows

MINUTE = 60_000_000


@pytest.mark.parametrize("code", [220, 235, 250, 334, 354, 421, 450, 452, 530, 550, 552, 554])
def test_a_code_is_explained_by_the_judge(invoke: Invoke, code: int) -> None:
    """What is said to happen at each stage is what `judge` makes of it there, and nothing else."""
    (told,) = _objects(invoke("explain", code, "--json").stdout)
    ruled = {
        stage: ruling
        for ruling in told["rulings"]
        for stage in ruling["stages"]
        if not ruling["others_accepted"]
    }
    for stage in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA, Stage.GREETING):
        verdict = judge(Evidence(stage, Reply(code)))
        if not ruled[str(stage)]["goes_on"]:
            assert ruled[str(stage)]["rule"] == str(verdict.rule)
            assert ruled[str(stage)]["outcome"] == str(verdict.outcome)
            assert ruled[str(stage)]["charged"] == verdict.charged


def test_a_whole_reply(invoke: Invoke) -> None:
    """Code and enhanced code are explained, and the text has its say in what is made of it."""
    shown = invoke("explain", "550 5.7.1 relaying denied").stdout
    assert shown.startswith("550 5.7.1 relaying denied\n")
    assert "The sender is not authorised to send to this recipient." in shown
    assert "rcpt: failed (scope recipient)" in shown
    asks = invoke("explain", "550", "please", "authenticate", "first").stdout
    assert "mail: deferred (scope relay), uncharged, the relay is paused" in asks
    assert "rule authentication-required" in asks


def test_too_many_recipients_depends_on_the_others(invoke: Invoke) -> None:
    """Where it makes a difference that others were accepted, both cases are told."""
    shown = invoke("explain", "452").stdout
    assert "rcpt, after other recipients were accepted: deferred" in shown
    assert "after other recipients" not in invoke("explain", "450").stdout


@pytest.mark.parametrize("code", ["4.7.1", "5.1.1"])
def test_an_enhanced_code(invoke: Invoke, code: str) -> None:
    """By itself it has a meaning and a class."""
    (told,) = _objects(invoke("explain", code, "--json").stdout)
    assert told["enhanced"] == code
    assert told["meaning"]
    assert told["class"].startswith("for now" if code.startswith("4") else "for good")
    assert invoke("explain", code).stdout.startswith(f"{code}\n")


def test_several_lines_are_one_reply(invoke: Invoke) -> None:
    """A reply is pasted as it came; one whose lines disagree is no reply."""
    assert invoke("explain", "550-5.1.1 no\n550 5.1.1 such user").exit_code == 0
    result = invoke("explain", "550-no\n551 such user")
    assert result.exit_code == 64
    assert "no reply of an SMTP server" in result.stderr


@pytest.fixture
def past(engine: Engine) -> Past:
    """An outbox, at a time shortly before now."""
    return Past(engine, FakeClock(SystemClock().now() - MINUTE))


def _objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def _gates(invoke: Invoke, where: str | Path, number: int) -> list[str]:
    option = "--config" if isinstance(where, Path) else "--database"
    result = invoke("explain", "--message", number, "--json", option, where)
    assert result.exit_code == 0, result.output
    (told,) = _objects(result.stdout)
    assert told["gate"] == told["gates"][0]["gate"]
    return [gate["gate"] for gate in told["gates"]]


def _runs(engine: Engine) -> None:
    now = SystemClock().now()
    with engine.begin() as connection:
        register(connection, Worker("w1", "mx", 77, "1.0", now, now))


def test_every_outcome_has_its_words(invoke: Invoke, past: Past, engine: Engine, url: str) -> None:
    """Final states say why, deferred ones until when and after what reply."""
    number = past.enqueued("anna@x.example", "carl@x.example", "no@x.example")
    past.tried({"anna@x.example": SENT, "carl@x.example": GREYLISTED, "no@x.example": REFUSED})
    _runs(engine)
    shown = invoke("explain", number, "--database", url).stdout
    assert "carl@x.example: deferred\n  it is not due yet: deferred until " in shown
    assert "after 451 4.7.1 greylisted [red] / try later\n" in shown
    assert "that is attempt 2 of the schedule, " in shown
    assert f"`mailqueue retry {number}` tries at once" in shown
    assert "the relay took responsibility" in shown
    assert "550 5.1.1 no such user; rule recipient-5xx: a 5xx to RCPT fails this" in shown
    assert _gates_of(invoke, url, number) == ["finished", "not-yet-due", "finished"]


def _gates_of(invoke: Invoke, url: str, number: int) -> list[str]:
    result = invoke("explain", number, "--json", "--database", url)
    return [told["gate"] for told in _objects(result.stdout)]


def test_held_by_whom(invoke: Invoke, past: Past, url: str) -> None:
    """A hold names the person and the reason, doubt says that it may have been sent."""
    number = past.enqueued("anna@x.example")
    with Operator(url, actor="olga") as operator:
        operator.hold(number, reason="asked by the customer")
    shown = invoke("explain", number, "--database", url).stdout
    assert "it is held by olga since " in shown
    assert ": asked by the customer\n" in shown
    doubtful = past.enqueued("bob@x.example", on_doubt="hold")
    past.tried({"bob@x.example": SILENT})
    assert _gates(invoke, url, doubtful) == ["held-in-doubt"]


def test_no_daemon_and_then_one(invoke: Invoke, past: Past, engine: Engine, url: str) -> None:
    """Due mail waits for a daemon; with one, nothing holds it but those before it."""
    number = past.enqueued("anna@x.example")
    assert _gates(invoke, url, number) == ["no-daemon"]
    _runs(engine)
    assert _gates(invoke, url, number) == ["next"]
    later = past.enqueued("bob@x.example")
    shown = invoke("explain", later, "--database", url).stdout
    assert "nothing holds it: it is due, with 1 before it" not in shown
    with engine.begin() as connection:
        earlier = recipients.c.due_at - MINUTE
        first = recipients.c.message_id == number
        connection.execute(update(recipients).where(first).values(due_at=earlier))
    shown = invoke("explain", later, "--database", url).stdout
    assert "nothing holds it: it is due, with 1 before it" in shown


def test_a_paused_relay(invoke: Invoke, past: Past, engine: Engine, url: str) -> None:
    """The breaker is named with since when, why, and when it is probed."""
    number = past.enqueued("anna@x.example")
    _runs(engine)
    now = SystemClock().now()
    trouble = {"stage": "auth", "code": 535, "enhanced": "5.7.8", "text": "bad password"}
    with engine.begin() as connection:
        rows.add_relay(
            connection, "main", breaker="open", is_default=True,
            since=now - MINUTE, probe_at=now + MINUTE, **trouble,
        )  # fmt: skip
    assert _gates(invoke, url, number) == ["relay-paused"]
    shown = invoke("explain", number, "--database", url).stdout
    assert "relay main is paused since " in shown
    assert ", at auth: 535 5.7.8 bad password; the next probe is " in shown
    assert "goes: " in shown


def test_a_relay_that_a_person_has_paused(
    invoke: Invoke, past: Past, engine: Engine, url: str
) -> None:
    """Who, since when, until when and why, and how to undo it; the breaker comes behind it."""
    number = past.enqueued("anna@x.example")
    _runs(engine)
    now = SystemClock().now()
    with engine.begin() as connection:
        rows.add_relay(
            connection, "main", breaker="open", is_default=True, since=now, probe_at=now + MINUTE,
            paused_at=now, paused_until=now + MINUTE, paused_by="olga", pause_reason="new address",
        )  # fmt: skip
    assert _gates(invoke, url, number) == ["relay-suspended", "relay-paused"]
    shown = " ".join(invoke("explain", number, "--database", url).stdout.split())
    assert "olga has paused relay main since " in shown
    assert ", until " in shown
    assert ": new address" in shown
    assert "`mailqueue resume main` lets mail go there again" in shown


def test_who_has_it(invoke: Invoke, past: Past, engine: Engine, url: str) -> None:
    """A leased recipient names its worker, and one whose lease ended says so."""
    number = past.enqueued("anna@x.example")
    _runs(engine)
    past.clock = SystemClock()
    past.claimed(worker="w1")
    shown = invoke("explain", number, "--database", url).stdout
    assert "it is being sent by worker w1 (on mx, process 77), whose lease ends " in shown
    with engine.begin() as connection:
        connection.execute(update(recipients).values(due_at=SystemClock().now() - MINUTE))
    assert _gates(invoke, url, number) == ["lease-ended"]


@pytest.fixture
def file(tmp_path: Path, url: str) -> Path:
    """A configuration with one relay that has one session, and its fallback."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[database]\nurl = "{url}"\n[daemon]\ndefault_relay = "main"\n'
        "[limits]\nfree_disk = 0\n"
        '[relays.main]\nhost = "localhost"\ntls = "none"\nconnections = 1\nfallback = ["spare"]\n'
        '[relays.spare]\nhost = "localhost"\ntls = "none"\n'
        '[relays.main.backoff]\ngive_up = "1h"\n'
    )
    return file


def test_the_configuration_knows_more(
    invoke: Invoke, past: Past, engine: Engine, file: Path
) -> None:
    """A relay that nobody configured, a fallback that stands in, and sessions that are all busy."""
    _runs(engine)
    stray = past.enqueued("anna@x.example", relay="typo")
    assert _gates(invoke, file, stray) == ["relay-unknown"]
    number = past.enqueued("bob@x.example")
    assert _gates(invoke, file, number) == ["next"]
    with engine.begin() as connection:
        rows.add_relay(connection, "main", breaker="open", is_default=True)
    assert _gates(invoke, file, number) == ["relay-paused"]
    with engine.begin() as connection:
        rows.add_relay(connection, "spare")
    assert _gates(invoke, file, number) == ["next"]
    shown = invoke("explain", number, "--config", file).stdout
    assert "through spare while its own relay is paused" in shown
    past.clock = SystemClock()
    past.claimed()
    waiting = past.enqueued("cleo@x.example")
    assert _gates(invoke, file, waiting) == ["next"]
    past.claimed()
    last = past.enqueued("dan@x.example")
    assert _gates(invoke, file, last) == ["sessions-busy"]


def test_the_schedule_is_that_of_its_relay(invoke: Invoke, past: Past, file: Path) -> None:
    """When it is given up, and how many attempts are left, the relay's own backoff says."""
    number = past.enqueued("anna@x.example")
    result = invoke("explain", number, "--json", "--config", file)
    (told,) = _objects(result.stdout)
    assert told["attempts_left"] == 5
    shown = invoke("explain", number, "--config", file).stdout
    assert "attempt 1 of the schedule, 5 are left; it is given up " in shown
    assert "(in 58m" in shown or "(in 59m" in shown


def test_a_number_that_looks_like_a_code(invoke: Invoke, url: str, past: Past) -> None:
    """550 is a code, and with --message the number of a message."""
    assert invoke("explain", "550", "--database", url).stdout.startswith("550\n")
    result = invoke("explain", "--message", "550", "--database", url)
    assert result.exit_code == 66
    assert "there is no message 550" in result.stderr


def test_by_message_id(invoke: Invoke, url: str, past: Past) -> None:
    """A message is found by its Message-ID too."""
    past.enqueued("anna@x.example")
    assert (
        "anna@x.example: queued"
        in invoke("explain", "order-42@example.org", "--database", url).stdout
    )
