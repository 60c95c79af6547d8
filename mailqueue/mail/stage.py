"""The stages of an SMTP conversation, in the order in which they are met (RFC 5321 section 3)."""

from __future__ import annotations

from enum import StrEnum


class Stage(StrEnum):
    """Where in the conversation something was answered, or was not.

    ``DATA`` reaches from the DATA command to the last byte before the final dot;
    ``END_OF_DATA`` begins when the final dot may have left this machine. The border
    between the two is the border between safe and doubtful silence.
    """

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    END_OF_DATA = "end-of-data"
    RSET = "rset"
    QUIT = "quit"

    @property
    def is_before_mail(self) -> bool:
        """Whether this stage concerns us and the relay, and no message yet."""
        return self in _BEFORE_MAIL

    @property
    def is_housekeeping(self) -> bool:
        """Whether this stage ends or clears a session, after every message was answered."""
        return self in (Stage.RSET, Stage.QUIT)


_BEFORE_MAIL = frozenset(
    {Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH},
)
