from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.client.envelope import envelope_of
from mailqueue.client.glance import plain_envelope
from mailqueue.client.header import addresses
from mailqueue.errors import ContentError
from mailqueue.mail.content import UnfitContentError, split
from mailqueue.mail.envelope import Envelope

FROM = "From: a@example.org"


def glance(*lines: str) -> Envelope | None:
    """Return what a look at a header of these ``lines`` tells."""
    return plain_envelope(split("".join(f"{line}\r\n" for line in lines).encode())[0])


@pytest.mark.parametrize(
    "to", ["To: b@Example.NET", "TO:b@example.net", "to : Bert B-2 <b@example.net>"]
)
def test_a_plain_header(to: str) -> None:
    """One plain address each is seen, with the domain in lower case."""
    assert glance(FROM, to) == Envelope("a@example.org", ("b@example.net",))


@pytest.mark.parametrize(
    "lines",
    [
        (FROM,),
        ("To: b@example.net",),
        (FROM, FROM, "To: b@example.net"),
        (FROM, "To: b@example.net, c@example.net"),
        (FROM, "To: b@example.net", "Cc: c@example.net"),
        (FROM, "To: b@example.net", "Bcc: c@example.net"),
        (FROM, "To: b@example.net", "Sender: c@example.net"),
        (FROM, "To: b@example.net", "Resent-To: c@example.net"),
        (FROM, "To: b@example.net", "Resent-Date: now"),
        (FROM, 'To: "b"@example.net'),
        (FROM, "To: b (who)@example.net"),
        (FROM, "To: =?utf-8?q?b?=@example.net"),
        (FROM, "To: <b@example.net"),
        (FROM, "To: b@example.net>"),
        (FROM, "To: jörg@example.net"),
        (FROM, f"To: {'b' * 65}@example.net"),
        (FROM, f"To: b@{'c.' * 130}net"),
    ],
)
def test_what_takes_a_closer_look(lines: tuple[str, ...]) -> None:
    """Anything else is left to whoever reads all of the header."""
    assert glance(*lines) is None


TEXT = st.text(st.sampled_from("ab.-_=?'\"<>@:;,()[]\\ \tÄ9/!"), max_size=24)
ADDRESSES = ["a@b", "a.b@c.example", "<a@b>", "a@[1.2.3.4]", "a@b_c-d", "=?utf-8?q?x?="]
SIGNS = [",", ", ", ",\r\n ", " ", "\t", ";", "@", ".", "<", ">", "-", "_", "?="]
PIECES = st.lists(st.sampled_from([*ADDRESSES, *SIGNS, "Anna", '"x, y"', "(c)"]), max_size=7).map(
    "".join
)


@given(st.one_of(TEXT, PIECES), st.one_of(TEXT, PIECES))
def test_the_glance_sees_what_the_parser_reads(sender: str, recipient: str) -> None:
    """What is told at a glance is what reading with the standard library's parser says."""
    try:
        fields = split(f"From: {sender}\r\nTo: {recipient}\r\n".encode())[0]
    except UnfitContentError:
        return
    if (seen := plain_envelope(fields)) is not None:
        text = [("From", Unseen(sender.strip())), ("To", Unseen(recipient.strip()))]
        assert seen == envelope_of(text, sender=None, recipients=None)


@given(st.one_of(TEXT, PIECES))
def test_a_plain_list_is_what_the_parser_reads(text: str) -> None:
    """A list of addresses is the same whether one expression or the parser has read it."""
    assert _read(text) == _read(Unseen(text))


class Unseen(str):
    """A text that no short cut is taken for."""

    __slots__ = ()


def _read(text: str) -> list[str] | None:
    try:
        return list(addresses([("To", text)], "to"))
    except ContentError:
        return None
