"""Exit statuses (sysexits.h), and which error ends in which."""

from __future__ import annotations

from enum import IntEnum

import click

from mailqueue import errors


class Exit(IntEnum):
    """How a command ended, for scripts and service managers."""

    OK = 0
    USAGE = 64
    """The command was not written as its help says."""
    DATA = 65
    """A message, address or file is not what it should be."""
    NO_INPUT = 66
    """There is no such message, or no such file to read."""
    NO_USER = 67
    """The relay refuses a recipient for good."""
    UNAVAILABLE = 69
    """It cannot be done, now or later, for a reason that the text gives."""
    SOFTWARE = 70
    """A fault in mailqueue itself."""
    CANNOT_CREATE = 73
    """A file cannot be made."""
    IO_ERROR = 74
    """The operating system failed at reading or writing."""
    TEMPORARY = 75
    """Not now: trying again later may help."""
    NO_PERMISSION = 77
    """This user may not."""
    CONFIG = 78
    """Configuration or tables need a person; starting again does not help."""
    INTERRUPTED = 130
    """Ctrl-C (128 and the number of SIGINT)."""
    BROKEN_PIPE = 141
    """Whoever read the output has gone (128 and the number of SIGPIPE)."""


class Failure(click.ClickException):
    """A command ends here: says ``mailqueue: text`` on standard error and exits with ``status``."""

    def __init__(self, text: str, status: Exit) -> None:
        super().__init__(text)
        self.status = status


# From the particular to the general: the first that fits holds.
_STATUSES: tuple[tuple[type[errors.MailqueueError], Exit], ...] = (
    (errors.ConfigError, Exit.CONFIG),
    (errors.SchemaError, Exit.CONFIG),
    (errors.UnknownMessageError, Exit.NO_INPUT),
    (errors.OutboxBusyError, Exit.TEMPORARY),
    (errors.OutboxFencedError, Exit.TEMPORARY),
    (errors.OutboxUnavailableError, Exit.TEMPORARY),
    (errors.OutcomeUnknownError, Exit.IO_ERROR),
    (errors.OutboxFullError, Exit.TEMPORARY),
    (errors.OutboxReadOnlyError, Exit.NO_PERMISSION),
    (errors.NotAnOutboxError, Exit.DATA),
    (errors.OutboxError, Exit.UNAVAILABLE),
    (errors.AlreadyRunningError, Exit.UNAVAILABLE),
)


def status_of(error: errors.MailqueueError) -> Exit:
    """Return the exit status for ``error``; what speaks of a message or an option is data."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), Exit.DATA)
