from __future__ import annotations

import copy
import email
import email.policy
from concurrent.futures import ThreadPoolExecutor
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.policy import SMTP
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue import ContentError
from mailqueue.client.rendering import on_one_line, render
from tests.client.parts import drafted, header_of, make_message

INJECTIONS = ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\r\n\r\nbody", "a\n", "a\0b"]


def read_back(message: Any) -> EmailMessage:
    """Return the message as its reader would see it."""
    return email.message_from_bytes(render(message), policy=email.policy.default)


def test_lines_end_with_crlf() -> None:
    """Every line of every part ends with CRLF, whatever the parts came with."""
    message = make_message("one\ntwo\r\nthree\rfour\n")
    message.add_attachment("text\nfile\n", filename="notes.txt")
    octets = render(message)
    assert octets.count(b"\n") == octets.count(b"\r") == octets.count(b"\r\n")


def test_seven_bits() -> None:
    """Text in any language goes out in seven bits, which every relay takes."""
    message = make_message("Grüße aus Köln\n", Subject="Grüße", To="Jörg <anna@example.net>")
    message.add_attachment(b"\x00\xff", maintype="application", subtype="x", filename="Käse.bin")
    assert render(message).isascii()
    again = read_back(message)
    assert again["subject"] == "Grüße"
    assert again["to"].addresses[0].display_name == "Jörg"
    body, attachment = again.iter_parts()
    assert body.get_content() == "Grüße aus Köln\n"
    assert attachment.get_filename() == "Käse.bin"
    assert attachment.get_content() == b"\x00\xff"


@pytest.mark.parametrize("policy", [email.policy.default, email.policy.SMTPUTF8])
def test_policy_of_the_message_does_not_matter(policy: Any) -> None:
    """Whatever policy a message was made with, it goes out by the same rules."""
    message = EmailMessage(policy=policy)
    message["From"] = "Jörg <sender@example.org>"
    message["Subject"] = "x " * 100
    message.set_content("Grüße\n")
    octets = render(message)
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 78


def test_the_message_is_not_touched() -> None:
    """The caller's message is as it was: policy, header, parts, and no boundary given to it."""
    message = make_message("Grüße\n", Bcc="hidden@example.net")
    message.add_attachment(b"\xff", maintype="a", subtype="b")
    before = copy.deepcopy(message)
    render(message)
    assert message.items() == before.items()
    assert message.get_boundary() is None
    assert message.policy is before.policy or message.policy == email.policy.default
    assert [part.items() for part in message.walk()] == [part.items() for part in before.walk()]


def test_one_message_in_several_threads() -> None:
    """Threads may send the same message object at once."""
    message = make_message("Grüße\n" * 200)
    message.add_attachment(b"\xff" * 10_000, maintype="a", subtype="b")
    message.set_boundary("fixed")
    expected = render(message)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(render, [message] * 64)) == {expected}


@pytest.mark.parametrize("name", ["In-Reply-To", "References", "List-Unsubscribe", "X-Token"])
def test_long_words_are_not_encoded(name: str) -> None:
    """A long id or link stays what it is: as encoded words no reader would recognise it."""
    value = f"<{'a' * 90}@example.org> <https://example.org/{'b' * 200}>"
    message = make_message()
    message[name] = value
    assert f"{name}: {value}" in header_of(message)


def test_folding_keeps_blanks() -> None:
    """ASCII text is folded before a blank, and unfolds to what it was."""
    value = "two  blanks, and a tab\there " * 10
    assert f"Subject: {value.strip()}" in header_of(make_message(Subject=value))


@pytest.mark.parametrize("value", ["", "=?utf-8?q?literally?=", "a" * 950])
def test_odd_header_values(value: str) -> None:
    """A value that is empty, looks encoded, or is one long word arrives as it was given."""
    message = make_message()
    message["X-Odd"] = value
    assert read_back(message)["x-odd"] == message["x-odd"]


