"""The envelope that a plain header names, told at a glance.

Most prebuilt mail has one address in From and one in To, in a form that nobody could read in
two ways. Whatever does not look like that is left to `mailqueue.client.envelope`, which takes
ten times as long to read it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from mailqueue.mail.address import MAX_LOCAL_OCTETS, MAX_PATH_OCTETS
from mailqueue.mail.content import Field
from mailqueue.mail.envelope import Envelope

# Without = and ?, which encoded words are made of.
_ATOM = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]++"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_ADDRESS = rf"((?:{_ATOM}\.)*+{_ATOM})@({_LABEL}(?:\.{_LABEL})*+)"
_NAMED = r"(?:[A-Za-z0-9-]++ )*+<"
_FIELD: Final = re.compile(rf"[^:]++:[ \t]?({_NAMED})?{_ADDRESS}(?(1)>)\r\n".encode("ascii"))
_OTHERS: Final = frozenset(
    {
        b"sender",
        b"cc",
        b"bcc",
        b"resent-date",
        b"resent-from",
        b"resent-sender",
        b"resent-to",
        b"resent-cc",
        b"resent-bcc",
    }
)
"""Fields that an envelope is read from besides From and To, or instead of them."""
_SHORT_OCTETS: Final = 256
"""A longer field is not kept in memory for the next mail."""


def plain_envelope(fields: Sequence[Field]) -> Envelope | None:
    """Return what `envelope_of` would of these header ``fields``; None where it is to be asked."""
    said = dict(fields)
    if len(said) != len(fields) or not _OTHERS.isdisjoint(said):
        return None
    author = said.get(b"from", b"")
    sender = _known_address(author) if len(author) <= _SHORT_OCTETS else _address(author)
    recipient = _address(said.get(b"to", b""))
    return None if sender is None or recipient is None else Envelope(sender, (recipient,))


def _address(field: bytes) -> str | None:
    found = _FIELD.fullmatch(field)
    if found is None:
        return None
    _, local, domain = found.groups()
    if len(local) > MAX_LOCAL_OCTETS or len(local) + 1 + len(domain) > MAX_PATH_OCTETS:
        return None
    return f"{local.decode()}@{domain.lower().decode()}"


_known_address = lru_cache(maxsize=64)(_address)
"""Most mail of an application is from the same few senders."""
