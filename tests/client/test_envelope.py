from __future__ import annotations

import email
import email.policy
import re
import subprocess
import sys
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailqueue import AddressError, ContentError
from mailqueue.mail.envelope import Envelope
from tests.client.parts import RAW, drafted, make_message

POLICIES = [None, email.policy.compat32, email.policy.default]


def envelope(header: str, policy: Any = None, **wishes: Any) -> Envelope:
    """Return the envelope for a message with these header lines, given as bytes or parsed."""
    raw = header.encode() + b"\n\nbody\n"
    message = raw if policy is None else email.message_from_bytes(raw, policy=policy)
    return drafted(message, **wishes).envelope


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("header", "sender", "recipients"),
    [
        ("From: a@x\nTo: b@y", "a@x", ["b@y"]),
        ("from: a@x\nTO: b@y", "a@x", ["b@y"]),
        ("From: Anna <a@x>\nTo: Bert <b@y>, c@z", "a@x", ["b@y", "c@z"]),
        ("From: a@x\nSender: s@x\nTo: b@y", "s@x", ["b@y"]),
        ("From: a@x, b@x\nTo: b@y", "a@x", ["b@y"]),
        ("From: a@x\nTo: b@y\nCc: c@y\nBcc: d@y", "a@x", ["b@y", "c@y", "d@y"]),
        ("From: a@x\nBcc: d@y", "a@x", ["d@y"]),
        ("From: a@x\nTo: b@y\nTo: c@y", "a@x", ["b@y", "c@y"]),
        ("From: a@x\nTo: b@y, b@Y\nCc: c@y, b@y", "a@x", ["b@y", "c@y"]),
        ("From: a@x\nTo: friends: b@y, c@y;, d@y", "a@x", ["b@y", "c@y", "d@y"]),
        ("From: a@x\nTo: undisclosed-recipients:;\nBcc: d@y", "a@x", ["d@y"]),
        ('From: a@x\nTo: "Last, First" <b@y>', "a@x", ["b@y"]),
        ('From: a@x\nTo: "b c"@y, d@[192.0.2.1]', "a@x", ['"b c"@y', "d@[192.0.2.1]"]),
        ("From: a@x\nTo: b@y (a comment, with a comma)", "a@x", ["b@y"]),
        ("From: a@x\nTo:\n b@y,\n c@y", "a@x", ["b@y", "c@y"]),
        ("From: J. Smith <a@x>\nTo: b@y", "a@x", ["b@y"]),
        ("From: =?utf-8?q?J=C3=B6rg?= <a@x>\nTo: b@y", "a@x", ["b@y"]),
        ('From: "=?utf-8?q?J=C3=B6rg?=" <a@x>\nTo: =?utf-8?q?B?=<b@y>', "a@x", ["b@y"]),
        ("From: a@x\nTo: =?utf-8?q?e=40vil=2C?= <b@y>", "a@x", ["b@y"]),
        (
            "From: Jörg <a@x>\nTo: jürgen@y, z@bücher.example",
            "a@x",
            ["jürgen@y", "z@xn--bcher-kva.example"],
        ),
    ],
)
def test_envelope_from_the_header(
    policy: Any, header: str, sender: str, recipients: list[str]
) -> None:
    """The sender is Sender or else the first From; recipients are To, Cc and Bcc, each once."""
    assert envelope(header, policy) == Envelope(sender, tuple(recipients))


