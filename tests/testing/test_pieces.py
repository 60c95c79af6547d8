"""The parts of the kit that touch no socket."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.testing.action import Pace
from mailqueue.testing.body import Body
from mailqueue.testing.command import parse_command
from mailqueue.testing.reply import code_of, spell, without_enhanced
from mailqueue.testing.selector import message_id_of
from mailqueue.testing.watch import Watch

crlf_content = st.lists(st.sampled_from([b".", b"..", b".a", b"a", b"", b"a.b", b". "])).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


def _stuffed(content: bytes) -> bytes:
    return b"".join(
        b"." + line if line.startswith(b".") else line for line in content.splitlines(keepends=True)
    )


@given(content=crlf_content, size=st.integers(1, 9), after=st.sampled_from([b"", b"QUIT\r\n"]))
def test_a_body_comes_out_as_it_went_in(content: bytes, size: int, after: bytes) -> None:
    """However the wire cuts a stuffed body, the content is restored and what follows is left."""
    body, left = Body(), b""
    wire = _stuffed(content) + b".\r\n"
    sent = wire + after
    for begin in range(0, len(sent), size):
        piece = sent[begin : begin + size]
        left += piece if body.is_complete else piece[body.feed(piece) :]
    assert (body.content, body.octets, left) == (content, len(wire), after)


@given(data=st.binary(max_size=50), size=st.integers(1, 60), cuts=st.lists(st.integers(0, 60)))
def test_a_pace_loses_nothing(data: bytes, size: int, cuts: list[int]) -> None:
    """The pieces of a pace, joined again, are what was to be sent."""
    for pace in (Pace(size=size), Pace(cuts=tuple(sorted(cuts))), Pace.of_rate(size)):
        assert b"".join(pace.pieces(data)) == data


def test_a_pace_cuts_where_it_is_told() -> None:
    """Sizes and offsets become separate pieces, and rates become pauses."""
    assert list(Pace(size=2).pieces(b"abcde")) == [b"ab", b"cd", b"e"]
    assert list(Pace(cuts=(1, 4)).pieces(b"abcde")) == [b"a", b"bcd", b"e"]
    slow, fast = Pace.of_rate(10), Pace.of_rate(100_000)
    assert (slow.size, fast.size) == (1, 100)
    assert [slow.pause, fast.pause] == pytest.approx([0.1, 0.001])
    with pytest.raises(ValueError, match="positive"):
        Pace.of_rate(0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"250 ok\r\n", 250),
        (b"250\r\n", 250),
        (b"250-a\r\n250 b\r\n", 250),
        (b"250 ok\r\n421 bye\r\n", 250),
        (b"250-a\r\n550 b\r\n", None),
        (b"250-a\r\n", None),
        (b"25 ok\r\n", None),
        (b"250 ok\n", None),
        (b"250ok\r\n", None),
        (b"", None),
    ],
)
def test_only_whole_replies_have_a_code(data: bytes, code: int | None) -> None:
    """A relay acts upon what it said only where that was a reply in good form."""
    assert code_of(data) == code


def test_replies_are_spelled_as_given() -> None:
    """Lines are ended and encoded, and never put in order."""
    assert spell("450-é", b"\xff", "") == b"450-\xc3\xa9\r\n\xff\r\n\r\n"
    assert without_enhanced("250 2.1.5 ok") == "250 ok"
    assert without_enhanced("354 go") == "354 go"


@pytest.mark.parametrize(
    ("line", "address", "parameters"),
    [
        (b"MAIL FROM:<>", "", ()),
        (
            b"mail from:<a@b.example> SIZE=5 body=8BITMIME",
            "a@b.example",
            ("SIZE=5", "body=8BITMIME"),
        ),
        (b'RCPT TO:<"a b\\">"@[127.0.0.1]>', '"a b\\">"@[127.0.0.1]', ()),
        (b"RCPT TO:<Postmaster>", "Postmaster", ()),
        ("RCPT TO:<ü@ü.example>".encode(), "ü@ü.example", ()),
        (b"RCPT TO:<" + b"a" * 64 + b"@b.example>", "a" * 64 + "@b.example", ()),
    ],
)
def test_paths_are_taken_apart(line: bytes, address: str, parameters: tuple[str, ...]) -> None:
    """A path in good form (RFC 5321 section 4.1.2) gives its address and its parameters."""
    path = parse_command(line).path
    assert path is not None
    assert (path.address, path.parameters) == (address, parameters)


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM: <a@b.example>",
        b"MAIL FROM:a@b.example",
        b"MAIL FROM:<a@b.example>SIZE=5",
        b"MAIL TO:<a@b.example>",
        b"RCPT TO:<>",
        b"RCPT TO:<a b@c.example>",
        b"RCPT TO:<a@b@c.example>",
        b"RCPT TO:<.a@b.example>",
        b"RCPT TO:<a@-b.example>",
        b"RCPT TO:<a@b.example>\nRCPT TO:<c@d.example>",
        b"RCPT TO:<a@b.example> NOTIFY=a\x00b",
        b"RCPT TO:<\xff@b.example>",
        b"RCPT TO:<" + b"a" * 65 + b"@b.example>",
        b"RCPT TO:<a@" + b".".join([b"b" * 63] * 4 + [b"b"]) + b">",
    ],
)
def test_paths_in_bad_form_are_none(line: bytes) -> None:
    """Whatever a strict relay answers with 501 has no path, and raises nothing."""
    assert parse_command(line).path is None


@given(st.binary(max_size=80))
def test_any_line_is_a_command(line: bytes) -> None:
    """No bytes of a client can make the relay stumble."""
    command = parse_command(line)
    assert command.length == len(line) + 2
    assert command.line.startswith(command.verb)


def test_credentials_stay_out_of_the_line() -> None:
    """What is kept of an AUTH command names the mechanism only."""
    assert parse_command(b"AUTH PLAIN AGEAYg==").line == "AUTH PLAIN ***"
    assert parse_command(b"auth login").line == "AUTH login"


@pytest.mark.parametrize(
    ("content", "message_id"),
    [
        (b"Subject: x\r\nMessage-ID: <1@a>\r\n\r\nbody", "<1@a>"),
        (b"MESSAGE-id:\r\n <2@a>\r\n\r\n", "<2@a>"),
        (b"Subject: x\r\n\r\nMessage-ID: <3@a>\r\n", None),
        (b"X-Message-ID: <4@a>\r\n\r\n", None),
        (b"", None),
    ],
)
def test_the_message_id_is_that_of_the_header(content: bytes, message_id: str | None) -> None:
    """A Message-ID is found in the header, folded or not, and nowhere else."""
    assert message_id_of(content) == message_id


async def test_an_error_in_a_condition_belongs_to_the_one_who_waits() -> None:
    """A condition that raises ends its own wait and disturbs nobody else."""
    watch, happened = Watch(), asyncio.Event()
    numbers: list[int] = []

    def broken() -> bool:
        return bool(numbers) and 1 // (numbers[0] - 1) > 0

    async with asyncio.TaskGroup() as group:
        failing = group.create_task(_error_of(watch.until(broken, timeout=5, complaint=str)))
        fine = group.create_task(
            watch.until(lambda: bool(numbers), timeout=5, complaint=happened.__repr__)
        )
        await asyncio.sleep(0)
        numbers.append(1)
        watch.changed()
    assert isinstance(failing.result(), ZeroDivisionError)
    assert fine.exception() is None


async def _error_of(awaited: object) -> BaseException | None:
    try:
        await awaited  # type: ignore[misc]
    except ArithmeticError as error:
        return error
    return None
