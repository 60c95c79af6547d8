"""The operator's verbs for many at once, on the command line."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import Engine, select

from mailqueue.cli import deciding
from mailqueue.cli.progress import PATIENCE, Progress
from mailqueue.clock import FakeClock
from mailqueue.errors import OutboxFullError
from mailqueue.mail.lifecycle import OPERATOR_EVENTS, State
from mailqueue.outbox.tables import actions, recipients
from tests.cli.conftest import Invoke
from tests.support.rows import add_message, add_relay

VERBS = ["hold", "release", "cancel", "retry", "fail"]


def add(engine: Engine, *addresses: str, **columns: Any) -> int:
    """Put a message into the outbox."""
    with engine.begin() as connection:
        return add_message(connection, *addresses, **columns)


def states(engine: Engine) -> Counter[str]:
    """Return how many recipients are in each state."""
    with engine.connect() as connection:
        return Counter(connection.scalars(select(recipients.c.state)))


@pytest.fixture
def queue(engine: Engine) -> Engine:
    """Three recipients at example.net, of whom one was deferred, and one at example.com."""
    add(engine, "ann@example.net", "bob@example.net", "dan@example.com")
    greylisted = {
        "state": State.DEFERRED,
        "last_at": 1,
        "last_code": 451,
        "last_text": "greylisted",
    }
    add(engine, "cee@example.net", relay="bulk", recipient=greylisted)
    return engine


@pytest.mark.parametrize("verb", VERBS)
def test_without_ids_or_filter_nothing_happens(
    invoke: Invoke, url: str, queue: Engine, verb: str
) -> None:
    """A verb that does not say which mail is meant is refused, and says how to."""
    before = states(queue)
    result = invoke(verb, "--database", url, "--yes")
    assert result.exit_code == 64
    assert "say which mail is meant" in result.stderr
    assert ("--all" in result.stderr) == (verb not in ("cancel", "fail"))
    assert states(queue) == before


@pytest.mark.parametrize("verb", ["cancel", "fail"])
def test_what_cannot_be_undone_is_not_done_to_everybody(
    invoke: Invoke, url: str, queue: Engine, verb: str
) -> None:
    """There is no --all for it."""
    assert invoke(verb, "--all", "--yes", "--database", url).exit_code == 64
    assert states(queue) == {"queued": 3, "deferred": 1}


def test_everybody_can_be_held_and_released(invoke: Invoke, url: str, queue: Engine) -> None:
    """--all means all to whom it can happen."""
    result = invoke("hold", "--all", "--yes", "--database", url)
    assert (result.exit_code, result.stdout) == (0, "4 recipients held\n")
    assert states(queue) == {"held": 4}
    result = invoke("release", "--all", "--yes", "--database", url)
    assert result.stdout == "4 recipients released\n"
    assert states(queue) == {"queued": 4}


@pytest.mark.parametrize(
    "filter_",
    [
        ["--domain", "example.net", "--state", "queued"],
        ["--recipient", "ANN@*", "--recipient", "bob@example.net"],
        ["--domain", "example.net", "--relay", "default"],
    ],
)
def test_a_filter_says_who_is_meant(
    invoke: Invoke, url: str, queue: Engine, filter_: list[str]
) -> None:
    """Filters narrow one another, repeated ones add up, and reason and name stand on record."""
    result = invoke("hold", *filter_, "--yes", "--reason", "maintenance", "--database", url)
    assert (result.exit_code, result.stdout) == (0, "2 recipients held\n")
    assert states(queue) == {"held": 2, "queued": 1, "deferred": 1}
    with queue.connect() as connection:
        assert {row.reason for row in connection.execute(select(actions))} == {"maintenance"}


@pytest.mark.parametrize(
    ("filter_", "count"),
    [
        (["--code", "4xx"], 1),
        (["--code", "451", "--domain", "example.com"], 0),
        (["--relay", "bulk"], 1),
        (["--older", "1h"], 4),
        (["--newer", "1h"], 0),
        (["--sender", "sender@example.org"], 4),
        (["--enhanced", "4.7.*"], 0),
        (["--tag", "order=42"], 0),
        (["--domain", "EXAMPLE.net"], 3),
    ],
)
@pytest.mark.usefixtures("queue")
def test_every_filter_reaches_verbs_and_list_alike(
    invoke: Invoke, url: str, filter_: list[str], count: int
) -> None:
    """What `list` shows under a filter is what a verb is about under the same."""
    listed = invoke("list", *filter_, "--database", url).stdout.splitlines()[1:]
    counted = json.loads(invoke("hold", *filter_, "--dry-run", "--json", "--database", url).stdout)
    assert len(listed) == counted["recipients"] == count


def test_a_dry_run_shows_whom_it_would_be(invoke: Invoke, url: str, queue: Engine) -> None:
    """Numbers by state and relay, the first few, and nothing is done."""
    result = invoke("cancel", "--domain", "example.net", "--dry-run", "--database", url)
    assert result.exit_code == 0
    assert [" ".join(line.split()) for line in result.stdout.splitlines()] == [
        "3 recipients would be cancelled:",
        "1 deferred relay bulk",
        "2 queued relay default",
        "these are:",
        "1 ann@example.net",
        "1 bob@example.net",
        "2 cee@example.net 451 greylisted",
    ]
    assert states(queue) == {"queued": 3, "deferred": 1}


def test_a_dry_run_by_number_is_that_of_the_message(
    invoke: Invoke, url: str, queue: Engine
) -> None:
    """It counts to whom it would happen among the recipients of the messages named."""
    result = invoke("cancel", 1, 2, "--dry-run", "--json", "--database", url)
    told = json.loads(result.stdout)
    assert told["states"] == {"queued": 3, "deferred": 1}
    assert invoke("cancel", 1, 77, "--dry-run", "--database", url).exit_code == 66
    assert states(queue) == {"queued": 3, "deferred": 1}


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        ("release", State.HELD),
        *(("retry", state) for state in (State.HELD, State.DEFERRED, State.FAILED, State.EXPIRED)),
    ],
)
def test_doubt_is_told_before_it_is_sent_again(
    invoke: Invoke, url: str, engine: Engine, verb: str, state: State
) -> None:
    """Whoever lets go what may have been sent is told so, before and after, in whatever state."""
    add(engine, recipient={"state": state, "doubts": 1})
    add(engine, recipient={"state": state})
    meant = ("--state", str(state), "--database", url)
    told = "1 of them has an attempt in doubt on record, and may be sent to twice"
    assert told in invoke(verb, *meant, "--dry-run").stdout
    assert json.loads(invoke(verb, *meant, "--dry-run", "--json").stdout)["in_doubt"] == 1
    assert told in invoke(verb, *meant, "--yes").stdout


def test_who_ends_mail_hears_of_no_doubt(invoke: Invoke, url: str, engine: Engine) -> None:
    """Nothing is sent by it."""
    add(engine, recipient={"state": State.HELD, "doubts": 1})
    assert "twice" not in invoke("cancel", "--state", "held", "--dry-run", "--database", url).stdout


def test_doubt_is_told_of_mail_that_is_named(invoke: Invoke, url: str, engine: Engine) -> None:
    """By number each recipient has its own line, and the doubt stands in that of who has one."""
    add(engine, recipient={"state": State.FAILED, "doubts": 2})
    add(engine, recipient={"state": State.FAILED})
    doubtful, other = invoke("retry", 1, 2, "--database", url).stdout.splitlines()
    assert "failed to queued; an attempt is in doubt, so it may be sent to twice" in doubtful
    assert other.endswith("failed to queued")


def test_mail_is_counted_by_the_relay_that_takes_it(
    invoke: Invoke, url: str, queue: Engine
) -> None:
    """Mail that names no relay is for the default one, by whose name the log calls it."""
    with queue.begin() as connection:
        add_relay(connection, "bulk", is_default=True)
    shown = invoke("hold", "--all", "--dry-run", "--database", url).stdout
    assert [line.split() for line in shown.splitlines()[1:3]] == [
        ["1", "deferred", "relay", "bulk"],
        ["3", "queued", "relay", "bulk"],
    ]
    told = json.loads(invoke("hold", "--all", "--dry-run", "--json", "--database", url).stdout)
    assert told["relays"] == {"bulk": 4}
    assert {one["relay"] for one in told["first"]} == {"bulk"}


def test_nobody_to_confirm(invoke: Invoke, url: str, queue: Engine) -> None:
    """Without a terminal and without --yes it is refused, with the count and what to say."""
    result = invoke("hold", "--domain", "example.net", "--database", url)
    assert (result.exit_code, result.stdout) == (64, "")
    assert "3 recipients would be held; nobody is here to confirm it: say --yes" in result.stderr
    assert states(queue) == {"queued": 3, "deferred": 1}


@pytest.mark.usefixtures("queue")
def test_nobody_is_meant(invoke: Invoke, url: str) -> None:
    """A filter that selects nobody is no failure, and asks nothing."""
    result = invoke("hold", "--domain", "example.org", "--database", url)
    assert (result.exit_code, result.stdout) == (0, "nobody is to be held\n")


def test_json_tells_what_was_done(invoke: Invoke, url: str, queue: Engine) -> None:
    """One object with the counts; by number one for each recipient."""
    result = invoke("hold", "--domain", "example.net", "--yes", "--json", "--database", url)
    assert json.loads(result.stdout) == {
        "did": "hold", "recipients": 3, "moved": 3, "left_alone": 0, "in_doubt": 0,
    }  # fmt: skip
    lines = invoke("hold", 1, "--json", "--database", url).stdout.splitlines()
    assert [(one["recipient"], one["from"], one["to"]) for one in map(json.loads, lines)] == [
        ("ann@example.net", "held", None),
        ("bob@example.net", "held", None),
        ("dan@example.com", "queued", "held"),
    ]
    assert states(queue) == {"held": 4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1", "--domain", "example.net"], "no other filter than --recipient"),
        (["1", "--all"], "no other filter"),
        (["--all", "--domain", "example.net"], "--all takes no filter"),
        (["--older", "soon"], "is not a duration"),
        (["--state", "waiting"], "is not one of"),
    ],
)
def test_what_says_it_twice_or_wrongly(
    invoke: Invoke, url: str, queue: Engine, arguments: list[str], words: str
) -> None:
    """A command that could be understood in two ways is not guessed at."""
    result = invoke("hold", *arguments, "--yes", "--database", url)
    assert result.exit_code == 64
    assert words in result.stderr
    assert states(queue) == {"queued": 3, "deferred": 1}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--code", "five"], "write a reply code such as 550"),
        (["--domain", "a@b"], "what stands after the @"),
        (["--domain", "ä..b"], "no ASCII form"),
        (["--state", "sent"], "happens to those who are queued, deferred"),
    ],
)
def test_a_filter_that_fits_nobody(
    invoke: Invoke, url: str, queue: Engine, arguments: list[str], words: str
) -> None:
    """It is told what was meant, and nothing happens."""
    result = invoke("hold", *arguments, "--yes", "--database", url)
    assert result.exit_code == 65
    assert words in result.stderr
    assert states(queue) == {"queued": 3, "deferred": 1}


def test_several_messages_at_once(invoke: Invoke, url: str, queue: Engine) -> None:
    """Each is named; one that is not there keeps all of them from being touched."""
    result = invoke("hold", 1, 77, "--database", url)
    assert (result.exit_code, result.stdout) == (66, "")
    assert states(queue) == {"queued": 3, "deferred": 1}
    assert len(invoke("hold", 1, 2, "--database", url).stdout.splitlines()) == 4
    assert states(queue) == {"held": 4}


def test_failing_by_hand_is_told_where_failures_are(
    invoke: Invoke, url: str, queue: Engine
) -> None:
    """What an operator gave up has failed, and history and failures say by whom and why."""
    result = invoke(
        "fail", "--domain", "example.net", "--yes", "--reason", "gone", "--database", url
    )
    assert result.stdout == "3 recipients failed\n"
    assert states(queue) == {"failed": 3, "queued": 1}
    told = invoke("show", 2, "--database", url).stdout
    assert "cee@example.net: failed" in told
    assert "fail by" in told
    assert "gone" in told
    with queue.connect() as connection:
        rows = connection.exec_driver_sql("SELECT failed_because, text FROM mailqueue_failures")
        assert {tuple(row) for row in rows} == {("gone", None), ("gone", "greylisted")}


def _answered(answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command with a person at the terminal, who types ``answer``."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "mailqueue", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "dumb"},
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
    return process.wait(timeout=30), shown.decode()


@pytest.mark.parametrize(("answer", "status", "held"), [("y\n", 0, 3), ("n\n", 130, 0)])
def test_a_person_confirms_the_count(
    url: str, queue: Engine, answer: str, status: int, held: int
) -> None:
    """On a terminal the count is shown and confirmed; anything but a yes does nothing."""
    found, shown = _answered(answer, "hold", "--domain", "example.net", "--database", url)
    assert "3 recipients would be held" in shown
    assert "Do it?" in shown
    assert found == status
    assert states(queue)["held"] == held


@pytest.fixture
def many(engine: Engine) -> Engine:
    """A thousand recipients: more than one transaction takes."""
    add(engine, *(f"r{number}@example.net" for number in range(1_000)))
    return engine


def test_ctrl_c_ends_between_two_transactions(
    invoke: Invoke, url: str, many: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done stays, the rest is as before, and it is said how far it came."""
    before = signal.getsignal(signal.SIGINT)

    def interrupt(_progress: Progress, _done: int) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Progress, "show", interrupt)
    result = invoke("hold", "--all", "--yes", "--database", url)
    assert result.exit_code == 130
    assert "interrupted: 200 were held, and 800 recipients are as before" in result.stderr
    assert states(many) == {"held": 200, "queued": 800}
    assert signal.getsignal(signal.SIGINT) is before


