"""A durable outbox for mail: enqueue into SQL, relay by SMTP, ask SQL why a mail did not go.

>>> outbox = mailqueue.Outbox("sqlite:///outbox.db")
>>> receipt = outbox.enqueue(message)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from mailqueue._version import __version__

if TYPE_CHECKING:
    from mailqueue.client import (
        AsyncOutbox,
        Cancellation,
        Limits,
        Outbox,
        Outgoing,
        TooLate,
    )
    from mailqueue.errors import (
        AddressError,
        ConfigError,
        ContentError,
        FilterError,
        IdempotencyError,
        LimitError,
        MailqueueError,
        NotAnOutboxError,
        OptionError,
        OutboxBusyError,
        OutboxError,
        OutboxFencedError,
        OutboxFullError,
        OutboxReadOnlyError,
        OutboxUnavailableError,
        OutcomeUnknownError,
        SchemaError,
        SchemaMissingError,
        SchemaOutdatedError,
        SchemaTooNewError,
        UnknownMessageError,
        UnknownRecipientError,
        UnknownRelayError,
    )
    from mailqueue.mail.doubt import OnDoubt
    from mailqueue.mail.lifecycle import State
    from mailqueue.mail.priority import Priority
    from mailqueue.outbox.engine import configure_sqlite
    from mailqueue.outbox.enqueue import Receipt
    from mailqueue.outbox.lookup import LastReply, MessageStatus, RecipientStatus

__all__ = [
    "AddressError",
    "AsyncOutbox",
    "Cancellation",
    "ConfigError",
    "ContentError",
    "FilterError",
    "IdempotencyError",
    "LastReply",
    "LimitError",
    "Limits",
    "MailqueueError",
    "MessageStatus",
    "NotAnOutboxError",
    "OnDoubt",
    "OptionError",
    "Outbox",
    "OutboxBusyError",
    "OutboxError",
    "OutboxFencedError",
    "OutboxFullError",
    "OutboxReadOnlyError",
    "OutboxUnavailableError",
    "OutcomeUnknownError",
    "Outgoing",
    "Priority",
    "Receipt",
    "RecipientStatus",
    "SchemaError",
    "SchemaMissingError",
    "SchemaOutdatedError",
    "SchemaTooNewError",
    "State",
    "TooLate",
    "UnknownMessageError",
    "UnknownRecipientError",
    "UnknownRelayError",
    "__version__",
    "configure_sqlite",
]

_HOMES = {
    "mailqueue.client": (
        "AsyncOutbox",
        "Cancellation",
        "Limits",
        "Outbox",
        "Outgoing",
        "TooLate",
    ),
    "mailqueue.mail.doubt": ("OnDoubt",),
    "mailqueue.mail.lifecycle": ("State",),
    "mailqueue.mail.priority": ("Priority",),
    "mailqueue.outbox.engine": ("configure_sqlite",),
    "mailqueue.outbox.enqueue": ("Receipt",),
    "mailqueue.outbox.lookup": ("LastReply", "MessageStatus", "RecipientStatus"),
}


if not TYPE_CHECKING:  # or a type checker would take every misspelt name for one of ours

    def __getattr__(name: str) -> object:
        """Load what is asked for when it is asked for.

        Every module of the package passes through this one first: the pure floor must not
        bring in SQLAlchemy, nor the command line what `--help` has no use for.
        """
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = next((home for home, names in _HOMES.items() if name in names), "mailqueue.errors")
        value = getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
