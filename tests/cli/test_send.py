import base64
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from click.testing import Result

from mailqueue.testing import RelayThread, Script, ScriptedRelay
from tests.cli.conftest import Invoke

CANARY = "canary-9b1f-secret"


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
def file(tmp_path: Path, relay: RelayThread) -> Path:
    """A configuration with this relay, named main."""
    file = tmp_path / "config.toml"
    file.write_text(
        f'[relays.main]\nhost = "127.0.0.1"\nport = {relay.port}\ntls = "none"\n'
        'local_hostname = "client.example.org"\nrecipients_per_transaction = 2\n'
    )
    return file


def _send(invoke: Invoke, file: Path, *arguments: str, **options: str | bytes) -> Result:
    return invoke("send", "--config", file, *arguments, **options)


ANNA = ("--from", "shop@example.org", "--to", "anna@example.net", "--body", "hello")


def test_the_conversation_is_shown(invoke: Invoke, file: Path, relay: RelayThread) -> None:
    """Every line goes by with its stage; at the end stands the verdict with its rule."""
    result = _send(invoke, file, *ANNA, "--subject", "a test")
    assert result.exit_code == 0
    conversation, verdict = result.stdout.split("\n\n")
    lines = conversation.splitlines()
    assert lines[0] == f"relay main: 127.0.0.1 port {relay.port}, tls none"
    for line in (
        "greeting    <- 220 relay.example ESMTP ready",
        "ehlo        -> EHLO client.example.org",
        f"session with 127.0.0.1:{relay.port}, without TLS",
        "rcpt        -> RCPT TO:<anna@example.net>",
        "rcpt        <- 250 2.1.5 recipient ok",
        "data        <- 354 end with <CRLF>.<CRLF>",
        "end-of-data -> .",
        "end-of-data <- 250 2.0.0 accepted as 1",
        "quit        -> QUIT",
    ):
        assert line in lines
    assert verdict == (
        "anna@example.net: sent (rule accepted, at end-of-data)\n"
        "    250 2.0.0 accepted as 1\n"
        "    a 2xx after the final dot: the relay took responsibility\n"
    )
    (accepted,) = relay.ledger.accepted
    assert accepted.sender == "shop@example.org"
    assert accepted.content is not None
    assert b"Subject: a test\r\n" in accepted.content
    assert accepted.content.endswith(b"\r\n\r\nhello\r\n")


def test_the_text_comes_from_standard_input(invoke: Invoke, file: Path, relay: RelayThread) -> None:
    """Without --body the text is what is piped in."""
    assert _send(invoke, file, *ANNA[:4], stdin="from a pipe\n").exit_code == 0
    content = relay.ledger.accepted[0].content
    assert content is not None
    assert content.endswith(b"\r\n\r\nfrom a pipe\r\n")


def test_a_message_from_a_file(
    invoke: Invoke, file: Path, relay: RelayThread, tmp_path: Path
) -> None:
    """--file is a whole message; its header gives the envelope, and Bcc stays out of it."""
    mail = tmp_path / "mail.eml"
    raw = b"From: a@example.org\nTo: b@example.net\nBcc: c@example.net\nSubject: x\n\nbody\n"
    mail.write_bytes(raw)
    assert _send(invoke, file, "--file", str(mail)).exit_code == 0
    assert _send(invoke, file, "--file", "-", stdin=raw).exit_code == 0
    for accepted in relay.ledger.accepted:
        assert accepted.recipients == ("b@example.net", "c@example.net")
        assert accepted.content is not None
        assert b"Bcc" not in accepted.content
    assert len(relay.ledger) == 2


def test_the_null_sender(invoke: Invoke, file: Path, relay: RelayThread) -> None:
    """--from "" goes out as MAIL FROM:<>, for a message that has its own From."""
    raw = b"From: a@example.org\n\nbody\n"
    arguments = ("--from", "", "--to", "b@example.net", "--file", "-")
    assert _send(invoke, file, *arguments, stdin=raw).exit_code == 0
    assert relay.ledger.accepted[0].sender == ""
    assert _send(invoke, file, "--from", "", "--to", "b@example.net").exit_code == 64


def test_several_transactions(
    invoke: Invoke, file: Path, relay: RelayThread, script: Script
) -> None:
    """More recipients than one transaction takes, or than the relay takes, go in the next."""
    script.on("RCPT", address="r2@*", occurrence=1).reply("452 4.5.3 too many recipients")
    recipients = [f"r{number}@example.net" for number in range(1, 6)]
    to = [word for recipient in recipients for word in ("--to", recipient)]
    result = _send(invoke, file, "--from", "a@example.org", "--body", "x", *to)
    assert result.exit_code == 0
    taken = [set(accepted.recipients) for accepted in relay.ledger.accepted]
    assert taken == [{"r1@example.net"}, {"r2@example.net", "r3@example.net"},
                     {"r4@example.net", "r5@example.net"}]  # fmt: skip
    verdicts = [line for line in result.stdout.splitlines() if "(rule " in line]
    assert [line.split(":")[0] for line in verdicts] == recipients


