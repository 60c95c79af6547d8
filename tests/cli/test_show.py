import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from mailqueue.clock import FakeClock
from mailqueue.mail.schedule import Backoff
from mailqueue.operate import Operator
from mailqueue.outbox.reap import reap
from tests.cli.conftest import Invoke
from tests.cli.past import GREYLISTED, REFUSED, SENT, SILENT, Past
from tests.support import rows


@pytest.fixture
def clock() -> FakeClock:
    """The clock of the past."""
    return FakeClock(rows.NOW)


@pytest.fixture
def past(engine: Engine, clock: FakeClock) -> Past:
    """An outbox where nothing has happened yet."""
    return Past(engine, clock)


def test_the_story_of_a_message(invoke: Invoke, url: str, past: Past, clock: FakeClock) -> None:
    """Envelope and options, then for each recipient its state, attempts, replies and rules."""
    number = past.enqueued(
        "anna@example.net",
        "carl@example.net",
        "nobody@example.net",
        tags={"order": "42"},
        idempotency_key="order-42",
        priority="high",
        expires_in=86_400,
    )
    clock.advance(60)
    past.tried(
        {"anna@example.net": SENT, "carl@example.net": GREYLISTED, "nobody@example.net": REFUSED}
    )
    told = _told(invoke, url, number)
    head, anna, carl, nobody = told.split("\n\n")
    assert head.startswith("message 1  <order-42@example.org>\n")
    for fact in ("shop@example.org", "high", "retry", "order-42", "order=42", "expires"):
        assert fact in head
    assert anna.startswith("anna@example.net: sent since 2023-11-14T22:14:20Z (")
    assert "rcpt <- 250 2.1.5 recipient ok\n" in anna
    assert "end-of-data <- 250 2.0.0 accepted as 1\n" in anna
    assert "sent, scope message, by rule accepted: a 2xx after the final dot" in anna
    assert "relay main, at 192.0.2.1:587, TLSv1.3, session ab12, worker w1" in anna
    assert "took 0.35s" in anna
    assert carl.startswith("carl@example.net: deferred\n  1 attempt charged\n")
    assert "rcpt -> RCPT TO:<carl@example.net>\n" in carl
    assert "rcpt <- 451 4.7.1 greylisted [red]\n            try later\n" in carl
    assert "by rule recipient-4xx: a 4xx to RCPT defers this recipient alone" in carl
    assert "put off until 2023-11-14T22:19:20Z" in carl
    assert nobody.startswith("nobody@example.net: failed since")
    assert "by rule recipient-5xx: a 5xx to RCPT fails this recipient alone, for good" in nobody


def test_what_a_waiting_recipient_waits_for(invoke: Invoke, url: str, past: Past) -> None:
    """A due recipient waits for a daemon, and for its relay where that is paused."""
    number = past.enqueued("anna@example.net")
    with past.engine.begin() as connection:
        rows.add_relay(
            connection,
            "main",
            breaker="open",
            stage="auth",
            code=535,
            enhanced="5.7.8",
            text="bad password",
            probe_at=rows.NOW + 30 * rows.SECOND,
        )
    told = _told(invoke, url, number)
    assert "its first attempt has been due since 2023-11-14T22:13:20Z" in told
    assert "waits for a daemon to take it" in told
    assert "relay main is paused since 2023-11-14T22:13:20Z" in told
    assert "its last trouble, at auth: 535 5.7.8 bad password" in told
    assert "its next probe is 2023-11-14T22:13:50Z" in told


def test_the_default_relay_is_known_from_the_configuration(
    invoke: Invoke, url: str, past: Past, tmp_path: Path
) -> None:
    """Mail that names no relay waits for the default one; another's trouble is not told."""
    number = past.enqueued("anna@example.net")
    with past.engine.begin() as connection:
        rows.add_relay(connection, "main", breaker="closed")
        rows.add_relay(connection, "bulk", breaker="open", text="trouble of bulk")
    file = tmp_path / "config.toml"
    text = f'[database]\nurl = "{url}"\n[relays.main]\ntls = "none"\n[relays.bulk]\ntls = "none"\n'
    file.write_text(f'{text}[daemon]\ndefault_relay = "main"\n')
    assert "trouble of bulk" not in invoke("show", number, "--config", file).stdout
    file.write_text(f'{text}[daemon]\ndefault_relay = "bulk"\n')
    assert "trouble of bulk" in invoke("show", number, "--config", file).stdout


