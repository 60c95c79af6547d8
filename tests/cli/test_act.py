import pytest
from sqlalchemy import Engine, select

from mailqueue.clock import SystemClock
from mailqueue.operate import login_name
from mailqueue.outbox.tables import actions, recipients
from tests.cli.conftest import Invoke
from tests.cli.past import REFUSED, SENT, Past


@pytest.fixture
def past(engine: Engine) -> Past:
    """An outbox with one message for three, tried once: sent, refused, and not yet due."""
    past = Past(engine, SystemClock())
    past.enqueued("anna@example.net", "nobody@example.net")
    past.tried({"anna@example.net": SENT, "nobody@example.net": REFUSED})
    past.enqueued("carl@example.net", "eve@example.net")
    return past


def _states(engine: Engine) -> dict[str, str]:
    with engine.connect() as connection:
        rows = connection.execute(select(recipients.c.address, recipients.c.state))
        return {row.address: row.state for row in rows}


def test_hold_and_release(invoke: Invoke, url: str, past: Past) -> None:
    """A held message waits for its release; each recipient has a line."""
    result = invoke("hold", 2, "--database", url, "--reason", "wait for the lawyers")
    assert result.exit_code == 0
    assert result.stdout == "carl@example.net: queued to held\neve@example.net: queued to held\n"
    assert _states(past.engine)["carl@example.net"] == "held"
    assert invoke("release", 2, "--database", url).exit_code == 0
    assert _states(past.engine)["carl@example.net"] == "queued"


def test_who_and_why_are_on_record(invoke: Invoke, url: str, past: Past) -> None:
    """Every decision is written down with the login name and the reason."""
    invoke("hold", 2, "--database", url, "--reason", "wait for the lawyers")
    with past.engine.connect() as connection:
        (row, _) = connection.execute(select(actions)).all()
    assert (row.verb, row.actor, row.reason) == ("hold", login_name(), "wait for the lawyers")


def test_one_recipient_alone(invoke: Invoke, url: str, past: Past) -> None:
    """--recipient means one of them, however its domain is written."""
    result = invoke("cancel", 2, "--recipient", "carl@EXAMPLE.net", "--database", url)
    assert result.stdout == "carl@example.net: queued to cancelled\n"
    states = _states(past.engine)
    assert (states["carl@example.net"], states["eve@example.net"]) == ("cancelled", "queued")


def test_retry_starts_a_failed_recipient_again(invoke: Invoke, url: str, past: Past) -> None:
    """Who failed is tried again; who got it is left alone, and it is said why."""
    result = invoke("retry", 1, "--database", url)
    assert result.exit_code == 0
    sent, failed = result.stdout.splitlines()
    assert sent.startswith("anna@example.net: left alone: it is sent")
    assert failed == "nobody@example.net: failed to queued"
    assert _states(past.engine)["anna@example.net"] == "sent"


def test_too_late(invoke: Invoke, url: str, past: Past) -> None:
    """Where nothing could be done for anybody, the status says so."""
    result = invoke("cancel", 1, "--database", url)
    assert result.exit_code == 69
    assert [line.split(": ", 2)[1] for line in result.stdout.splitlines()] == ["left alone"] * 2


def test_by_message_id(invoke: Invoke, url: str, past: Past) -> None:
    """A decision is not taken for several messages that share a Message-ID."""
    result = invoke("cancel", "order-42@example.org", "--database", url)
    assert result.exit_code == 65
    assert "queued" in _states(past.engine).values()


@pytest.mark.parametrize("verb", ["hold", "release", "cancel", "retry"])
def test_what_is_not_there(invoke: Invoke, url: str, past: Past, verb: str) -> None:
    """An unknown message, and a recipient that a message does not have, are told apart."""
    result = invoke(verb, 77, "--database", url)
    assert (result.exit_code, result.stdout) == (66, "")
    assert "there is no message 77" in result.stderr
    result = invoke(verb, 2, "--recipient", "x@example.net", "--database", url)
    assert result.exit_code == 66
    assert "is not for x@example.net; it is for: carl@example.net, eve@example.net" in result.stderr
    result = invoke(verb, 2, "--recipient", "x", "--database", url)
    assert result.exit_code == 65