def test_envelope_from_header_objects() -> None:
    """A message made in Python gives the same envelope as one that was read."""
    message = make_message(To="Jörg <b@y.example>, jürgen@y.example", Cc="c@bücher.example")
    message["Sender"] = "Office <s@x.example>"
    assert drafted(message).envelope == Envelope(
        "s@x.example", ("b@y.example", "jürgen@y.example", "c@xn--bcher-kva.example")
    )


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("header", "sender", "recipients"),
    [
        ("Resent-From: r@x\nResent-To: s@y\nFrom: a@x\nTo: b@y\nBcc: c@y", "r@x", ["s@y"]),
        ("Resent-Date: now\nResent-From: r@x\nResent-Sender: q@x\nResent-Cc: s@y", "q@x", ["s@y"]),
        ("Resent-From: r@x\nResent-Bcc: s@y\nFrom: a@x\nTo: b@y", "r@x", ["s@y"]),
    ],
)
def test_resent(policy: Any, header: str, sender: str, recipients: list[str]) -> None:
    """A resent message goes to whom it was resent, and not once more to its first readers."""
    assert envelope(header, policy) == Envelope(sender, tuple(recipients))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("Resent-To: s@y\nFrom: a@x\nTo: b@y", "no sender"),
        ("Resent-From: r@x\nFrom: a@x\nTo: b@y", "no recipients"),
        ("Resent-From: r@x\nResent-To: s@y\nResent-From: q@x\nResent-To: t@y", "more than once"),
    ],
)
def test_half_resent(header: str, why: str) -> None:
    """Where the Resent fields do not say who sends to whom, that is an error and not a guess."""
    with pytest.raises(ContentError, match=why):
        envelope(header)
    given = envelope(header, sender="a@x", recipients=["b@y"])
    assert given == Envelope("a@x", ("b@y",))


def test_given_envelope_wins() -> None:
    """What is given decides; the header is then neither asked nor changed."""
    header = "From: a@x\nTo: b@y"
    assert envelope(header, sender="s@x") == Envelope("s@x", ("b@y",))
    assert envelope(header, recipients=["r@y"]) == Envelope("a@x", ("r@y",))
    assert envelope("To: <broken", sender="s@x", recipients=["r@y"]) == Envelope("s@x", ("r@y",))


@pytest.mark.parametrize("sender", ["", "<>"])
def test_null_sender(sender: str) -> None:
    """The null sender is allowed where it is asked for."""
    assert envelope("From: a@x\nTo: b@y", sender=sender).sender == ""


@pytest.mark.parametrize(
    "recipients", ["r@y", ["r@y"], ("r@y",), {"r@y"}, iter(["r@y"]), {"r@y": 1}, ["r@y", "r@Y"]]
)
def test_forms_of_recipients(recipients: Any) -> None:
    """Recipients are any iterable of addresses, or one address."""
    assert envelope("From: a@x", recipients=recipients).recipients == ("r@y",)


@pytest.mark.parametrize("header", ["To: b@y", "Sender:\nTo: b@y", "From:\nTo: b@y"])
def test_no_sender_anywhere(header: str) -> None:
    """A message with no sender anywhere is an error that says how to give one."""
    with pytest.raises(ContentError, match=r"no sender: give sender=, or set From.*null sender"):
        envelope(header)


@pytest.mark.parametrize("recipients", [[], (), iter([]), None])
def test_no_recipients(recipients: Any) -> None:
    """An empty recipient list is an error, be it given or the header's."""
    with pytest.raises(ContentError, match="the message has no recipients"):
        envelope("From: a@x\nTo: undisclosed-recipients:;", recipients=recipients)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "value",
    [
        "b@y c@y",
        "b@y; c@y",
        "<b@y",
        "b@y (no end, c@y",
        '"no end <b@y>, c@y',
        "friends: b@y, c@y",
        "b@y, c",
        "Last, First <b@y>",
        "b@y@z",
        "<>",
        "=?utf-8?q?b?=@y",
        "b@=?utf-8?q?y?=",
    ],
)
def test_malformed_header(policy: Any, value: str) -> None:
    """A field that leaves open whom it names is an error: a part must not pass for the whole."""
    with pytest.raises(ContentError, match="the header field 'To' does not tell whom it names"):
        envelope(f"From: a@x\nTo: {value}", policy)


def test_malformed_header_is_not_repeated_whole() -> None:
    """A field of a thousand bad addresses makes a message that can be read."""
    with pytest.raises(ContentError) as error:
        envelope("From: a@x\nTo: " + "b@y\n " * 1000)
    assert len(str(error.value)) < 400


def test_undecodable_header() -> None:
    """Octets that are no UTF-8 in an address field are an error that names the field."""
    for message in (
        b"From: a@x\nTo: \xff@y\n\n",
        email.message_from_bytes(b"From: a@x\nTo: \xff@y\n\n"),
    ):
        with pytest.raises(ContentError, match="'To'"):
            drafted(message)


