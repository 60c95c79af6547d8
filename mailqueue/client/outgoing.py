"""A message with everything that a producer may wish for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypedDict

from mailqueue.client.rendering import AnyMessage
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.priority import Priority

Sendable: TypeAlias = AnyMessage | bytes
PriorityName: TypeAlias = Literal["high", "normal", "low"]
OnDoubtName: TypeAlias = Literal["retry", "hold"]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and its wishes, for `enqueue_many`; `enqueue` takes the same as keywords.

    ``message``: an `email.message.EmailMessage` (or one of the older ``email.mime`` classes),
    or the RFC 5322 bytes.
    """

    message: Sendable
    _: KW_ONLY
    sender: str | None = None
    """The envelope sender, where bounces go. None: Sender or From of the header; "": nobody."""
    recipients: str | Iterable[str] | None = None
    """The envelope recipients. None: those of To, Cc and Bcc."""
    idempotency_key: str | None = None
    """The same key with the same message and envelope is stored once, however often it is sent."""
    send_at: datetime | None = None
    """Not before this time, which must name its time zone."""
    expires_in: timedelta | float | None = None
    """Given up after this long (or this many seconds), from when it may first be sent."""
    priority: Priority | PriorityName = Priority.NORMAL
    """As long as a more urgent recipient is due at the relay, no other is sent."""
    relay: str | None = None
    """The name of a configured relay. None: the daemon's default."""
    tags: Mapping[str, str] | None = None
    """Words of your own, to find the message again by."""
    on_doubt: OnDoubt | OnDoubtName = OnDoubt.RETRY
    """Where nobody can know whether the relay took it: "retry", or "hold" for an operator."""


class Wishes(TypedDict, total=False):
    """The keywords of `enqueue`: the fields of `Outgoing`, which says what they mean."""

    sender: str | None
    recipients: str | Iterable[str] | None
    idempotency_key: str | None
    send_at: datetime | None
    expires_in: timedelta | float | None
    priority: Priority | PriorityName
    relay: str | None
    tags: Mapping[str, str] | None
    on_doubt: OnDoubt | OnDoubtName
