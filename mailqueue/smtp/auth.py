"""AUTH: one mechanism, one try (RFC 4954)."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiosmtplib.auth import auth_login_encode, auth_plain_encode, auth_xoauth2_encode

from mailqueue.config.relays import RelaySettings
from mailqueue.errors import ConfigError
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.stage import Stage
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.wire import Wire

Speak = Callable[[str, bytes], Awaitable[Evidence]]
"""Sends a command with a token behind it; the token is shown to nobody."""


async def authenticate(wire: Wire, offer: Offer, settings: RelaySettings) -> Evidence | None:
    """Log in by the configured mechanism. Returns None, or why it did not succeed.

    The secret is read here, so that a refreshed token is used at the next connection. There
    is no second try: most relays would count it as a second wrong password.
    """
    mechanism = settings.auth.upper()
    if mechanism not in offer.mechanisms:
        return _nothing_asked(NoReplyKind.UNSUPPORTED, _missing(mechanism, offer))
    try:
        secret = settings.read_secret()
    except ConfigError as error:
        return _nothing_asked(NoReplyKind.LOCAL, str(error))

    alone = b64encode(secret.encode()).decode("ascii")

    async def speak(command: str, token: bytes) -> Evidence:
        encoded = token.decode("ascii")
        return await wire.ask(
            Stage.AUTH,
            f"{command} {encoded}".strip(),
            timeout=settings.timeouts.auth,
            # The token first: were the secret hidden inside of it, the rest would show.
            hidden=tuple(filter(None, (encoded, alone, secret))),
        )

    evidence = await _DIALOGUES[mechanism](speak, settings.username or "", secret)
    match evidence.answer:
        case Reply(is_positive=True):
            return None
    return replace(evidence, command=f"AUTH {mechanism} ***")


async def _plain(speak: Speak, username: str, password: str) -> Evidence:
    """RFC 4616, with the initial response of RFC 4954 section 4: one round trip."""
    return await speak("AUTH PLAIN", auth_plain_encode(username, password))


async def _login(speak: Speak, username: str, password: str) -> Evidence:
    """Each in a line of its own: not every relay takes the name with the command."""
    evidence = await speak("AUTH LOGIN", b"")
    for token in auth_login_encode(username, password):
        if not _asks_for_more(evidence):
            break
        evidence = await speak("", token)
    return evidence


async def _xoauth2(speak: Speak, username: str, token: str) -> Evidence:
    """A refused token is answered with a challenge; the reply comes after an empty line."""
    evidence = await speak("AUTH XOAUTH2", auth_xoauth2_encode(username, token))
    return await speak("", b"") if _asks_for_more(evidence) else evidence


_DIALOGUES: Mapping[str, Callable[[Speak, str, str], Awaitable[Evidence]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "XOAUTH2": _xoauth2,
}


def _asks_for_more(evidence: Evidence) -> bool:
    return isinstance(evidence.answer, Reply) and evidence.answer.code == 334


def _missing(mechanism: str, offer: Offer) -> str:
    offered = " ".join(sorted(offer.mechanisms))
    return f"the relay offers {f'AUTH {offered}' if offered else 'no AUTH'}, not {mechanism}"


def _nothing_asked(kind: NoReplyKind, detail: str) -> Evidence:
    return Evidence(Stage.AUTH, NoReply(kind, detail))