@pytest.mark.parametrize(
    ("verb", "reply", "status", "word", "rule"),
    [
        ("RCPT", "550 5.1.1 no such user", 67, "failed", "recipient-5xx"),
        ("RCPT", "451 4.7.1 greylisted", 75, "deferred", "recipient-4xx"),
        ("MAIL", "550 5.7.1 not from you", 69, "failed", "message-5xx"),
        (".", "554 5.7.1 spam", 69, "failed", "message-5xx"),
        (".", "452 4.3.1 disk full", 75, "deferred", "message-4xx"),
        ("MAIL", "530 5.7.0 authenticate first", 75, "deferred", "authentication-required"),
        ("CONNECT", "554 5.7.1 go away", 75, "deferred", "relay-refusal"),
        ("EHLO", "421 4.3.2 closing", 75, "deferred", "relay-refusal"),
    ],
)
def test_the_status_tells_what_became_of_it(
    invoke: Invoke,
    file: Path,
    script: Script,
    verb: str,
    reply: str,
    status: int,
    word: str,
    rule: str,
) -> None:
    """67 for a refused recipient, 69 for a refused mail, 75 for what the queue would try again."""
    script.on(verb).reply(reply)
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == status
    assert f"anna@example.net: {word} (rule {rule}, at " in result.stdout
    assert f"    {reply}\n" in result.stdout


def test_doubt(invoke: Invoke, file: Path, script: Script) -> None:
    """No reply after the final dot is in doubt, and no success."""
    script.on(".").accept().close()
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 75
    assert "anna@example.net: in doubt (rule silence-after-dot, at end-of-data)" in result.stdout


def test_one_refused_recipient_decides_the_status(
    invoke: Invoke, file: Path, script: Script, relay: RelayThread
) -> None:
    """The others are sent to all the same, and each has its own verdict."""
    script.on("RCPT", address="bad@*").reply("550 5.1.1 no such user")
    result = _send(invoke, file, *ANNA, "--to", "bad@example.net")
    assert result.exit_code == 67
    assert "anna@example.net: sent" in result.stdout
    assert "bad@example.net: failed" in result.stdout
    assert relay.ledger.deliveries("anna@example.net") == 1


def test_nobody_listens(invoke: Invoke, file: Path, relay: RelayThread) -> None:
    """A relay that is down is what the queue would wait for."""
    relay.run(relay.relay.stop())
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 75
    assert "(rule relay-silence, at connect)" in result.stdout
    assert result.stdout.endswith("; look at host and port under [relays.main]\n")


def test_a_hostile_relay_has_no_power_over_the_terminal(
    invoke: Invoke, file: Path, script: Script
) -> None:
    """Escape sequences, carriage returns and broken UTF-8 of a reply are shown and do nothing."""
    script.on("RCPT").raw(b"550 5.1.1 \x1b]0;owned\x07\x1b[2J\xc2\x9b2J \xff\xfe [red]x\r\n")
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 67
    shown = result.stdout_bytes.decode("utf-8")
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "[red]x" in shown


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--to", "anna@example.net", "--body", "x"], 64),
        (["--from", "a@example.org", "--body", "x"], 64),
        ([*ANNA, "--file", "x.eml"], 64),
        ([*ANNA, "--relay", "nope"], 64),
        (["--from", "a@example.org", "--to", "not an address", "--body", "x"], 65),
        ([*ANNA, "--subject", "x\r\nBcc: victim@example.net"], 65),
        (["--file", "/nonexistent/mail.eml"], 66),
    ],
)
def test_what_cannot_be_sent(
    invoke: Invoke, file: Path, relay: RelayThread, arguments: list[str], status: int
) -> None:
    """What is missing or malformed is told before anybody is called."""
    result = _send(invoke, file, *arguments)
    assert result.exit_code == status
    assert "Traceback" not in result.output
    assert relay.ledger.seen["CONNECT"] == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (
            ["--to", "a@b.example\r\nRCPT TO:<x@y>"],
            ["--to 'a@b.example\\r\\nRCPT TO:<x@y>' cannot"],
        ),
        (["--to", "Anna <a@b.example>"], ["--to 'Anna <a@b.example>' cannot", "bare address"]),
        (["--from", "a\n@b.example"], ["--from 'a\\n@b.example' cannot be used"]),
        (["--subject", "x\r\nBcc: v@y"], ["--subject 'x\\r\\nBcc: v@y' cannot stand in a header"]),
    ],
)
def test_the_option_that_is_wrong_is_named(
    invoke: Invoke, file: Path, arguments: list[str], named: list[str]
) -> None:
    """The error says which option holds what cannot be sent, and what it holds."""
    result = _send(invoke, file, *ANNA, *arguments)
    assert result.exit_code == 65
    for text in named:
        assert text in result.stderr