def test_a_relay_that_was_named(invoke: Invoke, url: str, past: Past) -> None:
    """Mail for a named relay waits for that one."""
    number = past.enqueued("anna@example.net", relay="bulk")
    with past.engine.begin() as connection:
        rows.add_relay(connection, "main", breaker="open", text="trouble of main")
        rows.add_relay(connection, "bulk", breaker="probing", text="trouble of bulk")
    told = _told(invoke, url, number)
    assert "trouble of bulk" in told
    assert "one mail is on its way to probe it" in told
    assert "trouble of main" not in told


def test_a_leased_recipient(invoke: Invoke, url: str, engine: Engine) -> None:
    """Who sends it, and until when its lease runs."""
    past = Past(engine, FakeClock(2_000_000_000 * rows.SECOND))
    number = past.enqueued("anna@example.net")
    past.claimed(worker="w7")
    told = _told(invoke, url, number)
    assert "being sent by worker w7, whose lease ends 2033-05-18T03:35:20Z (in " in told


def test_a_lease_that_ran_out(invoke: Invoke, url: str, past: Past) -> None:
    """A lease in the past waits for a daemon to settle it."""
    number = past.enqueued("anna@example.net")
    past.claimed(worker="w7")
    assert "the lease of worker w7 ended 2023-11-14T22:15:20Z" in _told(invoke, url, number)


def test_a_recipient_held_by_doubt(invoke: Invoke, url: str, past: Past) -> None:
    """In doubt and held: that it may have been sent, and which verbs decide."""
    number = past.enqueued("anna@example.net", on_doubt="hold")
    past.tried({"anna@example.net": SILENT})
    told = _told(invoke, url, number)
    assert "1 attempt charged, in doubt once" in told
    assert "held by doubt since 2023-11-14T22:13:20Z" in told
    assert "it may have been sent" in told
    assert "in doubt, scope message, by rule silence-after-dot" in told


def test_doubt_is_counted(invoke: Invoke, url: str, past: Past, clock: FakeClock) -> None:
    """A mail that may have been sent twice says so."""
    number = past.enqueued("anna@example.net")
    for _ in range(2):
        past.tried({"anna@example.net": SILENT})
        clock.advance(86_400)
    assert "2 attempts charged, in doubt 2 times" in _told(invoke, url, number)


def test_what_operators_did(invoke: Invoke, url: str, past: Past, clock: FakeClock) -> None:
    """Every action stands in the story, in its place, with who and why."""
    number = past.enqueued("anna@example.net")
    past.tried({"anna@example.net": GREYLISTED})
    clock.advance(10)
    with Operator(url, actor="olga", clock=clock) as operator:
        operator.hold(number, reason="asked by the customer")
    told = _told(invoke, url, number)
    assert told.index("attempt 1:") < told.index("hold by olga:")
    assert "deferred to held\n    asked by the customer" in told
    assert "held by olga since 2023-11-14T22:13:30Z" in told
    assert ": asked by the customer; `release` lets it go on" in told


def test_a_reaped_lease_is_told(invoke: Invoke, url: str, past: Past, clock: FakeClock) -> None:
    """An attempt that nobody finished is part of the story, as doubt."""
    number = past.enqueued("anna@example.net")
    past.claimed(worker="w7")
    clock.advance(3600)
    with past.engine.begin() as connection:
        reap(connection, lambda _: Backoff(), now=clock.now(), jitter=lambda: 0.0)
    told = _told(invoke, url, number)
    assert "by rule lease-expired: the worker that held this mail died or stalled" in told
    assert "in doubt once" in told


def test_a_rule_of_a_later_version(invoke: Invoke, url: str, past: Past) -> None:
    """A rule that this version does not know is shown by its name."""
    number = past.enqueued("anna@example.net")
    with past.engine.begin() as connection:
        (recipient,) = rows.recipient_ids(connection, number)
        rows.add_attempt(connection, recipient, rule="quantum", verdict="entangled")
    assert "entangled, scope recipient, by rule quantum: this" in _told(invoke, url, number)
    assert json.loads(invoke("show", number, "--json", "--database", url).stdout)


def test_json_tells_the_same(invoke: Invoke, url: str, past: Past) -> None:
    """--json has the envelope, the attempts with their rules, and instants as text."""
    number = past.enqueued("carl@example.net", tags={"order": "42"})
    past.tried({"carl@example.net": GREYLISTED})
    result = invoke("show", number, "--json", "--database", url)
    told = json.loads(result.stdout)
    assert told["tags"] == {"order": "42"}
    assert told["enqueued_at"] == "2023-11-14T22:13:20.000000Z"
    (recipient,) = told["recipients"]
    (attempt,) = recipient["attempt_log"]
    assert attempt["code"] == 451
    assert attempt["ended_at"] == "2023-11-14T22:13:20.000000Z"
    assert attempt["explanation"] == "a 4xx to RCPT defers this recipient alone"


