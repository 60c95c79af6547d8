"""The opening of a session: connect, greeting, EHLO, STARTTLS, AUTH, step by step."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

from aiosmtplib import SMTP

from mailqueue.failpoint import reach
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.stage import Stage
from mailqueue.smtp.auth import authenticate
from mailqueue.smtp.dial import dial
from mailqueue.smtp.evidence import WIRE_ERRORS, opening_evidence, reply_from
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.transcript import Transcript
from mailqueue.smtp.wire import Wire

_EHLO_UNKNOWN = frozenset({500, 502, 504})
"""Replies to EHLO that say that the relay does not know it, and not that it refuses us."""
_FULL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]*\.)+[A-Za-z0-9-]*[A-Za-z0-9]")


async def open_wire(relay: Relay, transcript: Transcript | None) -> tuple[Wire, Offer] | Evidence:
    """Connect and go on until MAIL may be sent. Returns why not where that fails."""
    settings = relay.settings
    reach("before", "connect")
    sock = await dial(
        settings.host,
        settings.effective_port,
        source_address=settings.source_address,
        timeout=settings.timeouts.connect,
    )
    if isinstance(sock, NoReply):
        return Evidence(Stage.CONNECT, sock)
    reach("after", "connect")
    try:
        name = settings.local_hostname or _own_name(sock)
        client = relay.client(sock, local_hostname=name)
    except BaseException:
        sock.close()
        raise
    wire = await _await_greeting(client, transcript, timeout=settings.timeouts.greeting)
    if isinstance(wire, Evidence):
        return wire
    try:
        offer = await _introduce(wire, relay, name)
    except BaseException:
        wire.abort()
        raise
    if isinstance(offer, Evidence):
        wire.abort()
        return offer
    return wire, offer


async def _await_greeting(
    client: SMTP, transcript: Transcript | None, *, timeout: float
) -> Wire | Evidence:
    try:
        greeting = await client.connect(timeout=timeout)
    except WIRE_ERRORS as error:
        evidence = opening_evidence(error)
        if transcript is not None:
            transcript.received(str(evidence.answer))
        return evidence
    if transcript is not None:
        transcript.received(str(reply_from(greeting.code, greeting.message)))
    if client.protocol is None or client.protocol.transport is None:
        detail = "the relay closed the connection after its greeting"
        return Evidence(Stage.EHLO, NoReply(NoReplyKind.LOST, detail))
    return Wire(client.protocol, transcript)


async def _introduce(wire: Wire, relay: Relay, name: str) -> Offer | Evidence:
    settings = relay.settings
    offer = await _hello(wire, name, settings.timeouts.ehlo)
    if settings.tls == "starttls" and isinstance(offer, Offer):
        offer = await _secure(wire, relay, offer, name)
    if settings.auth != "none" and isinstance(offer, Offer):
        offer = await authenticate(wire, offer, settings) or offer
    return offer


async def _hello(wire: Wire, name: str, timeout: float) -> Offer | Evidence:
    """Say EHLO, or HELO to a relay that does not know it (RFC 5321 sections 3.2 and 4.1.4).

    Any other refusal stands: HELO offers nothing, so mail that needs 8BITMIME would fail for good.
    """
    evidence = await wire.ask(Stage.EHLO, f"EHLO {name}", timeout=timeout)
    match evidence.answer:
        case Reply(is_positive=True):
            return Offer.read(wire.lines)
        case Reply(code=code) if code in _EHLO_UNKNOWN:
            evidence = await wire.ask(Stage.EHLO, f"HELO {name}", timeout=timeout)
    match evidence.answer:
        case Reply(is_positive=True):
            return Offer()
    return evidence


async def _secure(wire: Wire, relay: Relay, offer: Offer, name: str) -> Offer | Evidence:
    """Go over to TLS and say EHLO again: what was said before is forgotten (RFC 3207 section 4.2).

    Where that cannot be there is no going on without.
    """
    if "STARTTLS" not in offer.extensions:
        detail = "the relay does not offer STARTTLS, or somebody took it out of its offer"
        return Evidence(Stage.STARTTLS, NoReply(NoReplyKind.TLS, detail))
    timeouts = relay.settings.timeouts
    evidence = await wire.start_tls(
        relay.tls_context, server_name=relay.server_name, timeout=timeouts.starttls
    )
    match evidence.answer:
        case Reply(code=220):
            return await _hello(wire, name, timeouts.ehlo)
    return evidence


def _own_name(sock: socket.socket) -> str:
    """Return this machine's full name, or its address on this connection as a literal.

    Asks no resolver, which could take its time: RFC 5321 section 4.1.4 lets a client without
    a name of its own say an address literal.
    """
    name = socket.gethostname()
    if _FULL_NAME.fullmatch(name):
        return name
    address = ip_address(sock.getsockname()[0].partition("%")[0])
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
