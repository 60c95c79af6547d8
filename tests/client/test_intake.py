from __future__ import annotations

import copy
import re
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue import ContentError, Outgoing
from mailqueue.mail.envelope import Envelope
from tests.client.parts import RAW, drafted, header_of, make_message


@pytest.mark.parametrize("form", ["message", "bytes"])
def test_frozen_for_the_wire(form: str) -> None:
    """What is stored is what goes out: CRLF, no Bcc, a Message-ID and a Date."""
    message = make_message("one\ntwo\n", Cc="carl@example.net", Bcc="hidden@example.net")
    draft = drafted(message if form == "message" else message.as_bytes())
    assert draft.envelope.recipients == (
        "anna@example.net",
        "carl@example.net",
        "hidden@example.net",
    )
    assert b"hidden" not in draft.content.raw
    assert b"\r\n\r\none\r\ntwo\r\n" in draft.content.raw
    assert draft.content.raw.count(b"\n") == draft.content.raw.count(b"\r\n")
    lines = header_of(message if form == "message" else message.as_bytes())
    assert "Message-ID: <00000000000000000000000000000001@example.org>" in lines
    assert "Date: Tue, 14 Nov 2023 22:13:20 +0000" in lines


@pytest.mark.parametrize("wrapped", [bytes, bytearray, memoryview])
def test_kinds_of_bytes(wrapped: Any) -> None:
    """Bytes are taken in any of their forms."""
    assert drafted(wrapped(RAW)) == drafted(RAW)


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("From: a@x\n\n", "builtins.str; text needs an encoding"),
        (None, "NoneType"),
        ({"From": "a@x"}, "builtins.dict"),
        (Outgoing(RAW), "mailqueue.client.outgoing.Outgoing"),
    ],
)
def test_what_is_no_message(message: Any, kind: str) -> None:
    """Anything else is an error that says what is taken and what was given, module included."""
    with pytest.raises(ContentError, match=f"EmailMessage or bytes, not .*{kind}"):
        drafted(message)


def test_own_identity_is_kept() -> None:
    """A Message-ID and a Date that are there are not replaced."""
    message = make_message(Message_ID="<mine@example.org>", Date="Mon, 01 Jan 2024 00:00:00 +0000")
    draft = drafted(message)
    assert draft.content.message_id == "<mine@example.org>"
    assert draft.content.raw.count(b"Message-ID:") == draft.content.raw.count(b"Date:") == 1
    assert b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\n" in draft.content.raw


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("a@bücher.example", "xn--bcher-kva.example"),
        ("a@[192.0.2.1]", r"\[192\.0\.2\.1\]"),
        ("", r"[A-Za-z0-9._-]+"),
    ],
)
def test_domain_of_the_message_id(sender: str, domain: str) -> None:
    """A new Message-ID is in the sender's domain; that of the null sender in the host's name."""
    message_id = drafted(RAW, sender=sender).content.message_id
    assert re.fullmatch(rf"<[0-9a-f]{{32}}@{domain}>", message_id)


def test_need_for_smtputf8() -> None:
    """A local part without an ASCII form shows in the envelope; UTF-8 in the header is noted."""
    abroad = drafted(make_message(To="jörg@example.net"))
    assert abroad.content.utf8_header
    assert not abroad.envelope.recipients[0].isascii()
    plain = drafted(make_message(Subject="Grüße", To="Jörg <anna@bücher.example>"))
    assert not plain.content.utf8_header
    assert plain.envelope.recipients[0].isascii()
    assert drafted("Subject: Grüße\n\n".encode(), sender="", recipients="a@x").content.utf8_header


def digest_of(message: Any, **wishes: Any) -> bytes:
    """Return what tells ``message`` from others under the same key."""
    digest = drafted(message, idempotency_key="k", **wishes).digest
    assert digest
    return digest


def test_same_message_same_digest() -> None:
    """The same message made or enqueued again has the same digest, attachments included."""

    def message() -> EmailMessage:
        made = make_message("hello\n")
        made.add_alternative("<p>hello</p>", subtype="html")
        made.add_attachment(b"\x00\x01", maintype="a", subtype="b", filename="c")
        return made

    first = message()
    assert digest_of(first) == digest_of(first) == digest_of(message())


@pytest.mark.parametrize(
    "wishes",
    [
        {"recipients": ["b@y.example"]},
        {"recipients": ["anna@example.net", "b@y.example"]},
        {"sender": "other@example.org"},
        {"sender": ""},
    ],
)
def test_another_envelope_another_digest(wishes: Any) -> None:
    """The same content to somebody else, or from somebody else, is another message."""
    assert digest_of(RAW, **wishes) != digest_of(RAW)


def test_order_of_recipients_does_not_matter() -> None:
    """Recipients kept in a set come in another order each time: the message is the same."""
    other = drafted(RAW, recipients=["b@x", "a@x"])
    assert digest_of(RAW, recipients=["a@x", "b@x"]) == digest_of(RAW, recipients=["b@x", "a@x"])
    assert other.envelope == Envelope("sender@example.org", ("b@x", "a@x"))


@given(
    st.dictionaries(
        st.sampled_from(["Subject", "X-One", "Reply-To", "Comments"]),
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=120),
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=2000),
)
def test_any_message_obeys_the_wire(fields: dict[str, str], text: str) -> None:
    """Whatever an EmailMessage holds: it is refused, or obeys the wire and is left as it was."""
    message = make_message()
    for name, value in fields.items():
        del message[name]
        try:
            message[name] = value
        except Exception:  # noqa: BLE001 - what EmailMessage itself refuses is none of ours
            del message[name]
    message.set_content(text)
    before = copy.deepcopy(message)
    try:
        raw = drafted(message).content.raw
    except ContentError:
        return
    finally:
        assert message.as_bytes() == before.as_bytes()
    assert b"\0" not in raw
    assert raw.count(b"\r\n") == raw.count(b"\r") == raw.count(b"\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
