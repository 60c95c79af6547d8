from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.smtp.offer import Offer
from tests.smtp.parts import CONTENT, ENVELOPE


def test_the_lines_of_ehlo_are_read() -> None:
    """Keywords in any case, parameters apart, AUTH in its old spelling too."""
    offer = Offer.read(
        ["relay.example greets you", "size 1000", "8bitmime", "AUTH PLAIN login", "AUTH=XOAUTH2"]
    )
    assert offer.extensions == {"SIZE", "8BITMIME", "AUTH"}
    assert offer.mechanisms == {"PLAIN", "LOGIN", "XOAUTH2"}
    assert offer.size_limit == 1000


def test_the_name_of_the_relay_is_no_extension() -> None:
    """The first line greets, even if it looks like a keyword."""
    assert Offer.read(["STARTTLS"]) == Offer()


@pytest.mark.parametrize(
    ("parameter", "limit"),
    [("1000", 1000), ("0", None), ("", None), ("-5", None), ("9" * 5000, None), ("١٢", None)],
)
def test_the_size_limit(parameter: str, limit: int | None) -> None:
    """A number is a limit, 0 is none, and what is no number declares nothing."""
    assert Offer.read(["relay", f"SIZE {parameter}"]).size_limit == limit


@given(st.lists(st.text(max_size=30), max_size=10))
def test_anything_can_be_read(lines: list[str]) -> None:
    """Whatever a relay says after EHLO is an offer, of keywords that can be stored and shown."""
    offer = Offer.read(lines)
    assert all(keyword.isascii() and keyword.isprintable() for keyword in offer.extensions)


def test_no_offer_at_all() -> None:
    """After HELO plain mail goes, without any parameter."""
    offer = Offer()
    assert offer.lacks(ENVELOPE, CONTENT) is None
    assert offer.mail_parameters(ENVELOPE, CONTENT) == ()
