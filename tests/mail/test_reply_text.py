"""Text of a relay is made fit to keep, and masked so that alike refusals can be counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.reply import MAX_TEXT_BYTES, mask, sanitise


@pytest.mark.parametrize("length", [255, 256, 257, 1023, 1024])
def test_a_text_of_at_most_a_kilobyte_is_kept_whole(length: int) -> None:
    """The bound is 1024 octets, and a text that reaches it loses nothing."""
    assert sanitise("a" * length) == "a" * length


@pytest.mark.parametrize("length", [1025, 100_000])
def test_a_text_of_more_is_cut_to_a_kilobyte(length: int) -> None:
    """With the three dots that show the cut it has 1024 octets."""
    assert sanitise("a" * length) == "a" * 1021 + "..."


@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=1500))
def test_sanitised_text_can_be_stored_and_shown(text: str) -> None:
    """Whatever comes in, lone surrogates too, the text is fit, and stays so when done twice."""
    clean = sanitise(text)

    assert_fit_to_keep(clean)
    assert sanitise(clean) == clean


@given(st.lists(st.text(st.characters(max_codepoint=0x17F), max_size=20), max_size=5))
def test_sanitising_keeps_lines_and_letters(lines: list[str]) -> None:
    """Line for line and letter for letter the text stays; only what cannot be shown is replaced."""
    given_lines = "\n".join(lines).split("\n")
    kept_lines = sanitise("\n".join(lines)).split("\n")

    assert len(kept_lines) == len(given_lines)
    for given_line, kept in zip(given_lines, kept_lines, strict=True):
        assert len(kept) == len(given_line)
        assert all(
            new == old or (new in "? " and not old.isprintable())
            for old, new in zip(given_line, kept, strict=True)
        )


def assert_fit_to_keep(text: str) -> None:
    """Printable line by line, valid UTF-8, bounded."""
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.encode()) <= MAX_TEXT_BYTES


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("", ""),
        ("mailbox full", "mailbox full"),
        ("<a@example.org>: rate 17 exceeded, id 4XyZ9", "<address>: rate # exceeded, id #"),
        ("<a@example.org>, unknown", "<address>, unknown"),
        ("a@example.org unknown", "<address> unknown"),
        ("no a+b.c@mail.example.org.", "no <address>."),
        ("a@xn--e1afmkfd.example; b@c.example", "<address>; <address>"),
        ("user@localhost unknown", "user@localhost unknown"),
        ("[203.0.113.7] is listed", "[#] is listed"),
        ("client 2001:db8::17 blocked", "client #:#::# blocked"),
        ("queued as 4XyZ-9_ab_", "queued as #"),
        ("mx-3.example.com said no", "# said no"),
        ("over quota (12/10)", "over quota (#/#)"),
        ("try again in 300s.", "try again in #."),
        ("try again\nin 300s", "try again"),
        ("\nover quota by 5", "over quota by #"),
    ],
)
def test_a_masked_text_keeps_what_refusals_have_in_common(text: str, masked: str) -> None:
    """Addresses, and words with a digit in them, are what makes alike refusals differ."""
    assert mask(text) == masked


WORDS = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
IDS = st.from_regex(r"[A-Za-z0-9]{0,6}[0-9][A-Za-z0-9_-]{0,6}", fullmatch=True)


@given(WORDS, WORDS, IDS, IDS, st.integers(0), st.integers(0))
def test_refusals_that_differ_in_whom_and_how_many_are_one(
    one: str, other: str, an_id: str, another_id: str, count: int, more: int
) -> None:
    """Two refusals of one kind count as one reason, whoever and whatever number they name."""
    first = f"<{one}@{one}.example>: {count} messages in {more} hours, ref {an_id}"
    second = f"<{other}@{other}.example>: {more} messages in {count} hours, ref {another_id}"

    assert mask(first) == mask(second)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit", ["a", "1", "a.", "1-", "_", "a@", "a@.", "@.", "<", "a@b.", "a@b,", "1_a"]
)
def test_no_text_takes_long_to_mask(unit: str) -> None:
    """Masking takes time in proportion to the text: it runs while the outbox is being written."""
    half = unit * (100_000 // len(unit))

    assert mask(half + "@" + half)