def test_a_message_is_found_by_its_message_id(invoke: Invoke, url: str, past: Past) -> None:
    """A Message-ID does, with or without its angle brackets."""
    past.enqueued("anna@example.net")
    for named in ("<order-42@example.org>", "order-42@example.org"):
        assert _told(invoke, url, named).startswith("message 1 ")


def test_a_message_id_of_several_messages(invoke: Invoke, url: str, past: Past) -> None:
    """Where several have the Message-ID, their numbers are told and none is shown."""
    past.enqueued("anna@example.net")
    past.enqueued("carl@example.net")
    result = invoke("show", "order-42@example.org", "--database", url)
    assert (result.exit_code, result.stdout) == (65, "")
    assert "name one by its number: 1, 2" in result.stderr


@pytest.mark.parametrize(
    "named",
    ["77", "0", "9" * 40, "9" * 19, str(2**63 - 1), "9" * 5000, "x@example.org", "-1x", "٣"],
)
def test_an_unknown_message(invoke: Invoke, engine: Engine, url: str, named: str) -> None:
    """There is no such message: one line, and EX_NOINPUT."""
    result = invoke("show", "--database", url, "--", named)
    assert (result.exit_code, result.stdout) == (66, "")
    assert result.stderr.startswith("mailqueue: there is no message")
    assert len(result.stderr.splitlines()) == 1


def test_the_content_goes_to_a_pipe_unchanged(invoke: Invoke, url: str, past: Past) -> None:
    """--body prints the bytes exactly as they go on the wire."""
    number = past.enqueued("anna@example.net")
    result = invoke("show", number, "--body", "--database", url)
    assert result.exit_code == 0
    assert b"\r\nSubject: hello\r\n" in result.stdout_bytes
    assert b"Bcc" not in result.stdout_bytes


def test_what_a_message_asks_of_a_relay(invoke: Invoke, engine: Engine, url: str) -> None:
    """The extensions that it cannot be sent without are named."""
    with engine.begin() as connection:
        number = rows.add_message(connection, eight_bit=True, utf8_header=True)
    assert "54 octets, needs 8BITMIME and SMTPUTF8\n" in _told(invoke, url, number)


def test_a_pruned_content(invoke: Invoke, engine: Engine, url: str) -> None:
    """The story outlives the content, and says that it is gone."""
    with engine.begin() as connection:
        number = rows.add_message(connection, raw=None)
    assert "pruned" in _told(invoke, url, number)
    result = invoke("show", number, "--body", "--database", url)
    assert result.exit_code == 66
    assert "has been pruned" in result.stderr


def test_hostile_rows_are_harmless(invoke: Invoke, engine: Engine, url: str) -> None:
    """Whatever stands in any column, only printable lines come out."""
    hostile = "\x1b[2J\x9b2J\u202e\r\nx"
    with engine.begin() as connection:
        number = rows.add_message(
            connection,
            hostile,
            sender=hostile,
            header_message_id=hostile,
            relay=hostile,
            idempotency_key=hostile,
            tags=json.dumps({hostile: hostile}),
            recipient={"last_at": rows.NOW, "last_text": hostile, "due_at": 2**62},
        )
        (recipient,) = rows.recipient_ids(connection, number)
        named = ("relay", "worker", "session", "peer", "tls", "command", "text", "rcpt_reply")
        columns = dict.fromkeys((*named, "scope", "stage", "rule", "verdict"), hostile)
        rows.add_attempt(connection, recipient, enhanced=hostile, **columns)
        words = ("verb", "actor", "reason", "from_state", "to_state")
        rows.add_action(connection, recipient, **dict.fromkeys(words, hostile))
        rows.add_relay(connection, hostile, breaker="open", text=hostile, stage=hostile)
    told = _told(invoke, url, number)
    assert [line for line in told.split("\n") if not line.isprintable()] == []
    assert invoke("show", number, "--json", "--database", url).stdout.isascii()


def _told(invoke: Invoke, url: str, named: object) -> str:
    result = invoke("show", named, "--database", url)
    assert result.exit_code == 0, result.output
    return result.stdout
