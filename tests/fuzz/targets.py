"""What is fed with arbitrary octets, and what must hold whatever they are.

Each target takes octets, as a fuzzer hands them over, and raises where a rule does not hold:
AssertionError, or any error that the code under test should not have raised.
"""

from __future__ import annotations

import email
import email.policy
import io
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any, Final

from mailqueue import events
from mailqueue.cli.conversation import Transcription
from mailqueue.cli.output import one_line
from mailqueue.client.intake import draft
from mailqueue.client.limits import Limits
from mailqueue.client.outgoing import Outgoing
from mailqueue.clock import FakeClock
from mailqueue.config import Loaded, load
from mailqueue.errors import ConfigError, ContentError
from mailqueue.events import log
from mailqueue.events.wording import word
from mailqueue.mail.address import InvalidAddressError, check, split
from mailqueue.mail.content import UnfitContentError, freeze, wire_form
from mailqueue.mail.decision import decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.reply import (
    MAX_TEXT_BYTES,
    Evidence,
    MalformedReplyError,
    Reply,
    mask,
    parse_reply,
    printable,
    sanitise,
)
from mailqueue.mail.schedule import Backoff, History
from mailqueue.mail.stage import Stage
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.upload import ending, stuffed

Target = Callable[[bytes], None]

_FIELD_LINE: Final = re.compile(rb"(?:[\x21-\x39\x3b-\x7e]+[ \t]*:|[ \t]+[^ \t\r\n])[^\r\n\0]*")


def reply(octets: bytes) -> None:
    """A reply is read, not there yet, or malformed; however its octets arrive, it is the same."""
    try:
        parsed = parse_reply(octets)
    except MalformedReplyError as error:
        _assert_fit(str(error))
        return
    if parsed is None:
        return
    whole = octets[: len(octets) - len(parsed.rest)]
    assert octets.endswith(parsed.rest)
    assert parse_reply(whole) == type(parsed)(parsed.reply, b"")
    assert parse_reply(whole[:-1]) is None
    assert 0 <= parsed.reply.code <= 999
    _assert_fit(parsed.reply.text)
    for stage in Stage:
        _assert_decided(Evidence(stage, parsed.reply))


def text(octets: bytes) -> None:
    """Whatever a relay wrote can be stored, shown on one line and masked, once and for all."""
    for one in (octets.decode("utf-8", "surrogateescape"), octets.decode("latin-1")):
        clean = sanitise(one)
        _assert_fit(clean)
        assert sanitise(clean) == clean
        mask(clean).encode()
    shown = printable(octets)
    assert shown.isprintable()
    shown.encode()


def address(octets: bytes) -> None:
    """An address is refused, or stands between angle brackets and says no more than a path."""
    given = octets.decode("utf-8", "surrogateescape")
    try:
        checked = check(split(given))
    except InvalidAddressError as error:
        str(error).encode("utf-8", "backslashreplace")
        return
    command = f"RCPT TO:<{checked}>".encode()
    assert len(command) <= 256 + len("RCPT TO:")
    assert not re.search(rb"[\x00-\x1f\x7f]", command)
    path = _without_quotes(str(checked))
    assert not set(path) & set(' <>()[],;:\\"') or checked.domain.startswith("[")
    assert check(split(str(checked))) == checked


def content(octets: bytes) -> None:
    """Octets are refused, or obey the wire: CRLF, no NUL, every header line a field or its rest."""
    try:
        frozen, _ = freeze(wire_form(octets), make_message_id=lambda: "<1@x>", date=_DATE)
    except UnfitContentError as error:
        str(error).encode()
        return
    raw = frozen.raw
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert b"\0" not in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    header = raw.partition(b"\r\n\r\n")[0]
    assert all(map(_FIELD_LINE.fullmatch, header.removesuffix(b"\r\n").split(b"\r\n")))
    assert not re.search(rb"(?im)^(?:resent-)?bcc[ \t]*:", header)
    again, _ = freeze(raw, make_message_id=lambda: "<2@x>", date=_DATE)
    assert again == frozen
    _assert_one_dot(raw)


def upload(octets: bytes) -> None:
    """Stuffed in blocks of any size, content ends with the only lone dot and comes out the same."""
    size = octets[0] + 1 if octets else 1
    _assert_one_dot(octets[1:].replace(b"\r", b"").replace(b"\n", b"\r\n"), size)


def message(octets: bytes) -> None:
    """A message as a parser of mail makes it is refused, or is one message on the wire."""
    for policy in (email.policy.default, email.policy.compat32):
        parsed: Message[Any, Any] = email.message_from_bytes(octets, policy=policy)
        _assert_drafted(parsed)
    _assert_drafted(octets)


