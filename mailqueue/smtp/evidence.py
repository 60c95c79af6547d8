"""The border: what aiosmtplib, ssl and the operating system raise, as evidence.

Nothing behind this file names their exceptions.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from aiosmtplib import SMTPConnectResponseError, SMTPException, SMTPResponseException

from mailqueue.mail.reply import (
    Answer,
    Evidence,
    NoReply,
    NoReplyKind,
    Reply,
    parse_reply,
    sanitise,
)
from mailqueue.mail.stage import Stage

WIRE_ERRORS = (SMTPException, OSError)
"""What a broken wire raises. `ssl.SSLError` and `TimeoutError` are OSErrors; a bare ValueError
is a fault of ours and is not caught here."""

_KINDS: tuple[tuple[type[BaseException], NoReplyKind], ...] = (
    # First: a failed certificate check is an OSError and a ValueError as well.
    (ssl.SSLError, NoReplyKind.TLS),
    (socket.gaierror, NoReplyKind.UNRESOLVED),
    (TimeoutError, NoReplyKind.TIMEOUT),
    # How asyncio says that a TLS handshake took too long.
    (ConnectionAbortedError, NoReplyKind.TIMEOUT),
    (SMTPResponseException, NoReplyKind.MALFORMED),
)


def no_reply(error: BaseException, *, otherwise: NoReplyKind = NoReplyKind.LOST) -> NoReply:
    """Return what an error of the wire means; ``otherwise`` where it says nothing special."""
    chain = tuple(_causes(error))
    kind = next(
        (kind for known, kind in _KINDS if any(isinstance(one, known) for one in chain)),
        otherwise,
    )
    detail = next((text for one in reversed(chain) if (text := str(one))), "")
    return NoReply(kind, sanitise(detail))


def opening_evidence(error: BaseException) -> Evidence:
    """Return what an error of ``SMTP.connect`` means, with its stage.

    The causes tell the stages apart: until the greeting is awaited they come from the
    operating system or ssl, and from aiosmtplib itself afterwards.
    """
    if isinstance(error, SMTPConnectResponseError):
        return Evidence(Stage.GREETING, reply_from(error.code, error.message))
    if isinstance(error, SMTPResponseException) or isinstance(error.__cause__, SMTPException):
        return Evidence(Stage.GREETING, no_reply(error))
    return Evidence(Stage.CONNECT, no_reply(error))


def reply_from(code: int, message: str) -> Reply | NoReply:
    """Rebuild the reply of which only the library's reading is left, as of the greeting."""
    *before, last = message.split("\n")
    lines = [*(f"{code}-{line}" for line in before), f"{code} {last}", ""]
    try:
        parsed = parse_reply("\r\n".join(lines).encode("utf-8", "surrogateescape"))
    except ValueError as error:
        return NoReply(NoReplyKind.MALFORMED, str(error))
    assert parsed is not None
    return parsed.reply


def leaves_session(evidence: Evidence) -> bool:
    """Whether this answer belongs where it came, so that commands and replies are still paired."""
    match evidence.answer:
        case Reply(code=421):
            return False
        case Reply(is_transient=True) | Reply(is_permanent=True):
            return True
        case Reply(is_positive=True):
            return evidence.stage is Stage.END_OF_DATA
    return False


def is_stale(answer: Answer) -> bool:
    """Whether the relay had given the session up: it says so, or nothing that can be used.

    ``answer``: the one to the first command of a session that was used before, or lay idle.
    """
    if isinstance(answer, Reply):
        return answer.code in (421, 503)
    return isinstance(answer, NoReply)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
