"""The content on its way: dot-stuffed, in blocks, and stopped where the relay speaks up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

from mailqueue.config.pacing import Timeouts
from mailqueue.failpoint import reach
from mailqueue.mail.reply import Answer, Evidence, NoReply, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.smtp.wire import Wire

BLOCK_OCTETS = 65_536

MayFinish = Callable[[], Awaitable[bool]]


async def upload(
    wire: Wire, raw: bytes, *, timeouts: Timeouts, may_finish: MayFinish | None
) -> Evidence:
    """Send the content after a 354 and return the reply to it.

    A reply that comes before the final dot is evidence at DATA, and the dot stays
    unwritten: what the relay has refused, it must not get whole. ``may_finish`` is awaited
    just before the block that holds the dot; False leaves it unwritten too.
    """
    wire.listen(len(raw))
    reach("before", "content")
    blocks = stuffed(raw)
    last = next(blocks, b"")
    for block in blocks:
        if (early := await wire.push(last, timeout=timeouts.block)) is not None:
            return _stop(wire, early)
        last = block
    reach("after", "content")
    if may_finish is not None and not await may_finish():
        return _stop(wire, NoReply(NoReplyKind.ABANDONED, "the lease was not ours any more"))
    if (early := await wire.interruption(timeout=timeouts.block)) is not None:
        return _stop(wire, early)
    return await wire.finish(last + ending(raw), timeout=timeouts.end_of_data)


def _stop(wire: Wire, answer: Answer) -> Evidence:
    wire.abort()
    return Evidence(Stage.DATA, answer, "DATA")


def stuffed(raw: bytes, size: int = BLOCK_OCTETS) -> Iterator[bytes]:
    """Cut content with CRLF line ends into blocks, dots doubled at line begins (RFC 5321 4.5.2)."""
    begins_line = True
    for start in range(0, len(raw), size):
        yield stuffed_block(raw[start : start + size], begins_line=begins_line)
        begins_line = raw[start + size - 1 : start + size] == b"\n"


def stuffed_block(block: bytes, *, begins_line: bool = True) -> bytes:
    """Return a block with its dots doubled; the very same where there is none at a line's begin."""
    stuffed = block.replace(b"\n.", b"\n..")
    return b"." + stuffed if begins_line and block.startswith(b".") else stuffed


def ending(raw: bytes) -> bytes:
    """Return the final dot's line, and the line end before it where the content lacks one."""
    return b".\r\n" if not raw or raw.endswith(b"\r\n") else b"\r\n.\r\n"
