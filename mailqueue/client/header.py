"""The addresses that header fields name, for an envelope that was not given."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from email.errors import MessageDefect, NonASCIILocalPartDefect, ObsoleteHeaderDefect
from email.headerregistry import HeaderRegistry
from typing import Any

from mailqueue.client.rendering import unfolded
from mailqueue.errors import ContentError

Fields = Iterable[tuple[str, Any]]
"""Header fields in their order: name, and value as text or as the header object of the message."""

_registry = HeaderRegistry()
_ENCODED_WORD = re.compile(r"=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=")
_STAND_IN = "\ue000"

# What nearly every field looks like, and what the parser makes of it at a hundred times the cost:
# addresses and names in plain ASCII. Words have no = and no ?, which encoded words are made of,
# and quoted names no @, so that every @ belongs to an address.
_WORD = r"[A-Za-z0-9!#$%&'*+/^_`{|}~-]++"
_SPEC = rf"{_WORD}(?:\.{_WORD})*+@{_WORD}(?:\.{_WORD})*+"
_NAME = rf'(?:{_WORD}(?: {_WORD})*+|"[A-Za-z0-9 ,.;:()<>!#$%&\'*+/^_-]*+") '
_MAILBOX = rf"(?:{_SPEC}|(?:{_NAME})?<{_SPEC}>)"
_PLAIN_LIST = re.compile(rf"{_MAILBOX}(?:,(?:\r\n)?[ \t]?{_MAILBOX})*")
_PLAIN_SPEC = re.compile(_SPEC)


def addresses(fields: Fields, *names: str) -> Iterator[str]:
    """Yield the addresses in all fields called ``names`` (in lower case), in their order.

    They are bare and not yet checked. Raises `ContentError` for a field that does not say
    clearly whom it names: half of a list of recipients must not pass for the whole.
    """
    for name, value in fields:
        if name.lower() in names:
            if type(value) is str and _PLAIN_LIST.fullmatch(value):
                yield from _PLAIN_SPEC.findall(value)
            else:
                yield from _addresses(name, value)


def _addresses(name: str, value: Any) -> Iterator[str]:
    header = value if hasattr(value, "addresses") else _parsed(name, value)
    for defect in header.defects:
        if not _is_harmless(defect):
            raise _malformed(name, value, str(defect))
    for address in header.addresses:
        if _STAND_IN in address.addr_spec:
            raise _malformed(name, value, "an encoded word is no part of an address (RFC 2047)")
        yield address.addr_spec


def _parsed(name: str, value: Any) -> Any:
    # Encoded words can only stand in names, which an envelope does not have. Put aside before
    # parsing, what they decode to cannot be taken for an address.
    try:
        text = _ENCODED_WORD.sub(_STAND_IN, unfolded(value))
        return _registry(name, text)
    except Exception as error:  # the parser raises whatever it happens to stumble over
        raise _malformed(name, value, str(error) or type(error).__name__) from error


def _malformed(name: str, value: Any, why: str) -> ContentError:
    return ContentError(
        f"the header field {name!r} does not tell whom it names ({why}): {str(value)[:80]!r}; "
        "correct it, or give sender= and recipients="
    )


def _is_harmless(defect: MessageDefect) -> bool:
    # Old spellings that say the same, such as an unquoted dot in a name.
    return isinstance(defect, ObsoleteHeaderDefect | NonASCIILocalPartDefect)
