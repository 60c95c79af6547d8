"""The tap: what it makes of bytes does not depend on how the network cuts them."""

from __future__ import annotations

import asyncio

import pytest

from mailqueue.mail.reply import NoReply, NoReplyKind, Reply
from mailqueue.smtp.tap import MAX_REPLY_OCTETS, Tap


class _Wire(asyncio.Transport):
    """The end of a connection that nobody writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.is_cut = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take the tap."""

    def abort(self) -> None:
        """Be cut off."""
        self.is_cut = True


def _heard(raw: bytes, size: int) -> tuple[Reply | NoReply | None, bool]:
    """Return what is heard of ``raw`` in pieces of ``size``, and whether that ended it."""
    wire = _Wire()
    tap = Tap(wire, asyncio.Protocol())
    tap.expect()
    for begin in range(0, len(raw), size):
        tap.data_received(raw[begin : begin + size])
    # The last word counts for more than a reply: see `Wire`, which asks for it first.
    return tap.last_word or tap.reply, wire.is_cut


@pytest.mark.parametrize("size", [1000, MAX_REPLY_OCTETS, 10**6])
def test_a_reply_that_is_too_long_is_none_however_it_is_cut(size: int) -> None:
    """The same octets cannot be a 451 in one segment and nonsense in two."""
    heard, is_cut = _heard(b"451 4.3.0 " + b"x" * MAX_REPLY_OCTETS + b"\r\n", size)
    assert isinstance(heard, NoReply)
    assert heard.kind is NoReplyKind.MALFORMED
    assert is_cut


@pytest.mark.parametrize("size", [1000, MAX_REPLY_OCTETS, 10**6])
def test_a_reply_of_just_the_limit_is_one_however_it_is_cut(size: int) -> None:
    """The limit is on what may come, not on what may come at once."""
    text = b"x" * (MAX_REPLY_OCTETS - len("451 \r\n"))
    heard, is_cut = _heard(b"451 " + text + b"\r\n", size)
    assert isinstance(heard, Reply)
    assert heard.code == 451
    assert not is_cut
