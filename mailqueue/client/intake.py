"""From what a producer hands over to a checked draft that only needs to be stored."""

from __future__ import annotations

import hashlib
import re
import socket
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from functools import lru_cache
from typing import Final, NamedTuple

from mailqueue.client.envelope import Fields, envelope_of
from mailqueue.client.glance import plain_envelope
from mailqueue.client.limits import Limits, check_recipients, check_size
from mailqueue.client.options import options_of
from mailqueue.client.outgoing import Outgoing
from mailqueue.client.rendering import render
from mailqueue.clock import MICROSECONDS, Clock
from mailqueue.errors import ContentError
from mailqueue.mail.content import (
    Parts,
    UnfitContentError,
    complete,
    digest,
    split,
    wire_form,
)
from mailqueue.mail.envelope import Envelope
from mailqueue.outbox.enqueue import Draft

_NAMING: Final = (b"from", b"sender", b"to", b"cc", b"bcc")
_ADDRESSING: Final = frozenset((*_NAMING, *(b"resent-" + name for name in (b"date", *_NAMING))))
"""The fields that an envelope is read from, and Resent-Date, which tells of another one."""
_HOST_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


def draft(outgoing: Outgoing, *, clock: Clock, limits: Limits) -> Draft:
    """Check ``outgoing``, freeze its bytes and return the draft; nothing is stored yet.

    The message object is not touched. Raises `ContentError`, `AddressError`, `OptionError`
    and `LimitError`.
    """
    now = clock.now()
    options = options_of(outgoing, now=now)
    try:
        read = _read(outgoing.message, limits)
        envelope = _envelope(read, outgoing)
        check_recipients(len(envelope.recipients), limits)
        parts = read.parts or split(read.raw)
        content = complete(
            read.raw,
            parts,
            make_message_id=lambda: _message_id(envelope, clock),
            date=_date(now // MICROSECONDS),
        )
    except UnfitContentError as error:
        raise ContentError(str(error)) from error
    check_size(content.size, limits)
    said = b"" if options.idempotency_key is None else _digest(digest(parts), envelope)
    return Draft(envelope, content, said, options)


class _Read(NamedTuple):
    """A message as bytes, with its header objects, or else with its parts."""

    raw: bytes
    fields: Fields
    parts: Parts | None


def _read(message: object, limits: Limits) -> _Read:
    if isinstance(message, Message):
        raw = render(message)
        # The objects, and not the bytes: they have been parsed, and know their local parts.
        return _Read(wire_form(raw), list(message.raw_items()), None)
    if not isinstance(message, (bytes, bytearray, memoryview)):
        given = f"{type(message).__module__}.{type(message).__qualname__}"
        raise ContentError(
            f"a message is an email.message.EmailMessage or bytes, not {given}; "
            "text needs an encoding: use text.encode()"
        )
    check_size(len(message), limits)
    raw = wire_form(bytes(message))
    return _Read(raw, (), split(raw))


def _envelope(read: _Read, outgoing: Outgoing) -> Envelope:
    sender, recipients, fields = outgoing.sender, outgoing.recipients, read.fields
    if read.parts is not None:
        is_header_asked = sender is recipients is None
        if is_header_asked and (envelope := plain_envelope(read.parts[0])) is not None:
            return envelope
        fields = [_text_field(octets) for name, octets in read.parts[0] if name in _ADDRESSING]
    return envelope_of(fields, sender=sender, recipients=recipients)


def _text_field(octets: bytes) -> tuple[str, str]:
    name, _, value = octets.decode("utf-8", "surrogateescape").partition(":")
    return name.rstrip(" \t"), value.strip()


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC))


def _message_id(envelope: Envelope, clock: Clock) -> str:
    """Return a new Message-ID in the sender's domain, or for the null sender this host's name."""
    domain = envelope.sender.rpartition("@")[2] or _host_name()
    return f"<{clock.token(16)}@{domain}>"


def _host_name() -> str:
    # Not getfqdn(), which asks the network.
    name = socket.gethostname()
    return name if _HOST_NAME.fullmatch(name) else "localhost"


def _digest(said: bytes, envelope: Envelope) -> bytes:
    """Return what tells messages under one idempotency key apart: what they say, and to whom."""
    summary = hashlib.sha256(said)
    # Sorted: a caller that keeps its recipients in a set names them in another order each time.
    for address in (envelope.sender, *sorted(envelope.recipients)):
        summary.update(b"\0" + address.encode())
    return summary.digest()
