import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine

from mailqueue.cli.listing import PAGE
from mailqueue.clock import FakeClock
from mailqueue.operate import login_name
from mailqueue.outbox import schema
from mailqueue.outbox.engine import write_engine
from tests.cli.conftest import Invoke
from tests.cli.past import GREYLISTED, REFUSED, SENT, Past
from tests.support import rows


@pytest.fixture
def past(engine: Engine) -> Past:
    """An outbox with one message that was tried, and one that was not."""
    past = Past(engine, FakeClock(rows.NOW))
    past.enqueued(
        "anna@example.net", "carl@example.net", "nobody@example.net", tags={"order": "42"}
    )
    past.tried(
        {"anna@example.net": SENT, "carl@example.net": GREYLISTED, "nobody@example.net": REFUSED}
    )
    past.enqueued("eve@example.net", sender="")
    return past


@pytest.mark.usefixtures("past")
def test_what_is_not_final_is_listed_in_plain_columns(invoke: Invoke, url: str) -> None:
    """Without a terminal: a heading, and one line for each recipient that still waits."""
    result = invoke("list", "--database", url)
    assert result.exit_code == 0
    assert [line.split(maxsplit=7) for line in result.stdout.splitlines()] == [
        ["ID", "STATE", "DUE", "TRIES", "RELAY", "SENDER", "RECIPIENT", "REASON"],
        [
            "1", "deferred", "2023-11-14T22:18:20Z", "1", "default", "shop@example.org",
            "carl@example.net", "451 4.7.1 greylisted [red] / try later",
        ],
        ["2", "queued", "2023-11-14T22:13:20Z", "0", "default", "<>", "eve@example.net"],
    ]  # fmt: skip


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize(
    ("options", "listed"),
    [
        (["--state", "failed"], ["nobody@example.net"]),
        (["--state", "failed", "--state", "sent"], ["anna@example.net", "nobody@example.net"]),
        (
            ["--state", "any"],
            ["anna@example.net", "carl@example.net", "nobody@example.net", "eve@example.net"],
        ),
        (["--limit", "1"], ["carl@example.net"]),
        (["--relay", "default"], ["carl@example.net", "eve@example.net"]),
        (["--relay", "bulk"], []),
    ],
)
def test_listing_by_state_relay_and_number(
    invoke: Invoke, url: str, options: list[str], listed: list[str]
) -> None:
    """--state, --relay and --limit choose which recipients are listed."""
    result = invoke("list", "--database", url, *options)
    assert result.exit_code == 0
    assert [line.split()[6] for line in result.stdout.splitlines()[1:]] == listed


@pytest.mark.usefixtures("past")
def test_json_has_the_names_of_postqueue(invoke: Invoke, url: str) -> None:
    """--json is one object per message, in which readers of `postqueue -j` find their names."""
    first, second = _objects(invoke("list", "--database", url, "--json").stdout)
    assert first["queue_name"] == "deferred"
    assert first["queue_id"] == "1"
    assert first["arrival_time"] == 1_700_000_000
    assert first["message_size"] > 100
    assert first["forced_expire"] is False
    assert first["sender"] == "shop@example.org"
    (carl,) = first["recipients"]
    assert carl["address"] == "carl@example.net"
    assert carl["delay_reason"] == "451 4.7.1 greylisted [red] / try later"
    assert carl["due_at"] == "2023-11-14T22:18:20.000000Z"
    assert carl["last_reply"]["code"] == 451
    assert first["tags"] == {"order": "42"}
    assert second["queue_name"] == "incoming"
    assert second["sender"] == ""
    assert "delay_reason" not in second["recipients"][0]