@pytest.mark.parametrize("where", ["sender", "recipients"])
@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("a@x\r\nRCPT TO:<b@y>", "U\\+000D at position 3"),
        ("a\n@x", "U\\+000A at position 1"),
        ("a\0@x", "U\\+0000 at position 1"),
        ('"a\r\n"@x', "U\\+000D"),
        ("Anna <a@x>", "give the bare address"),
        ("<a@x>", "give the bare address"),
        ("a@x> SIZE=1", "is not a domain name"),
        ("a@x, b@y", "give several addresses as a list"),
        ("a", "it has no @"),
        ("a@bü..cher", "its domain has no ASCII form"),
        (5, "an address is a str and not int"),
        (b"a@x", "an address is a str and not bytes"),
    ],
)
def test_bad_addresses(where: str, address: Any, why: str) -> None:
    """CR, LF, NUL or anything else that is no address is an AddressError that says why."""
    wish = address if where == "sender" else [address]
    with pytest.raises(AddressError, match=why) as error:
        drafted(RAW, **{where: wish})
    assert error.value.address == (address if isinstance(address, str) else repr(address))


@pytest.mark.parametrize("recipients", [5, object()])
def test_recipients_of_another_kind(recipients: Any) -> None:
    """Something that is no list is an error that says what is taken."""
    with pytest.raises(AddressError, match="takes a list of addresses, or one address"):
        drafted(RAW, recipients=recipients)


@pytest.mark.parametrize(
    ("address", "on_the_wire"),
    [
        ("anna@BÜCHER.example", "anna@xn--bcher-kva.example"),
        ("anna@bücher.test", "anna@xn--bcher-kva.test"),
        ("anna@faß.example", "anna@xn--fa-hia.example"),
        ("anna@例え。example", "anna@xn--r8jz45g.example"),
        ("jürgen@bücher.example", "jürgen@xn--bcher-kva.example"),
        ("anna@EXAMPLE.net", "anna@example.net"),
    ],
)
def test_domains_as_a_labels(address: str, on_the_wire: str) -> None:
    """International domains go out as A-labels (RFC 5891), local parts as they are."""
    draft = drafted(RAW, sender=address, recipients=[address])
    assert draft.envelope == Envelope(on_the_wire, (on_the_wire,))


def test_plain_addresses_load_no_validator() -> None:
    """A producer that mails to ASCII addresses never pays for loading email_validator."""
    code = (
        "import sys; from tests.client.parts import *; drafted(RAW);"
        "assert 'email_validator' not in sys.modules; drafted(RAW, recipients='a@ü.example');"
        "assert 'email_validator' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


_FRAGMENT = st.sampled_from(
    [
        "a@x.example",
        "b@y.example",
        "Anna ",
        "<",
        ">",
        ",",
        ";",
        ":",
        '"',
        "(",
        ")",
        "\\",
        "@",
        " ",
        ".",
        "ä",
        "=?utf-8?q?=2C?=",
        "=?utf-8?q?c=40z?=",
        "[192.0.2.1]",
    ]
)


@example("Anna .a@x.example")
@given(st.lists(_FRAGMENT, max_size=12).map("".join))
def test_addresses_come_out_of_the_header_unharmed(value: str) -> None:
    """Whatever a header field holds, it gives good addresses that stand in it, or an error."""
    message = Message()
    message["From"] = "s@x.example"
    message["To"] = value
    for form in (message, f"From: s@x.example\nTo: {value}\n\n".encode()):
        try:
            recipients = drafted(form).envelope.recipients
        except ContentError:
            continue
        for recipient in recipients:
            local, _, domain = recipient.rpartition("@")
            # Blanks may stand around the dots of a name, and are none of it (RFC 5322 section 4.4).
            written = re.sub(r"\s*\.\s*", ".", value.replace("\\", ""))
            assert re.sub(r"\s*\.\s*", ".", local.strip('"').replace("\\", "")) in written
            assert domain.isascii()
            assert not set(recipient) & set("\r\n\0")
