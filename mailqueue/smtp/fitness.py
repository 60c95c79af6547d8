"""What this side itself finds wrong with a mail before anything is asked of a relay."""

from __future__ import annotations

import re
from functools import lru_cache

from mailqueue.mail.address import check, split
from mailqueue.mail.content import has_only_crlf
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import NoReply, NoReplyKind, sanitise

_PLAIN = re.compile(
    r"[A-Za-z0-9_+=-]{1,30}(?:\.[A-Za-z0-9_+=-]{1,30})?"
    r"@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?\.){1,5}[A-Za-z]{2,20}"
)
"""Most addresses; each of them is one by the rules of `mailqueue.mail.address` too."""


def fault_of(envelope: Envelope, content: Content) -> NoReply | None:
    """Return what keeps this mail from being sent by anybody: its row was tampered with."""
    if envelope.sender and (fault := _sender_fault(envelope.sender)):
        return fault
    if not has_only_crlf(content.raw):
        # Some relay would take ``LF . LF`` for the final dot, and what follows for commands.
        return NoReply(NoReplyKind.LOCAL, "the stored content has a bare CR or LF")
    return None


def path_fault(address: str) -> NoReply | None:
    """Find an address that would say more than a path: any row may have been tampered with."""
    if _PLAIN.fullmatch(address):
        return None
    try:
        check(split(address))
    except ValueError as error:
        return NoReply(NoReplyKind.LOCAL, sanitise(f"stored address {address!r}: {error}"))
    return None


_sender_fault = lru_cache(maxsize=64)(path_fault)
"""Most mail of an application has the same few senders."""