@pytest.mark.usefixtures("past")
def test_json_puts_the_recipients_of_a_message_together(invoke: Invoke, url: str) -> None:
    """A message is one line, whatever the states of its recipients."""
    first, _ = _objects(invoke("list", "--database", url, "--json", "--state", "any").stdout)
    assert [recipient["state"] for recipient in first["recipients"]] == [
        "sent", "deferred", "failed",
    ]  # fmt: skip


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_long_queue_is_listed_whole(
    invoke: Invoke, engine: Engine, url: str, form: tuple[str, ...]
) -> None:
    """Pages are read one after the other, and none is missing or told twice."""
    with engine.begin() as connection:
        for _ in range(3):
            rows.add_message(connection, *(f"r{number}@example.net" for number in range(PAGE // 2)))
    result = invoke("list", "--database", url, *form)
    if form:
        told = [len(message["recipients"]) for message in _objects(result.stdout)]
        assert told == [PAGE // 2] * 3
    else:
        assert len(result.stdout.splitlines()) == 1 + 3 * (PAGE // 2)


def test_nothing_in_a_row_acts_on_the_terminal(invoke: Invoke, engine: Engine, url: str) -> None:
    """Addresses and replies in the database may hold anything; what is printed does not."""
    with engine.begin() as connection:
        rows.add_message(
            connection,
            "x\x1b]0;title\x07@example.net",
            sender="s\x9b2J@example.org",
            recipient={
                "state": "deferred",
                "relay": "\u202erelay",
                "last_at": rows.NOW,
                "last_text": "line\r\nnext\x1b[2J",
            },
        )
    for form in ((), ("--json",)):
        result = invoke("list", "--database", url, *form)
        assert result.exit_code == 0
        assert all(line.isprintable() for line in result.stdout.splitlines())
    assert len(invoke("list", "--database", url).stdout.splitlines()) == 2


def test_an_empty_queue(invoke: Invoke, engine: Engine, url: str) -> None:
    """Nothing is listed as a heading alone, and as no JSON at all."""
    assert len(invoke("list", "--database", url).stdout.splitlines()) == 1
    assert invoke("list", "--database", url, "--json").stdout == ""


@pytest.mark.usefixtures("path")
def test_a_missing_outbox_is_told_before_anything_is_printed(invoke: Invoke, url: str) -> None:
    """A mistyped path creates nothing; the error names it and the next command."""
    result = invoke("list", "--database", url)
    assert result.exit_code == 78
    assert result.stdout == ""
    assert result.stderr.startswith("mailqueue: there is no outbox in ")
    assert "mailqueue db upgrade" in result.stderr


def _objects(text: str) -> list[dict[str, Any]]:
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def test_looking_needs_no_password(invoke: Invoke, path: Path, engine: Engine) -> None:
    """Whoever may read the outbox may list it, where the relay's password is out of reach."""
    config = path.with_name("config.toml")
    config.write_text(
        f'[database]\nurl = "sqlite:///{path}"\n'
        '[relays.main]\nhost = "smtp.example.org"\nusername = "shop"\n'
        'password_file = "mailqueue_smtp_password"\n',
    )
    result = invoke("list", "--config", config)
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.fixture
def paused(engine: Engine) -> None:
    """Mail for the default relay and for two named ones; the default one is paused."""
    past = Past(engine, FakeClock(rows.NOW))
    with engine.begin() as connection:
        trouble = {"stage": "auth", "code": 535, "enhanced": "5.7.8", "text": "bad password"}
        rows.add_relay(connection, "main", breaker="open", is_default=True, **trouble)
        rows.add_relay(connection, "bulk", breaker="closed", **trouble)
        rows.add_relay(connection, "slow", breaker="probing")
    past.enqueued("anna@example.net")
    past.enqueued("bob@example.net", relay="main")
    past.enqueued("cleo@example.net", relay="bulk")
    past.enqueued("dan@example.net", relay="slow")


@pytest.mark.usefixtures("paused")
def test_a_paused_relay_is_the_reason(invoke: Invoke, url: str) -> None:
    """Mail that was never answered says that its relay is paused and why, also by default."""
    told = [line.split(maxsplit=7)[6:] for line in _lines(invoke("list", "--database", url))]
    why = "relay main is paused: 535 5.7.8 bad password"
    assert told == [
        ["anna@example.net", why],
        ["bob@example.net", why],
        ["cleo@example.net"],
        ["dan@example.net", "relay slow is paused"],
    ]
    listed = _objects(invoke("list", "--database", url, "--json").stdout)
    reasons = [message["recipients"][0].get("delay_reason") for message in listed]
    assert reasons == [why, why, None, "relay slow is paused"]


@pytest.mark.usefixtures("paused")
def test_a_relay_that_is_not_there_is_the_reason(
    invoke: Invoke, url: str, engine: Engine, tmp_path: Path
) -> None:
    """Nobody takes such mail, whatever it was answered before: the list, its story and JSON say so.

    What is configured says the configuration, and without one the rows of the daemon.
    """
    Past(engine, FakeClock(rows.NOW)).enqueued("eve@example.net", relay="typo")
    file = tmp_path / "config.toml"
    text = f'[database]\nurl = "{url}"\n[daemon]\ndefault_relay = "main"\n'
    file.write_text(f"{text}[relays.main]\n[relays.bulk]\n[relays.slow]\n")
    for place in (("--database", url), ("--config", file)):
        *known, eve = _lines(invoke("list", *place))
        assert eve.endswith("eve@example.net              relay typo is not configured")
        assert not any("not configured" in line for line in known)
        (told,) = _objects(invoke("list", "--relay", "typo", "--json", *place).stdout)
        assert told["recipients"][0]["delay_reason"] == "relay typo is not configured"
        assert "  relay typo is not configured" in invoke("show", 5, *place).stdout.splitlines()


@pytest.mark.usefixtures("paused")
def test_mail_that_names_no_relay_is_listed_under_the_one_that_takes_it(
    invoke: Invoke, url: str
) -> None:
    """As in the log, and in `relays` and `stats`; "default" only where nobody knows which it is."""
    assert [line.split()[4] for line in _lines(invoke("list", "--database", url))] == [
        "main", "main", "bulk", "slow",
    ]  # fmt: skip
    (anna, *_) = _objects(invoke("list", "--database", url, "--json").stdout)
    assert anna["recipients"][0]["relay"] == "main"
    assert "  relay     main" in invoke("show", 1, "--database", url).stdout
    (told,) = _objects(invoke("explain", "--message", 1, "--json", "--database", url).stdout)
    assert told["relay"] == "main"


def test_nobody_knows_the_default_relay(invoke: Invoke, engine: Engine, url: str) -> None:
    """Where several relays are there and none is said to be it, no mail is called a stranger's."""
    Past(engine, FakeClock(rows.NOW)).enqueued("anna@example.net")
    with engine.begin() as connection:
        rows.add_relay(connection, "main")
        rows.add_relay(connection, "bulk")
    (anna,) = _lines(invoke("list", "--database", url))
    assert anna.split()[4:] == ["default", "shop@example.org", "anna@example.net"]


@pytest.mark.usefixtures("past")
def test_who_holds_it_is_the_reason(invoke: Invoke, url: str) -> None:
    """A held mail waits for a person, whatever it was answered before."""
    assert invoke("hold", "--all", "--yes", "--reason", "MX moves", "--database", url).stdout
    why = f"held by {login_name()}: MX moves"
    assert all(line.endswith(why) for line in _lines(invoke("list", "--database", url)))
    for told in _objects(invoke("list", "--json", "--database", url).stdout):
        assert told["recipients"][0]["delay_reason"] == why


@pytest.mark.usefixtures("past")
def test_a_persons_pause_goes_before_a_reply(invoke: Invoke, engine: Engine, url: str) -> None:
    """Until somebody resumes it nothing else matters, and only a person knows of it."""
    with engine.begin() as connection:
        paused = {"paused_at": rows.NOW, "paused_by": "olga", "pause_reason": "new address"}
        rows.add_relay(connection, "main", is_default=True, **paused)
    for line in _lines(invoke("list", "--database", url)):
        assert line.endswith("relay main is paused by olga: new address")


@pytest.mark.usefixtures("past")
def test_a_reply_goes_before_a_pause(invoke: Invoke, engine: Engine, url: str) -> None:
    """What the mail itself was answered is its reason, whatever the relay suffers from since."""
    with engine.begin() as connection:
        rows.add_relay(connection, "main", breaker="open", is_default=True, text="trouble")
    carl, eve = _lines(invoke("list", "--database", url))
    assert carl.endswith("451 4.7.1 greylisted [red] / try later")
    assert eve.endswith("relay main is paused: trouble")


@pytest.mark.usefixtures("paused")
def test_the_default_relay_lists_mail_that_names_none(
    invoke: Invoke, url: str, tmp_path: Path
) -> None:
    """--relay finds what the relay takes as the default one, too."""

    def listed(*options: object) -> list[str]:
        return [line.split()[6] for line in _lines(invoke("list", *options))]

    assert listed("--database", url, "--relay", "main") == ["anna@example.net", "bob@example.net"]
    assert listed("--database", url, "--relay", "bulk") == ["cleo@example.net"]
    assert listed("--database", url, "--relay", "default") == ["anna@example.net"]


@pytest.mark.usefixtures("past")
def test_the_configuration_knows_the_default_relay(
    invoke: Invoke, url: str, tmp_path: Path
) -> None:
    """Where no daemon has run yet, the configuration says which relay is the default one."""
    file = tmp_path / "config.toml"
    file.write_text(f'[database]\nurl = "{url}"\n[relays.main]\n')
    assert len(_lines(invoke("list", "--config", file, "--relay", "main"))) == 2
    assert _lines(invoke("list", "--database", url, "--relay", "main")) == []


def _lines(result: Result) -> list[str]:
    """Return the lines of a plain listing without its heading."""
    assert result.exit_code == 0
    return result.stdout.splitlines()[1:]


@pytest.mark.parametrize("command", [("list",), ("show", "1"), ("db", "current")])
def test_reading_where_nothing_can_be_written(invoke: Invoke, command: tuple[str, ...]) -> None:
    """Who may read the file and not write beside it is told what reading it needs, and why."""
    with tempfile.TemporaryDirectory() as name, _outbox_to_read(Path(name)) as url:
        result = invoke(*command, "--database", url)
    assert result.exit_code == 77
    assert "cannot be read from here: to read it SQLite needs the files -wal" in result.stderr
    assert "cannot be written by" not in result.stderr


def test_reading_beside_a_daemon_that_may_write(invoke: Invoke) -> None:
    """Where those files are there already, reading takes no right to write."""
    with tempfile.TemporaryDirectory() as name, _outbox_to_read(Path(name), keep_open=True) as url:
        result = invoke("list", "--database", url)
    assert (result.exit_code, result.stderr) == (0, "")


@contextmanager
def _outbox_to_read(directory: Path, *, keep_open: bool = False) -> Iterator[str]:
    """Make an outbox that may be read and not written, and become a user to whom modes matter."""
    url = f"sqlite:///{directory / 'outbox.db'}"
    engine = write_engine(url)
    schema.create(engine)
    with engine.begin() as connection:
        rows.add_message(connection)
    if not keep_open:
        engine.dispose()
    for file in directory.iterdir():
        file.chmod(0o444)
    directory.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield url
    finally:
        os.seteuid(user)
        directory.chmod(0o755)
        engine.dispose()
