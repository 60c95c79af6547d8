"""`stats`, `shape`, `reasons` and `top`: what they show of a past that is known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import Engine

from mailqueue.clock import FakeClock, SystemClock
from mailqueue.outbox.tables import relays
from tests.cli.conftest import Invoke
from tests.cli.past import GREYLISTED, REFUSED, SENT, SILENT, Past
from tests.cli.screen import shown
from tests.support import rows


@pytest.fixture
def past(engine: Engine) -> Past:
    """Four recipients that were tried just now, each with another outcome, and one that waits."""
    past = Past(engine, FakeClock(SystemClock().now() - 60_000_000))
    past.enqueued("anna@one.example", "carl@one.example", "nobody@two.example", "dora@two.example")
    past.tried(
        {
            "anna@one.example": SENT,
            "carl@one.example": GREYLISTED,
            "nobody@two.example": REFUSED,
            "dora@two.example": SILENT,
        }
    )
    past.enqueued("eve@two.example")
    return past


def objects(text: str) -> list[dict[str, Any]]:
    """Return lines of JSON as what they say."""
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("past")
def test_stats_by_relay(invoke: Invoke, url: str) -> None:
    """What came of each attempt stands with the relay that answered, what waits with its name."""
    result = invoke("stats", "--database", url)
    head, default, main, total = (line.split() for line in result.stdout.splitlines())
    assert head[:2] == ["RELAY", "SENT"]
    assert default[:12] == ["default", *["0", "0.0", "0", "0", "0", "0", "1", "2", "0", "0", "1"]]
    assert default[12] == "1m"
    assert main == ["main", *["1", "0.0", "1", "1", "0", "1", "0", "0", "0", "0", "0", "-"]]
    assert total[:12] == ["total", *["1", "0.0", "1", "1", "0", "1", "1", "2", "0", "0", "1"]]


@pytest.mark.usefixtures("past")
def test_stats_by_domain_as_json(invoke: Invoke, url: str) -> None:
    """One object for each domain, and one for all, which has no name."""
    one, two, total = objects(invoke("stats", "--by", "domain", "--json", "--database", url).stdout)
    assert (one["domain"], one["sent"], one["put_off"], one["deferred"]) == ("one.example", 1, 1, 1)
    assert (two["domain"], two["failed"], two["in_doubt"]) == ("two.example", 1, 1)
    assert (two["queued"], two["due"]) == (1, 1)
    assert total["domain"] is None
    assert (total["sent"], total["sent_per_second"], total["failed"]) == (1, 0.0, 1)
    assert 60 <= total["oldest_due_seconds"] < 120


@pytest.mark.usefixtures("past")
def test_stats_look_back_as_far_as_is_said(invoke: Invoke, url: str) -> None:
    """--since leaves out what is older, and takes no nonsense."""
    (*_, total) = objects(invoke("stats", "--since", "10s", "--json", "--database", url).stdout)
    assert (total["sent"], total["queued"]) == (0, 1)
    assert invoke("stats", "--since", "soon", "--database", url).exit_code == 64


@pytest.mark.usefixtures("past")
def test_the_lines_left_out_are_in_the_sum(invoke: Invoke, url: str) -> None:
    """--limit keeps the busiest, and the last line counts all."""
    found = objects(
        invoke("stats", "--by", "domain", "--limit", "1", "--json", "--database", url).stdout
    )
    assert [line["domain"] for line in found] == ["two.example", None]
    assert found[-1]["deferred"] == 2


@pytest.mark.usefixtures("past")
def test_shape(invoke: Invoke, url: str) -> None:
    """As qshape: a total, then each domain, by how long its mail has waited."""
    head, total, two, one = (
        line.split() for line in invoke("shape", "--database", url).stdout.splitlines()
    )
    assert head == [
        "DOMAIN",
        "T",
        "5",
        "10",
        "20",
        "40",
        "80",
        "160",
        "320",
        "640",
        "1280",
        "1280+",
        "LATER",
    ]
    assert total == ["TOTAL", "3", "3", "0", "0", "0", "0", "0", "0", "0", "0", "0", "0"]
    assert two[:3] == ["two.example", "2", "2"]
    assert one[:3] == ["one.example", "1", "1"]
    (sender, whole) = objects(
        invoke("shape", "--by", "sender", "--state", "queued", "--json", "--database", url).stdout
    )
    assert (sender["sender"], sender["total"]) == ("example.org", 1)
    assert whole["ages"][0] == {"up_to_minutes": 5, "recipients": 1}


@pytest.mark.usefixtures("past")
def test_reasons(invoke: Invoke, url: str) -> None:
    """Each reason with its code and the message that heard it; markup is text."""
    lines = invoke("reasons", "--database", url).stdout.splitlines()
    assert len(lines) == 4
    assert any("greylisted [red]" in line and "451 4.7.1" in line for line in lines)
    (refused,) = objects(invoke("reasons", "--outcome", "fail", "--json", "--database", url).stdout)
    assert (refused["code"], refused["reason"], refused["stage"]) == (550, "no such user", "rcpt")
    assert refused["example"]["address"] == "nobody@two.example"


def test_reasons_call_a_relay_by_its_name(invoke: Invoke, engine: Engine, url: str) -> None:
    """A lease that ran out is on record under the name that the mail carries; not so here."""
    now = SystemClock().now()
    with engine.begin() as connection:
        rows.add_relay(connection, "main", is_default=True)
        (one,) = rows.recipient_ids(connection, rows.add_message(connection))
        rows.add_attempt(connection, one, verdict="in-doubt", relay="default", ended_at=now)
    assert " main " in invoke("reasons", "--database", url).stdout
    (told,) = map(json.loads, invoke("reasons", "--json", "--database", url).stdout.splitlines())
    assert told["relay"] == "main"
    assert "relay main" in invoke("show", 1, "--database", url).stdout
    assert " main " in invoke("top", "--database", url).stdout.split("RECIPIENTS")[1]


@pytest.mark.parametrize("command", ["stats", "shape", "reasons", "top"])
def test_an_empty_outbox_is_no_error(
    invoke: Invoke, engine: Engine, url: str, command: str
) -> None:
    """Where there is nothing, headings say what there would be."""
    result = invoke(command, "--database", url)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("past")
def test_top_on_a_pipe_is_one_look(invoke: Invoke, engine: Engine, url: str) -> None:
    """Without a terminal the relays and the reasons are printed once."""
    with engine.begin() as connection:
        connection.execute(relays.insert().values(name="main", breaker="open", since=1))
    lines = invoke("top", "--database", url).stdout.splitlines()
    assert lines[0].startswith("no daemon is running")
    assert lines[1].split()[:2] == ["RELAY", "BREAKER"]
    (main,) = (line for line in lines if line.startswith("main"))
    assert main.split()[1:3] == ["open", "1"]
    assert any("no such user" in line for line in lines)


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("key", [b"q", b"\x03"], ids=["q", "Ctrl-C"])
def test_top_on_a_terminal_is_left_by_a_key(url: str, key: bytes) -> None:
    """It shows the queue until q or Ctrl-C is pressed, gives the screen back, and ends well."""
    seen, status = shown("top", "--database", url, until=b"q leaves", key=key)
    assert status == 0
    assert b"no such user" in seen
    assert b"greylisted [red]" in seen
    assert seen.rstrip().endswith((b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1049l\x1b[?25h"))
