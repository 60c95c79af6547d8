"""The envelope of a message: as given, or else from its header."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from mailqueue.client.header import addresses
from mailqueue.client.mailbox import envelope_address
from mailqueue.errors import AddressError, ContentError
from mailqueue.mail.envelope import Envelope

NULL_SENDER = ("", "<>")

Fields = Sequence[tuple[str, Any]]


def envelope_of(
    fields: Fields, *, sender: str | None, recipients: str | Iterable[str] | None
) -> Envelope:
    """Return the checked envelope for a message with these header ``fields``.

    ``sender`` None: from Sender, else the first From. ``""`` or ``"<>"``: the null sender.
    ``recipients`` None: from To, Cc and Bcc. A resent message (RFC 5322 section 3.6.6) is read by
    its Resent fields and no others. Each recipient is named once. Raises `AddressError`,
    and `ContentError` where there is no sender or nobody to send to.
    """
    prefix = "" if None not in (sender, recipients) else _prefix(fields)
    return Envelope(_sender(fields, prefix, sender), _recipients(fields, prefix, recipients))


_RESENT = frozenset(f"resent-{name}" for name in ("date", "from", "sender", "to", "cc", "bcc"))
_ONCE = frozenset({"resent-date", "resent-from"})


def _prefix(fields: Fields) -> str:
    resent = [lowered for name, _ in fields if (lowered := name.lower()) in _RESENT]
    if any(resent.count(name) > 1 for name in _ONCE):
        raise ContentError(
            "the message was resent more than once, so its header does not tell who sends it to "
            "whom now; give sender= and recipients="
        )
    return "resent-" if resent else ""


def _sender(fields: Fields, prefix: str, given: str | None) -> str:
    if given is not None:
        return "" if given in NULL_SENDER else envelope_address(given)
    for name in (f"{prefix}sender", f"{prefix}from"):
        if (found := next(addresses(fields, name), None)) is not None:
            return envelope_address(found)
    raise ContentError(
        "the message has no sender: give sender=, or set From in the header "
        '(sender="" is the null sender)'
    )


def _recipients(fields: Fields, prefix: str, given: str | Iterable[str] | None) -> tuple[str, ...]:
    if given is None:
        names = [f"{prefix}{name}" for name in ("to", "cc", "bcc")]
        found = [*addresses(fields, *names)]
        remedy = "give recipients=, or set To, Cc or Bcc in the header"
    else:
        found = [given] if isinstance(given, str) else [*_listed(given)]
        remedy = "recipients= is empty"
    if not found:
        raise ContentError(f"the message has no recipients: {remedy}")
    # A dict and not a set: the recipients keep the order in which they were named.
    return tuple(dict.fromkeys(map(envelope_address, found)))


def _listed(given: Iterable[str]) -> Iterable[str]:
    try:
        return iter(given)
    except TypeError:
        raise AddressError(
            repr(given), "recipients= takes a list of addresses, or one address as a str"
        ) from None