def test_international_domains_become_a_labels() -> None:
    """A domain goes out as A-labels, so that no relay needs SMTPUTF8 for it; names stay."""
    message = make_message(
        To="Jörg <anna@bücher.example>, Team: bert@bücher.example, c@example.net;"
    )
    octets = render(message)
    assert octets.isascii()
    assert read_back(message)["to"].addresses == (
        Address("Jörg", "anna", "xn--bcher-kva.example"),
        Address("", "bert", "xn--bcher-kva.example"),
        Address("", "c", "example.net"),
    )


def test_international_local_part() -> None:
    """A local part that has no ASCII form is written in UTF-8, and only its field is (RFC 6532)."""
    message = make_message(Subject="Grüße", To="Jörg <jörg@bücher.example>")
    lines = header_of(message)
    assert "To: Jörg <jörg@xn--bcher-kva.example>" in lines
    assert (
        "Subject: =?utf-8?b?R3LDvMOfZQ==?=" in lines
        or "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=" in lines
    )
    assert drafted(message).content.utf8_header


def test_older_message_classes() -> None:
    """A message of `email.mime` goes out with names encoded and addresses legible."""
    message = MIMEMultipart()
    message["From"] = "Jörg Müller <sender@example.org>"
    message["To"] = Header("Ännchen <anna@example.net>", "utf-8")  # type: ignore[assignment]
    message["Subject"] = Header("Grüße", "iso-8859-1")  # type: ignore[assignment]
    message.attach(MIMEText("Grüße\n", _charset="utf-8"))
    assert render(message).isascii()
    again = read_back(message)
    assert again["from"].addresses == (Address("Jörg Müller", "sender", "example.org"),)
    assert again["to"].addresses == (Address("Ännchen", "anna", "example.net"),)
    assert again["subject"] == "Grüße"


def test_bytes_of_no_declared_charset() -> None:
    """Eight-bit text that is not what its charset says goes out as it came."""
    raw = b"From: a@b.example\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xe4\r\n"
    for policy in (email.policy.compat32, email.policy.default):
        octets = render(email.message_from_bytes(raw, policy=policy))
        assert octets.endswith(b"\r\n\r\n\xe4\r\n")
    undeclared = raw.replace(b"Content-Type: text/plain; charset=utf-8\r\n", b"")
    assert render(email.message_from_bytes(undeclared)).endswith(b"\r\n\r\n\xe4\r\n")


def test_a_parsed_message_goes_out_as_it_came() -> None:
    """A message that was read and not changed keeps its ASCII header fields, folding included."""
    raw = (
        b"Received: from a\r\n\tby b;  Mon, 1 Jan 2024 00:00:00 +0000\r\n"
        b"From: a@example.org\r\nTo: b@example.net,\r\n  c@example.net\r\n\r\nbody\r\n"
    )
    for policy in (email.policy.compat32, email.policy.default):
        assert render(email.message_from_bytes(raw, policy=policy)) == raw


@pytest.mark.parametrize("value", INJECTIONS)
@pytest.mark.parametrize("name", ["Subject", "To", "X-Any"])
def test_no_injection_by_older_classes(name: str, value: str) -> None:
    """CR, LF or NUL in a header value of the older classes, which let it in, does not get out."""
    message = MIMEText("text")
    message["From"] = "sender@example.org"
    message[name] = value
    with pytest.raises(ContentError, match=f"the header field '{name}' contains"):
        render(message)


@pytest.mark.parametrize("name", ["X Evil", "X:Evil", "X\nEvil", "", "Bcc\r\nX"])
def test_no_injection_by_names(name: str) -> None:
    """A header name is one word, or the message is refused."""
    message = Message()
    message[name] = "value"
    with pytest.raises(ContentError, match="cannot be the name of a header field"):
        render(message)


