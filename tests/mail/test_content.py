from __future__ import annotations

import re
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mailqueue.mail import content
from mailqueue.mail.content import MAX_LINE_OCTETS, UnfitContentError, freeze, split, wire_form
from mailqueue.mail.envelope import Content

HEADER = b"From: a@example.org\r\nSubject: hello\r\n"
IDENTITY = b"Message-ID: <1@example.org>\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n"


def frozen(raw: bytes) -> Content:
    """Freeze ``raw`` with an identity that is easy to tell."""
    return freeze(
        raw, make_message_id=lambda: "<new@example.org>", date="Tue, 2 Jan 2024 00:00:00 +0000"
    )[0]


def digest(raw: bytes) -> bytes:
    """Return what identifies ``raw``."""
    return freeze(raw, make_message_id=lambda: "<new@example.org>", date="now")[1]


@pytest.mark.parametrize(
    ("raw", "wire"),
    [
        (b"A: b\n\nbody\n", b"A: b\r\n\r\nbody\r\n"),
        (b"A: b\r\n\r\nbody\r\n", b"A: b\r\n\r\nbody\r\n"),
        (b"A: b\n\nno end", b"A: b\r\n\r\nno end\r\n"),
        (b"A: b", b"A: b\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_line_ends(raw: bytes, wire: bytes) -> None:
    """Lines that all end in LF get CRLF, those that have it keep it, and the last line has one."""
    assert wire_form(raw) == wire


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"A: b\r\n\r\nbo\ndy\r\n", "LF without CR at octet 10"),
        (b"A: b\n\nbo\rdy\n", "LF without CR at octet 4"),
        (b"A: b\r\n\r\nbo\rdy\r\n", "CR without LF at octet 10"),
        (b"A: b\r\n\r\nbody\r", "CR without LF at octet 12"),
        (b"A: b\r\n\r\n\n.\r\nMAIL FROM:<>\r\n", "LF without CR at octet 8"),
        (b"A: b\n\nbody\r", "LF without CR at octet 4"),
    ],
)
def test_mixed_line_ends(raw: bytes, what: str) -> None:
    """Mixed line ends, by which a second message is smuggled in, are refused and not guessed at."""
    with pytest.raises(UnfitContentError, match=what):
        wire_form(raw)