def test_trouble_on_the_way_says_how_far_it_came(
    invoke: Invoke, url: str, many: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that stops taking it ends in the usual status, and with the count."""

    def full(_progress: Progress, _done: int) -> None:
        raise OutboxFullError("no space")

    monkeypatch.setattr(Progress, "show", full)
    result = invoke("hold", "--all", "--yes", "--database", url)
    assert result.exit_code == 75
    assert result.stderr.splitlines() == [
        "mailqueue: no space",
        "200 were held, and 800 recipients are as before; say it again to go on",
    ]
    assert states(many) == {"held": 200, "queued": 800}


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_bar_comes_after_a_second_and_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    """What is quick shows no bar, and neither does a pipe."""
    clock = FakeClock()
    monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal)
    with Progress(100, "held", clock=clock) as progress:
        progress.show(10)
        assert capsys.readouterr().err == ""
        clock.advance(PATIENCE)
        progress.show(50)
        assert ("50%" in capsys.readouterr().err) is is_terminal


def test_hostile_rows_steer_no_terminal(invoke: Invoke, url: str, engine: Engine) -> None:
    """What relays and producers wrote is shown printable."""
    hostile = {"last_at": 1, "last_code": 451, "last_text": "\x1b[2J\u202e\nno"}
    add(engine, "\x1b[1m@example.net", relay="\x1b[31mred", recipient=hostile)
    shown = invoke("hold", "--all", "--dry-run", "--database", url).stdout
    assert all(line.isprintable() for line in shown.splitlines())
    assert "\x1b" not in invoke("hold", "--all", "--dry-run", "--json", "--database", url).stdout


def test_verbs_have_words() -> None:
    """Each of the operator's events has a participle, or its summary could not be said."""
    assert set(deciding._DONE) == OPERATOR_EVENTS
