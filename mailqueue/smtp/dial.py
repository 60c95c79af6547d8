"""Dialling: from a host name to a connected TCP socket."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

from mailqueue.mail.reply import NoReply, NoReplyKind
from mailqueue.smtp.evidence import no_reply


async def dial(
    host: str, port: int, *, source_address: str | None, timeout: float
) -> socket.socket | NoReply:
    """Connect to the first address of ``host`` that answers; all within ``timeout`` seconds.

    An address that swallows packets cannot use up the time of those behind it: each gets an
    equal share of what is left.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    try:
        async with asyncio.timeout_at(deadline):
            addresses = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        failure = no_reply(error, otherwise=NoReplyKind.UNRESOLVED)
        return NoReply(failure.kind, f"{host}: {failure.detail or 'no answer from the resolver'}")
    failures: list[NoReply] = []
    for index, (family, _, _, _, address) in enumerate(addresses):
        share = max(0.0, deadline - loop.time()) / (len(addresses) - index)
        dialled = await _dial_one(family, address, source_address, share)
        if isinstance(dialled, socket.socket):
            return dialled
        failures.append(dialled)
    return NoReply(_telling(failures), "; ".join(failure.detail for failure in failures))


async def _dial_one(
    family: int, address: tuple[Any, ...], source_address: str | None, timeout: float
) -> socket.socket | NoReply:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        # The kernel knows no IPv6, or this process has no descriptor left: the relay is not asked.
        return NoReply(NoReplyKind.LOCAL, f"{address[0]}: {error.strerror}")
    try:
        sock.setblocking(False)
        if source_address is not None:
            sock.bind((source_address, 0))
        async with asyncio.timeout(timeout):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except OSError as error:
        sock.close()
        failure = no_reply(error, otherwise=NoReplyKind.REFUSED)
        reason = os.strerror(error.errno) if error.errno else "no answer in time"
        return NoReply(failure.kind, f"{address[0]}: {reason}")
    except BaseException:
        sock.close()
        raise
    return sock


def _telling(failures: list[NoReply]) -> NoReplyKind:
    """Return the kind of the last failure that the network had a part in, if there is one."""
    kinds = [failure.kind for failure in failures]
    return next((kind for kind in reversed(kinds) if kind is not NoReplyKind.LOCAL), kinds[-1])
