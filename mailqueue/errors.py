"""Every error that mailqueue raises on purpose, in one tree."""

from __future__ import annotations

from collections.abc import Iterable


class MailqueueError(Exception):
    """The root: catch this to catch all of ours."""


class ConfigError(MailqueueError):
    """The configuration cannot be used; the text names key, value and remedy."""


class ContentError(MailqueueError):
    """The message cannot go on the wire as it is; nothing was stored."""


class AddressError(ContentError):
    """An address cannot stand in an envelope; nothing was stored."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address!r} cannot be used as a mail address: {reason}")
        self.address = address
        self.reason = reason


class OptionError(MailqueueError, ValueError):
    """An option of `enqueue` cannot be what it was given; nothing was stored."""


class LimitError(MailqueueError):
    """A limit of this outbox would be passed; nothing was stored.

    ``limit`` and ``actual`` are in the unit that the text names.
    """

    def __init__(self, text: str, *, limit: int, actual: int) -> None:
        super().__init__(text)
        self.limit = limit
        self.actual = actual


class IdempotencyError(MailqueueError):
    """The idempotency key was used before, for a different message; nothing was stored."""

    def __init__(self, key: str, message: int) -> None:
        super().__init__(
            f"idempotency key {key!r} already belongs to message {message}, whose envelope or "
            "content differs; use a new key for a new message",
        )
        self.key = key
        self.message = message


class FilterError(MailqueueError, ValueError):
    """A filter can fit nobody as it is written, or fits everybody where it must not; nothing was
    done.
    """

    def __init__(self, field: str, value: str, remedy: str) -> None:
        super().__init__(f"{value!r} cannot be what {field} is filtered by: {remedy}")
        self.field = field
        self.value = value


class UnknownRelayError(MailqueueError, LookupError):
    """No relay of this name is known; nothing was done."""

    def __init__(self, relay: str, known: Iterable[str]) -> None:
        names = ", ".join(sorted(known))
        there_are = f"there are: {names}" if names else "no daemon has made any known here yet"
        super().__init__(f"there is no relay {relay}; {there_are}")
        self.relay = relay


class UnknownMessageError(MailqueueError, LookupError):
    """No message has this id; it may have been pruned."""

    def __init__(self, message: int) -> None:
        super().__init__(f"there is no message {message} in this outbox; it may have been pruned")
        self.message = message


class UnknownRecipientError(UnknownMessageError):
    """The message does not go to this address, or there is no such message."""

    def __init__(self, message: int, address: str) -> None:
        super().__init__(message)
        self.args = (f"there is no message {message} to {address} in this outbox",)
        self.address = address


class OutboxError(MailqueueError):
    """The outbox database cannot be used as asked."""


class OutboxBusyError(OutboxError):
    """Another writer held the database for longer than the busy timeout; trying again is safe."""


class OutboxFencedError(OutboxError):
    """`mailqueue db copy` has closed this outbox: it is being moved, has moved, or is being filled.

    Nothing was written, and trying again is safe: in the new place, once the copy has ended.
    ``place`` is the other outbox, without a password.
    """

    def __init__(self, text: str, place: str) -> None:
        super().__init__(text)
        self.place = place


class OutboxUnavailableError(OutboxError):
    """The database server cannot be reached, or broke off, before anything was committed.

    Nothing was changed, and trying again is safe.
    """


class OutcomeUnknownError(OutboxError):
    """The connection was lost at COMMIT, and what became of that could not be found out.

    ``value`` is what would have been returned if it was carried out: for `enqueue` a list of
    receipts, under whose numbers the messages then are. Enqueued again under the same
    idempotency key, a message is stored once.
    """

    def __init__(self, text: str, value: object = None) -> None:
        super().__init__(text)
        self.value = value


class OutboxReadOnlyError(OutboxError):
    """The database file or its directory may not be written, or the server takes no writes."""


class OutboxFullError(OutboxError):
    """The disk, the quota or the page limit of the database is used up; nothing was stored."""


class NotAnOutboxError(OutboxError):
    """The file is not a SQLite database, or is damaged."""


class SchemaError(OutboxError):
    """The tables are not of the version that this code knows."""


class SchemaMissingError(SchemaError):
    """The database has no mailqueue tables yet."""


class SchemaOutdatedError(SchemaError):
    """The tables are older than this code."""


class SchemaTooNewError(SchemaError):
    """The tables are newer than this code."""


class AlreadyRunningError(MailqueueError):
    """Another process holds what only one may hold."""