@pytest.mark.slow
def test_ctrl_c_after_the_final_dot(file: Path, script: Script, relay: RelayThread) -> None:
    """Whoever interrupts while the reply is awaited is told that the mail may have gone."""
    script.on(".").accept().silence()
    process = subprocess.Popen(
        [sys.executable, "-m", "mailqueue", "send", "--config", str(file), *ANNA],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    relay.run(relay.relay.saw(".", timeout=30))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stdout.endswith("the final dot was written: the relay may have accepted the mail\n")
    assert stderr == ""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority of our own."""
    return trustme.CA()


@pytest.fixture
def secured(script: Script, authority: trustme.CA) -> Iterator[RelayThread]:
    """A relay that wants TLS and a password."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    relay = ScriptedRelay(
        script, tls=context, require_tls=True, users={"shop": CANARY}, require_auth=True
    )
    with RelayThread(relay) as thread:
        yield thread


def _secured_file(
    tmp_path: Path, relay: RelayThread, authority: trustme.CA, *, mechanism: str, password: str
) -> Path:
    certificates, secret = tmp_path / "ca.pem", tmp_path / "password"
    authority.cert_pem.write_to_path(str(certificates))
    secret.write_text(password)
    secret.chmod(0o600)
    file = tmp_path / "config.toml"
    file.write_text(
        f'[relays.main]\nhost = "127.0.0.1"\nport = {relay.port}\nusername = "shop"\n'
        f'auth = "{mechanism}"\npassword_file = "{secret}"\nca_file = "{certificates}"\n'
    )
    return file


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_tls_and_a_password(
    invoke: Invoke, secured: RelayThread, authority: trustme.CA, tmp_path: Path, mechanism: str
) -> None:
    """STARTTLS and AUTH go by in the conversation; the password does not, in any form."""
    file = _secured_file(tmp_path, secured, authority, mechanism=mechanism, password=CANARY)
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 0
    assert "starttls    -> STARTTLS" in result.stdout
    assert f"auth        -> AUTH {mechanism.upper()}" in result.stdout
    assert "TLSv1.3" in result.stdout
    assert secured.ledger.accepted[0].authenticated_as == "shop"
    _assert_no_secret(result, CANARY)


def test_a_wrong_password(
    invoke: Invoke, secured: RelayThread, authority: trustme.CA, tmp_path: Path, script: Script
) -> None:
    """A refusal at AUTH is trouble of the relay, and shows no password even where it is echoed."""
    wrong = f"{CANARY}-wrong"
    script.on("AUTH").reply(f"535 5.7.8 no such password: {wrong}")
    file = _secured_file(tmp_path, secured, authority, mechanism="plain", password=wrong)
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 75
    assert "(rule relay-refusal, at auth)" in result.stdout
    assert "535 5.7.8 no such password: ***" in result.stdout
    hint = "; look at username, password_file and auth under [relays.main]\n"
    assert result.stdout.endswith(hint)
    _assert_no_secret(result, wrong)


def test_a_relay_that_wants_a_password(invoke: Invoke, file: Path, script: Script) -> None:
    """Where it asks for authentication only at MAIL, the keys are named all the same."""
    script.on("MAIL").reply("530 5.7.0 authenticate first")
    result = _send(invoke, file, *ANNA)
    hint = "; look at username, password_file, auth and tls under [relays.main]\n"
    assert result.stdout.endswith(hint)


def test_an_unknown_certificate(invoke: Invoke, secured: RelayThread, tmp_path: Path) -> None:
    """A certificate that nobody vouches for ends the session before the password."""
    file = _secured_file(tmp_path, secured, trustme.CA(), mechanism="plain", password=CANARY)
    result = _send(invoke, file, *ANNA)
    assert result.exit_code == 75
    assert "at starttls)" in result.stdout
    assert result.stdout.endswith("; look at tls, host, port and ca_file under [relays.main]\n")
    assert secured.ledger.seen["AUTH"] == 0


def _assert_no_secret(result: Result, secret: str) -> None:
    plain = base64.b64encode(f"\0shop\0{secret}".encode()).decode()
    for form in (secret, base64.b64encode(secret.encode()).decode(), plain):
        assert form not in result.output