@pytest.mark.parametrize("filler", ["", " a" * 60])
def test_no_injection_by_encoded_words(filler: str) -> None:
    """A line break inside an encoded word stays encoded, or the message is refused."""
    raw = f"From: a@example.org\r\nSubject: =?utf-8?q?a=0D=0AX-Evil:_1?={filler}\r\n\r\n"
    for policy in (email.policy.compat32, email.policy.default):
        message = email.message_from_string(raw, policy=policy)
        try:
            octets = render(message)
        except ContentError:
            continue
        assert b"\nX-Evil" not in octets


def test_no_injection_into_parts() -> None:
    """The header of an attachment is guarded like that of the message."""
    message = MIMEMultipart()
    part = MIMEText("text")
    part["X-Part"] = "a\r\n\r\nnew body"
    message.attach(part)
    with pytest.raises(ContentError, match="'X-Part' contains a line break"):
        render(message)


_TEXT = st.text(st.sampled_from('aä=?:;,<>@"\\ \t\r\n\0.()\ud800\udc80é'), max_size=40) | st.text(
    max_size=40
)


@given(name=st.sampled_from(["Subject", "To", "Reply-To", "X-Any", "Content-Type"]), value=_TEXT)
def test_a_value_never_becomes_another_field(name: str, value: str) -> None:
    """Whatever a value holds, the fields that go out are those that the message has."""
    for message in (Message(), EmailMessage()):
        message["From"] = "sender@example.org"
        try:
            message[name] = value
        except Exception:  # noqa: BLE001 - what EmailMessage itself refuses is none of ours
            continue
        try:
            octets = render(message)
        except ContentError:
            continue
        header = octets.partition(b"\r\n\r\n")[0]
        names = [
            line.partition(b":")[0] for line in header.split(b"\r\n") if line[:1] not in b" \t"
        ]
        assert [each.decode() for each in names] == ["From", name]


def broken_messages() -> list[Any]:
    """Return messages that cannot be written, each for another reason."""
    endless = EmailMessage()
    endless.make_mixed()
    endless.attach(endless)
    unencodable = Message()
    unencodable.set_payload("ä")
    odd_payload = Message()
    odd_payload.set_payload(object())  # type: ignore[call-overload]
    odd_part = MIMEMultipart()
    odd_part.set_payload(["text"])
    unknown_charset = Message()
    unknown_charset["Content-Type"] = "text/plain; charset=no-such"
    unknown_charset.set_payload("\udcff")
    unknown_charset["X"] = "\ud800"
    return [endless, unencodable, odd_payload, odd_part, unknown_charset]


@pytest.mark.parametrize("number", range(5))
def test_broken_messages(number: int) -> None:
    """Whatever the standard library raises for a broken message becomes a ContentError."""
    with pytest.raises(ContentError, match="cannot be written as bytes") as error:
        render(broken_messages()[number])
    assert error.value.__cause__ is not None


_FIELDS = ("From", "To", "Date", "Message-ID", "Content-Type", "Content-Disposition", "X-Any")
_PIECES = st.one_of(
    st.sampled_from(
        ["a@x.example", "Ann <", ">", ", ", '"', "text/plain", "; charset=utf-8", "=?", "\t", "("]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12),
)


@given(st.sampled_from(_FIELDS), st.lists(_PIECES, max_size=8).map("".join))
def test_what_needs_no_folding_is_what_the_library_writes(name: str, value: str) -> None:
    """The short way to a field on one line gives the octets of the long one, or none at all."""
    try:
        header = SMTP.header_factory(name, value)
        folded = SMTP.fold_binary(name, header)
    except Exception:  # noqa: BLE001 - whatever the parser stumbles over comes the same way twice
        return
    assert on_one_line(header) in (None, folded)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("From", "Ann <ann@x.example>"),
        ("Content-Type", 'text/plain; charset="utf-8"'),
        ("Date", "Mon, 06 Jan 2025 08:00:00 +0000"),
    ],
)
def test_usual_fields_go_the_short_way(name: str, value: str) -> None:
    """What nearly every message holds is not folded by the library."""
    assert on_one_line(SMTP.header_factory(name, value)) == f"{name}: {value}\r\n".encode()
