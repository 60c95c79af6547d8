"""Bytes of a relay become a reply, nothing yet, or an error; and text that is fit to keep."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailqueue.mail.reply import (
    MAX_TEXT_BYTES,
    EnhancedStatus,
    MalformedReplyError,
    NoReply,
    NoReplyKind,
    Parsed,
    Reply,
    Unsendable,
    parse_reply,
)

NO_SUCH_USER = EnhancedStatus(5, 1, 1)
OK = EnhancedStatus(2, 0, 0)

WELL_FORMED = [
    pytest.param(b"250 OK\r\n", Reply(250, "OK"), id="one line"),
    pytest.param(b"250\r\n", Reply(250), id="bare code"),
    pytest.param(b"250 \r\n", Reply(250), id="code and space"),
    pytest.param(b"250 OK\n", Reply(250, "OK"), id="bare LF"),
    pytest.param(b"250-a\r\n250-b\r\n250 c\r\n", Reply(250, "a\nb\nc"), id="three lines"),
    pytest.param(b"250-a\r\n250\r\n", Reply(250, "a\n"), id="last line bare"),
    pytest.param(b"250-\r\n250 b\r\n", Reply(250, "\nb"), id="first line empty"),
    pytest.param(b"250- a \r\n250 b \r\n", Reply(250, "a\nb"), id="spaces around"),
    pytest.param(b"250 2.0.0\r\n", Reply(250, "", OK), id="enhanced code alone"),
    pytest.param(b"550 5.1.1 unknown\r\n", Reply(550, "unknown", NO_SUCH_USER), id="enhanced code"),
    pytest.param(
        b"550-5.1.1 no\r\n550 5.1.1 such user\r\n",
        Reply(550, "no\nsuch user", NO_SUCH_USER),
        id="enhanced code on each line",
    ),
    pytest.param(
        b"550-we are sorry\r\n550 5.1.1 unknown\r\n",
        Reply(550, "we are sorry\nunknown", NO_SUCH_USER),
        id="enhanced code on the second line",
    ),
    pytest.param(
        b"550-5.1.1 unknown\r\n550 5.7.1 and refused\r\n",
        Reply(550, "unknown\n5.7.1 and refused", NO_SUCH_USER),
        id="two enhanced codes, of which one stays in the text",
    ),
    pytest.param(
        b"421 5.7.32 not aligned\r\n",
        Reply(421, "not aligned", EnhancedStatus(5, 7, 32)),
        id="class against digit",
    ),
    pytest.param(
        b"554 refused, see 5.7.1 there\r\n",
        Reply(554, "refused, see 5.7.1 there"),
        id="not at the start",
    ),
    pytest.param(b"550 5.1.1.1 no\r\n", Reply(550, "5.1.1.1 no"), id="four numbers"),
    pytest.param(b"550 3.1.1 no\r\n", Reply(550, "3.1.1 no"), id="class 3"),
    pytest.param(b"550 5.1.1000 no\r\n", Reply(550, "5.1.1000 no"), id="four digits"),
    pytest.param("550 5.\u0661.1 no\r\n".encode(), Reply(550, "5.\u0661.1 no"), id="other digits"),
    pytest.param(b"000 what\r\n", Reply(0, "what"), id="code 000"),
    pytest.param(b"999 what\r\n", Reply(999, "what"), id="code 999"),
]

HOSTILE = [
    pytest.param(b"\x1b[2Jgone\x07", "?[2Jgone?", id="terminal escape"),
    pytest.param(b"a\x00b", "a?b", id="NUL"),
    pytest.param(b"a\rb", "a?b", id="CR within"),
    pytest.param(b"a\tb", "a b", id="tab"),
    pytest.param(b"caf\xc3\xa9", "café", id="UTF-8"),
    pytest.param(b"caf\xe9", "caf?", id="Latin-1"),
    pytest.param(b"\xed\xa0\x80", "???", id="encoded surrogate"),
    pytest.param("a\u202eb".encode(), "a?b", id="text direction"),
    pytest.param("a\u2028b".encode(), "a?b", id="Unicode line end"),
    pytest.param("a\x9b2Jb".encode(), "a?2Jb", id="C1 escape"),
]

MALFORMED = [
    pytest.param(b"\r\n", id="empty line"),
    pytest.param(b"OK\r\n", id="no code"),
    pytest.param(b"25 OK\r\n", id="two digits"),
    pytest.param(b"2500 OK\r\n", id="four digits"),
    pytest.param(b"-50 OK\r\n", id="sign"),
    pytest.param(b" 250 OK\r\n", id="space before"),
    pytest.param(b"250_OK\r\n", id="underscore"),
    pytest.param(b"250\tOK\r\n", id="tab"),
    pytest.param(b"250OK\r\n", id="no space"),
    pytest.param("\u0662\u0665\u0660 OK\r\n".encode(), id="other digits"),
    pytest.param(b"\x16\x03\x01\x02\r\n", id="TLS record"),
    pytest.param(b"HTTP/1.1 400 Bad Request\r\n", id="HTTP"),
    pytest.param(b"250-a\r\n550 b\r\n", id="differing codes"),
    pytest.param(b"250-a\r\nb\r\n", id="a line without code"),
    pytest.param(b"250-a\r\n\r\n", id="an empty line within"),
]

LINE_TEXTS = st.binary(max_size=40).map(lambda text: re.sub(rb"[\r\n]", b"", text))
FRAGMENTS = st.sampled_from(
    [b"250", b"550", b"-", b" ", b"\r\n", b"\n", b"\r", b"5.1.1 ", b"\xff", b"\x1b[2J", b"\x00"]
)
RECEIVED = st.binary() | st.lists(FRAGMENTS | st.binary(max_size=3)).map(b"".join)


@st.composite
def whole_replies(draw: st.DrawFn) -> tuple[int, bytes]:
    """A code, and the bytes of one reply that carries it."""
    code = draw(st.integers(0, 999))
    *before, last = draw(st.lists(LINE_TEXTS, min_size=1, max_size=4))
    end = draw(st.sampled_from([b"\r\n", b"\n"]))
    raw = b"".join(b"%03d-%s%s" % (code, text, end) for text in before)
    return code, raw + b"%03d %s%s" % (code, last, end)


@pytest.mark.parametrize(("raw", "reply"), WELL_FORMED)
def test_a_reply_is_read_as_it_is_written(raw: bytes, reply: Reply) -> None:
    """Code, text and enhanced status code are taken apart (RFC 5321 section 4.2, RFC 2034)."""
    assert parse_reply(raw) == Parsed(reply, b"")


@pytest.mark.parametrize(("raw", "reply"), WELL_FORMED)
def test_what_follows_a_reply_is_left_over(raw: bytes, reply: Reply) -> None:
    """Bytes behind the last line stay as they are, for the next reply or as a protocol error."""
    assert parse_reply(raw + b"421 bye\r\n\x00") == Parsed(reply, b"421 bye\r\n\x00")


@pytest.mark.parametrize("raw", MALFORMED)
def test_what_is_no_reply_is_an_error(raw: bytes) -> None:
    """Nothing is guessed from a line that is no reply line, nor from differing codes."""
    with pytest.raises(MalformedReplyError) as caught:
        parse_reply(raw)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"250-a\r\n550 b\r\n", "differing codes in one reply: 250 and 550"),
        (b"SSH-2.0-\x1b[2J\r\n", "not a reply line: SSH-2.0-?[2J"),
    ],
)
def test_the_error_says_what_came(raw: bytes, says: str) -> None:
    """Whoever reads it sees what the relay sent, or rather what something else sent."""
    with pytest.raises(MalformedReplyError) as caught:
        parse_reply(raw)

    assert str(caught.value) == says


@pytest.mark.parametrize(("text", "shown"), HOSTILE)
def test_hostile_text_is_made_harmless(text: bytes, shown: str) -> None:
    """What a terminal would obey or a database refuse becomes a question mark."""
    assert parse_reply(b"550 " + text + b"\r\n") == Parsed(Reply(550, shown), b"")


@given(whole_replies())
@example((250, b"250\r\n"))
def test_a_reply_is_read_only_once_it_is_whole(whole: tuple[int, bytes]) -> None:
    """Cut at any byte there is no reply yet; with the last one there is, and nothing is left."""
    code, raw = whole

    assert [parse_reply(raw[:cut]) for cut in range(len(raw))] == [None] * len(raw)
    parsed = parse_reply(raw)
    assert parsed is not None
    assert (parsed.reply.code, parsed.rest) == (code, b"")


@given(st.lists(whole_replies(), min_size=1, max_size=4))
def test_replies_come_off_a_stream_one_by_one(sent: list[tuple[int, bytes]]) -> None:
    """However many replies arrive in one segment, each is cut off whole and in its order."""
    rest = b"".join(raw for _, raw in sent)
    codes = []
    while (parsed := parse_reply(rest)) is not None:
        codes.append(parsed.reply.code)
        rest = parsed.rest

    assert (codes, rest) == ([code for code, _ in sent], b"")


@given(RECEIVED)
def test_any_bytes_are_a_reply_or_none_yet_or_malformed(raw: bytes) -> None:
    """A relay can send what it likes: no other exception, and every reply fit to be stored."""
    try:
        parsed = parse_reply(raw)
    except MalformedReplyError:
        return
    if parsed is None:
        return
    taken = raw.removesuffix(parsed.rest)
    assert taken + parsed.rest == raw
    assert taken.endswith(b"\n")
    assert taken.startswith(b"%03d" % parsed.reply.code)
    assert_fit_to_keep(parsed.reply.text)


def assert_fit_to_keep(text: str) -> None:
    """Printable line by line, valid UTF-8, bounded."""
    assert all(line.isprintable() for line in text.split("\n"))
    assert len(text.encode()) <= MAX_TEXT_BYTES


@pytest.mark.parametrize("letter", ["a", "é", "漢", "😀"])
def test_a_long_text_is_cut_between_letters(letter: str) -> None:
    """Of an endless reply the first kilobyte is kept, no letter is halved, and the cut shows."""
    parsed = parse_reply(b"550-" + letter.encode() * 9000 + b"\r\n550 end\r\n")

    assert parsed is not None
    kept = parsed.reply.text
    assert kept == letter * (len(kept) - 3) + "..."
    assert MAX_TEXT_BYTES - len("😀".encode()) < len(kept.encode()) <= MAX_TEXT_BYTES


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("5.1.1", NO_SUCH_USER),
        ("5.1.1 unknown", NO_SUCH_USER),
        ("4.7.999 wait", EnhancedStatus(4, 7, 999)),
        ("2.0.0 OK", OK),
        (" 5.1.1 unknown", None),
        ("5.1.1, unknown", None),
        ("x5.1.1 unknown", None),
        ("1.1.1 unknown", None),
        ("5.1 unknown", None),
        ("5.1.1.1 unknown", None),
        ("5.1234.1 unknown", None),
        ("", None),
    ],
)
def test_an_enhanced_status_stands_at_the_start(text: str, status: EnhancedStatus | None) -> None:
    """Class 2, 4 or 5, and two numbers of up to three digits, then a space or the end."""
    assert EnhancedStatus.parse(text) == status


@given(st.sampled_from([2, 4, 5]), st.integers(0, 999), st.integers(0, 999))
def test_an_enhanced_status_is_written_as_it_is_read(klass: int, subject: int, detail: int) -> None:
    """Written out and read again, a status is the same."""
    status = EnhancedStatus(klass, subject, detail)

    assert EnhancedStatus.parse(str(status)) == status


def test_the_first_digit_gives_the_class() -> None:
    """2, 3, 4 and 5 have one class each; a code without one of them has none (section 4.2.1)."""
    for code in range(-1, 1001):
        reply = Reply(code)
        classes = [
            reply.is_positive,
            reply.is_intermediate,
            reply.is_transient,
            reply.is_permanent,
        ]

        assert classes == [code // 100 == digit for digit in (2, 3, 4, 5)], code
        assert reply.is_reply_code == any(classes), code


@pytest.mark.parametrize(
    ("answer", "written"),
    [
        (Reply(250), "250"),
        (Reply(250, "OK"), "250 OK"),
        (Reply(550, "", NO_SUCH_USER), "550 5.1.1"),
        (Reply(550, "unknown", NO_SUCH_USER), "550 5.1.1 unknown"),
        (NoReply(NoReplyKind.TIMEOUT), "no reply (timeout)"),
        (NoReply(NoReplyKind.LOST, "reset by peer"), "no reply (lost: reset by peer)"),
        (Unsendable(EnhancedStatus(5, 3, 4), "too big"), "5.3.4 too big"),
    ],
)
def test_an_answer_is_written_as_an_operator_reads_it(answer: object, written: str) -> None:
    """In words an answer is its code, its enhanced status code and its text, or what was amiss."""
    assert str(answer) == written
