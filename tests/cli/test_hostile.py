"""Whatever relays, mails and rows hold, no command lets it act on who reads the output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from mailqueue.clock import SystemClock
from mailqueue.outbox.tables import workers
from tests.cli.commands import ELSEWHERE, Called, commands
from tests.cli.conftest import Invoke
from tests.cli.screen import shown
from tests.support import rows

pytestmark = pytest.mark.backend("sqlite")

ESCAPES = ("\x1b]0;owned\x07", "\x1b[2J", "\x9b2J", "\u202e", "\r", "\x00", "\x08")
NASTY = "[bold]no[/bold] [link=https://x]x[/link] " + "".join(ESCAPES)
LONG = NASTY + "x" * 30_000
ALL = list(commands())


def _named(called: Called) -> str:
    return " ".join(called.words)


@pytest.fixture
def hostile(engine: Engine) -> None:
    """An outbox with something hostile wherever text can be, in every state."""
    now = SystemClock().now()
    last = {"last_at": now, "last_code": 550, "last_enhanced": NASTY, "last_text": LONG}
    with engine.begin() as connection:
        trouble = {"stage": NASTY, "code": 535, "enhanced": NASTY, "text": LONG}
        rows.add_relay(connection, NASTY, breaker="open", since=now, probe_at=now, **trouble)
        rows.add_relay(connection, "default", breaker="open", since=now, **trouble)
        row = {"id": NASTY, "host": NASTY, "version": NASTY, "pid": 1}
        connection.execute(workers.insert().values(**row, started_at=now, heartbeat_at=now))
        for state in ("queued", "deferred", "sending", "held", "sent", "failed", "expired"):
            waits = state in ("queued", "deferred", "sending")
            number = rows.add_message(
                connection,
                f"{NASTY}@{NASTY}.example",
                sender=f"{NASTY}@{NASTY}",
                header_message_id=f"<{NASTY}>",
                tags=json.dumps({NASTY: LONG}),
                relay=NASTY if state == "queued" else "default",
                enqueued_at=now,
                recipient={
                    "state": state,
                    "worker": NASTY if state == "sending" else None,
                    "due_at": now if waits else None,
                    "lifetime_from": now,
                    **last,
                },
            )
            (recipient,) = rows.recipient_ids(connection, number)
            for verdict in ("defer", "fail", "in-doubt", NASTY):
                rows.add_attempt(
                    connection, recipient, ended_at=now, verdict=verdict,
                    **dict.fromkeys(
                        ("relay", "worker", "session", "peer", "tls", "stage", "command",
                         "enhanced", "rcpt_reply", "scope", "rule"), NASTY,
                    ),
                    text=LONG, reason=LONG,
                )  # fmt: skip
            words = dict.fromkeys(("verb", "actor", "reason", "from_state", "to_state"), NASTY)
            rows.add_action(connection, recipient, at=now, **words)
        # Octets that are no UTF-8, as only a shell can write them.
        connection.execute(
            text("UPDATE mailqueue_attempts SET text = CAST(x'ff1b5b324aff' AS TEXT) WHERE id = 1")
        )


@pytest.fixture
def values(tmp_path: Path) -> dict[str, str]:
    """What to give to arguments, by what the help calls them."""
    return {
        "ID": "2",
        "[ID]...": "2",
        "CODE|REPLY|ID": "2",
        "FILE": str(tmp_path / "new-file"),
        "RELAY": "default",
        "SHELL": "bash",
        "SQL": "SELECT * FROM mailqueue_history",
        "URL": f"sqlite:///{tmp_path}/other.db",
    }


def _ways(called: Called, values: dict[str, str], url: str) -> Iterator[list[str]]:
    where = ["--database", url] if called.takes_database else []
    for flag in ([], *([one] for one in called.flags)):
        Path(values["FILE"]).unlink(missing_ok=True)
        yield [*called.words, *where, *flag, *called.arguments(values)]


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("called", ALL, ids=_named)
def test_nothing_hostile_reaches_a_pipe(
    invoke: Invoke, url: str, called: Called, values: dict[str, str]
) -> None:
    """Every command, with each of its flags: what it prints is printable, and it has no fault."""
    for arguments in _ways(called, values, url):
        if "--body" in arguments:
            continue  # the very bytes of the mail, as its help says
        result = invoke(*arguments)
        assert result.exit_code != 70, (arguments, result.output)
        for line in result.output.split("\n"):
            assert line.isprintable(), (arguments, ascii(line))


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("called", [one for one in ALL if "--json" in one.flags], ids=_named)
def test_json_is_ascii_and_whole(
    invoke: Invoke, url: str, called: Called, values: dict[str, str]
) -> None:
    """With --json each line is one object in pure ASCII, whatever stands in it."""
    where = ["--database", url] if called.takes_database else []
    result = invoke(*called.words, *where, "--json", *called.arguments(values))
    assert result.stdout.isascii()
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert told or result.exit_code, "nothing was refused, and nothing told"


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("called", ALL, ids=_named)
def test_nothing_hostile_reaches_a_terminal(
    url: str, called: Called, values: dict[str, str]
) -> None:
    """On a terminal only our own colours act; markup of rich is shown as it was written."""
    arguments = next(iter(_ways(called, values, url)))
    # One command goes on until it is told to leave, and has the whole screen to itself.
    is_live = called.words == ("top",)
    key = b"q" if is_live else b""
    seen, _ = shown(*arguments, until=b"q leaves", key=key, NO_COLOR="1")
    for escape in ESCAPES[:1] if is_live else ESCAPES:
        assert escape.encode() not in seen.replace(b"\r\n", b"\n"), ascii(escape)
    if b"bold" in seen:
        assert b"[bold]no[/bold]" in seen.replace(b"\r\n", b""), arguments


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_is_left_out_exists(name: str) -> None:
    """The list of commands that are tested elsewhere names none that is gone."""
    from mailqueue.cli.main import _SECTIONS

    assert any(name in entries for entries in _SECTIONS.values())