def field(octets: bytes) -> None:
    """A name and a value given by an application become one field or an error, and never two."""
    name, _, value = octets.decode("utf-8", "surrogateescape").partition(":")
    for made in (EmailMessage(), Message()):
        made["Subject"] = "hello"
        try:
            made[name] = value
        except (ValueError, TypeError, IndexError, KeyError, AttributeError):
            continue  # the standard library has refused it
        drafted = _drafted(made)
        if drafted is not None:
            header = drafted.partition(b"\r\n\r\n")[0]
            begun = [line for line in header.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
            assert len(begun) <= len(("Subject", name, "Message-ID", "Date", "MIME-Version"))
            assert b"Subject: hello" in begun


def offer(octets: bytes) -> None:
    """Whatever a relay answers to EHLO is an offer; nothing in it reaches a command."""
    lines = [printable(line) for line in octets.split(b"\n")]
    read = Offer.read(lines)
    assert all(re.fullmatch(r"[A-Z0-9][A-Z0-9-]*", one) for one in read.extensions)
    assert read.size_limit is None or read.size_limit > 0


def toml(octets: bytes) -> None:
    """A file is a configuration or a `ConfigError`, whose text can be shown and is no traceback."""
    _FILE.write_bytes(octets)
    loaded, error = _loaded()
    if error is None:
        assert loaded is not None
        assert loaded.config.relays
    else:
        assert len(str(error)) < 100_000
        assert error.__context__ is None


def secret(octets: bytes) -> None:
    """Wherever a file goes wrong, what stands under ``password`` is never told."""
    canary = "canary-7f3a9"
    _FILE.write_bytes(b'[relays.main]\npassword = "%s"\n' % canary.encode() + octets)
    loaded, error = _loaded()
    assert canary not in repr(loaded)
    assert canary not in str(error)


def _loaded() -> tuple[Loaded | None, ConfigError | None]:
    try:
        return load(_FILE, environ={}), None
    except ConfigError as error:
        return None, error


def transcript(octets: bytes) -> None:
    """What a relay says is shown line by line, each with its stage, and moves no cursor."""
    shown: list[str] = []
    watching = Transcription(shown.append)
    for line in octets.decode("utf-8", "surrogateescape").split("\0"):
        watching.sent(line)
        watching.received(line)
    for line in "\n".join(shown).split("\n"):
        assert line.isprintable()
        line.encode()


def lines(octets: bytes) -> None:
    """An answer becomes one line of the log, and one JSON object that says the same."""
    raw = octets.decode("utf-8", "surrogateescape")
    answer = Reply(550, sanitise(raw))
    decision = _decided(Evidence(Stage.RCPT, answer))
    event = events.RecipientAnswered(
        1, "<1@x>", "s@example.org", one_line(raw), "main", "192.0.2.1:25", 1.0, decision
    )
    assert len(word(event).text.split("\n")) == 1
    (line,) = _logged(event).splitlines()
    assert line.isascii()
    assert json.loads(line)["reply"] == str(answer)


def _logged(event: events.Event) -> str:
    logger = log.LOGGER
    before = logger.handlers[:], logger.level, logger.propagate
    stream = io.StringIO()
    try:
        log.configure("info", "json", to=stream)
        log.write(event)
    finally:
        logger.handlers[:], level, logger.propagate = before
        logger.setLevel(level)
    return stream.getvalue()


def _assert_fit(clean: str) -> None:
    assert all(line.isprintable() for line in clean.split("\n"))
    assert len(clean.encode()) <= MAX_TEXT_BYTES


def _assert_decided(evidence: Evidence) -> None:
    decision = _decided(evidence)
    assert decision.due_at is None or decision.due_at >= _NOW


def _decided(evidence: Evidence) -> Any:
    history = History(_NOW, 0)
    return decide(
        Finding(evidence), history, Backoff(), on_doubt=OnDoubt.RETRY, now=_NOW, jitter=0.5
    )


def _without_quotes(path: str) -> str:
    return re.sub(r'^"(?:[^"\\]|\\.)*"', "quoted", path)


def _assert_one_dot(raw: bytes, size: int = 65_536) -> None:
    sent = b"".join(stuffed(raw, size)) + ending(raw)
    assert sent.endswith(b"\r\n.\r\n") or sent == b".\r\n"
    received = (b"\r\n" + sent).split(b"\r\n.\r\n")
    assert received[1:] == [b""]
    unstuffed = re.sub(rb"\r\n\.", b"\r\n", received[0]).removeprefix(b"\r\n")
    assert unstuffed == raw.removesuffix(b"\r\n")


def _assert_drafted(given: Any) -> None:
    raw = _drafted(given)
    if raw is None:
        return
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    header = raw.partition(b"\r\n\r\n")[0]
    assert all(map(_FIELD_LINE.fullmatch, header.removesuffix(b"\r\n").split(b"\r\n")))
    _assert_one_dot(raw)


def _drafted(given: Any) -> bytes | None:
    outgoing = Outgoing(given, sender="s@example.org", recipients=["r@example.net"])
    try:
        return draft(outgoing, clock=FakeClock(), limits=Limits()).content.raw
    except ContentError as error:
        str(error).encode("utf-8", "backslashreplace")
        return None


_NOW: Final = 1_700_000_000_000_000
_DATE: Final = "Mon, 1 Jan 2024 00:00:00 +0000"
_PLACE: Final = tempfile.TemporaryDirectory(prefix="mailqueue-fuzz-")
_FILE: Final = Path(_PLACE.name) / "config.toml"

TARGETS: Final[Mapping[str, Target]] = {
    target.__name__: target
    for target in (
        reply,
        text,
        address,
        content,
        upload,
        message,
        field,
        offer,
        toml,
        secret,
        transcript,
        lines,
    )
}
"""Every target by its name."""