@pytest.mark.parametrize("at_once", [1, 2, 65_536])
def test_only_whole_line_ends_are_crlf(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CR or LF by itself is found wherever it stands, also where the reading is cut."""
    monkeypatch.setattr(content, "_READ_AT_ONCE", at_once)
    for length in range(7):
        for octets in product((b"\r", b"\n", b"x", b"\x85"), repeat=length):
            raw = b"".join(octets)
            is_bare = re.search(rb"\r(?!\n)|(?<!\r)\n", raw) is not None
            assert content.has_only_crlf(raw) is not is_bare, raw


def test_complete_content_is_not_touched() -> None:
    """Content that has everything and no Bcc goes out octet by octet as it came in."""
    raw = HEADER + IDENTITY + b"X-Odd:   spaces \r\n\t folded\r\n\r\nbody\r\n\r\n  \r\n.\r\n"
    assert frozen(raw).raw == raw


def test_identity_is_added() -> None:
    """A Message-ID and a Date are added at the end of a header that has none."""
    content = frozen(HEADER + b"\r\nbody\r\n")
    assert content.raw == (
        HEADER
        + b"Message-ID: <new@example.org>\r\nDate: Tue, 2 Jan 2024 00:00:00 +0000\r\n\r\nbody\r\n"
    )
    assert content.message_id == "<new@example.org>"


@pytest.mark.parametrize(
    ("field", "message_id"),
    [
        (b"Message-ID: <1@example.org>\r\n", "<1@example.org>"),
        (b"MESSAGE-ID:<1@example.org>\r\n", "<1@example.org>"),
        (b"Message-ID:\r\n <1@example.org>\r\n", "<1@example.org>"),
        (b"Message-ID: 1 of\r\n 2\r\n", "1 of 2"),
    ],
)
def test_message_id_is_read(field: bytes, message_id: str) -> None:
    """A Message-ID is found in any case and folding, and stays."""
    content = frozen(HEADER + field + b"\r\nbody\r\n")
    assert content.message_id == message_id
    assert field in content.raw
    assert content.raw.lower().count(b"message-id") == 1


def test_empty_identity_is_replaced() -> None:
    """A Message-ID or Date that says nothing is as good as missing: it gives way to ours."""
    content = frozen(HEADER + b"Message-ID: \r\nDate:\r\n\r\nbody\r\n")
    assert content.raw.lower().count(b"message-id:") == 1
    assert content.raw.lower().count(b"date:") == 1
    assert content.message_id == "<new@example.org>"


_SPELLINGS = ["Bcc", "BCC", "bcc", "bCc", "Resent-Bcc", "RESENT-bcc"]
_COLONS = [b":", b" :", b"\t:", b": "]
_VALUES = [b"secret@example.net", b"\r\n secret@example.net", b"a,\r\n\tsecret@example.net", b""]


@pytest.mark.parametrize(("name", "colon", "value"), [*product(_SPELLINGS, _COLONS, _VALUES)])
def test_bcc_is_taken_out(name: str, colon: bytes, value: bytes) -> None:
    """Bcc and Resent-Bcc never go out, in any case, spacing or folding; nothing else is lost."""
    raw = (
        b"From: a@example.org\r\n"
        + name.encode()
        + colon
        + value
        + b"\r\nSubject: x\r\n\r\nbody\r\n"
    )
    content = frozen(raw)
    assert b"bcc" not in content.raw.lower()
    assert b"secret" not in content.raw
    assert content.raw.startswith(b"From: a@example.org\r\nSubject: x\r\n")
    assert content.raw.endswith(b"\r\n\r\nbody\r\n")


def test_bcc_in_the_body_stays() -> None:
    """What looks like Bcc in the text of a message is text."""
    assert frozen(HEADER + IDENTITY + b"\r\nBcc: x@example.net\r\n").raw.endswith(
        b"\r\n\r\nBcc: x@example.net\r\n"
    )


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"Subject: a\0b\r\n\r\n", "a NUL at octet 10"),
        (HEADER + b"\r\nbo\0dy\r\n", "a NUL"),
        (b"\r\nbody\r\n", "no header fields"),
        (b"just text\r\n", "neither a field nor a continuation"),
        (HEADER + b"no colon\r\n\r\n", "neither a field nor a continuation"),
        (HEADER + b": no name\r\n\r\n", "neither a field nor a continuation"),
        (HEADER + b"Two words: x\r\n\r\n", "neither a field nor a continuation"),
        (HEADER + b"\xc3\xa4: x\r\n\r\n", "neither a field nor a continuation"),
        (b"From someone Mon Jan  1 00:00:00 2024\r\n" + HEADER, "neither a field nor"),
        (b" folded: first\r\n" + HEADER, "begins with a space"),
        (HEADER + b" \r\nX-Hidden: body to one, header to another\r\n\r\n", "blank but not empty"),
        (b"Subject: \xff\r\n\r\n", "not UTF-8"),
        (HEADER + b"\r\n" + b"x" * (MAX_LINE_OCTETS + 1) + b"\r\n", "longer than 998 octets"),
        (b"Subject: " + b"x" * MAX_LINE_OCTETS + b"\r\n\r\n", "longer than 998 octets"),
    ],
)
def test_unfit_content(raw: bytes, why: str) -> None:
    """What a relay would refuse or read differently is refused here, with what and where."""
    with pytest.raises(UnfitContentError, match=why):
        frozen(raw)


def test_longest_line() -> None:
    """A line of 998 octets, CRLF not counted, may go out (RFC 5322 section 2.1.1)."""
    raw = HEADER + IDENTITY + b"\r\n" + b"x" * MAX_LINE_OCTETS + b"\r\n"
    assert frozen(raw).raw == raw


@pytest.mark.parametrize(
    ("raw", "eight_bit", "utf8_header"),
    [
        (HEADER + b"\r\nplain\r\n", False, False),
        (HEADER + b"\r\nM\xc3\xbcll\r\n", True, False),
        (HEADER + b"\r\nM\xfcll\r\n", True, False),
        (b"Subject: M\xc3\xbcll\r\n\r\nplain\r\n", True, True),
    ],
)
def test_what_it_asks_of_a_relay(raw: bytes, eight_bit: bool, utf8_header: bool) -> None:
    """Octets above 127 need 8BITMIME, and in the header SMTPUTF8 as well; that is noted."""
    content = frozen(raw)
    assert (content.eight_bit, content.utf8_header) == (eight_bit, utf8_header)


def test_size() -> None:
    """The size is that of the octets on the wire, before dot-stuffing (RFC 1870 section 5)."""
    raw = HEADER + IDENTITY + b"\r\n.\r\n"
    assert frozen(raw).size == len(raw)


def test_same_message_same_digest() -> None:
    """A message made twice has another Message-ID, Date and boundary, and the same digest."""

    def raw(boundary: bytes, identity: bytes) -> bytes:
        mark = b"===============" + boundary + b"=="
        return (
            HEADER
            + identity
            + b'Content-Type: multipart/mixed; boundary="%s"\r\n\r\n' % mark
            + b"--%s\r\n\r\nbody\r\n--%s--\r\n" % (mark, mark)
        )

    assert digest(raw(b"123", b"")) == digest(raw(b"45678", IDENTITY))


@pytest.mark.parametrize(
    "other",
    [
        b"From: a@example.org\r\nSubject: hello!\r\n\r\nbody\r\n",
        b"From: a@example.org\r\nSubject: hello\r\n\r\nbody!\r\n",
        b"From: a@example.org\r\nSubject: hello\r\nX-More: 1\r\n\r\nbody\r\n",
        b"Subject: hello\r\nFrom: a@example.org\r\n\r\nbody\r\n",
    ],
)
def test_other_message_other_digest(other: bytes) -> None:
    """Whatever the reader could see makes another digest."""
    assert digest(HEADER + b"\r\nbody\r\n") != digest(other)


def test_split() -> None:
    """Fields come with names in lower case and all octets; the body keeps its empty line."""
    fields, body = split(b"A-b: 1\r\n 2\r\nC : 3\r\n\r\nbody\r\n")
    assert fields == [(b"a-b", b"A-b: 1\r\n 2\r\n"), (b"c", b"C : 3\r\n")]
    assert body == b"\r\nbody\r\n"


# Bytes made of what matters to the wire, so that most of them nearly are messages.
_PIECES = [
    b"From: a@b",
    b"Bcc: s3cret@x",
    b"bCC\t: s3cret@x",
    b"Message-ID: <1@x>",
    b"Message-ID:",
    b"Date: now",
    b"Date: ",
    b" folded",
    b"\t",
    b"text",
    b".",
    b"\xc3\xa4",
    b"\xff",
    b"\0",
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b":",
    b"x" * 500,
]
_RAW = st.lists(st.sampled_from(_PIECES), max_size=30).map(b"".join) | st.binary(max_size=200)
_LIKELY = st.lists(st.sampled_from(_PIECES[:8]), min_size=1, max_size=8).map(
    lambda lines: b"From: first@x\r\n" + b"\r\n".join(lines) + b"\r\n\r\nbody"
)


@given(_RAW | _LIKELY)
def test_accepted_bytes_obey_the_wire(raw: bytes) -> None:
    """Whatever goes in: what comes out has no bare CR or LF, no NUL, no long line, and no Bcc."""
    try:
        content = frozen(wire_form(raw))
    except UnfitContentError:
        return
    assert content.raw.endswith(b"\r\n")
    assert b"\0" not in content.raw
    assert re.search(rb"\r(?!\n)|(?<!\r)\n", content.raw) is None
    assert max(map(len, content.raw.split(b"\r\n"))) <= MAX_LINE_OCTETS
    header = re.split(rb"(?<=\r\n)\r\n", content.raw)[0]
    assert re.fullmatch(rb"(?:[!-9;-~]+[ \t]*:[^\r]*\r\n(?:[ \t][^\r]*\r\n)*)+", header)
    assert re.search(rb"(?im)^bcc[ \t]*:", header) is None
    header.decode()
    assert len(re.findall(rb"(?im)^message-id[ \t]*:", header)) >= 1
    assert len(re.findall(rb"(?im)^date[ \t]*:", header)) >= 1
    assert "\r" not in content.message_id
    assert "\n" not in content.message_id


@given(_RAW | _LIKELY)
def test_freezing_twice_changes_nothing(raw: bytes) -> None:
    """What has been frozen is its own wire form and its own frozen form, with the same digest."""
    try:
        first, said = freeze(wire_form(raw), make_message_id=lambda: "<n@x>", date="now")
    except UnfitContentError:
        assume(False)
        return
    again, said_again = freeze(wire_form(first.raw), make_message_id=lambda: "<other>", date="x")
    assert again == first
    assert said_again == said
