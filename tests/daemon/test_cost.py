"""What a chain of messages costs in writes to the socket, and so in round trips."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mailqueue.daemon.crew import Crew
from mailqueue.mail.lifecycle import Event
from mailqueue.smtp.course import Pipelined
from mailqueue.smtp.session import Session
from tests.daemon.desk import Desk
from tests.daemon.parts import PATIENCE, message_for


class Counted:
    """A transport that keeps what is written, each time a segment of its own."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.written: list[bytes] = []
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, octets: bytes) -> None:
        """Write and keep it."""
        self.written.append(octets)
        self._transport.write(octets)


async def counted(desk: Desk) -> Counted:
    """Open the only session of the desk, and count what is written there from now on."""
    session = await desk.pool.borrow()
    assert isinstance(session, Session)
    desk.pool.give_back(session)
    assert isinstance(session._course, Pipelined)
    outlet = session._course._line.outlet
    counted = Counted(outlet._transport)
    outlet._transport = counted  # type: ignore[assignment]
    return counted


async def carry(desk: Desk, *messages: tuple[str, ...]) -> None:
    """Let a crew carry a message to each of these, with a place behind the one under way."""
    failed: list[Exception] = []
    crew = Crew(failed.append)
    for addresses in messages:
        delivery = desk.delivery(message_for(*addresses))
        # At once, as it is unless doubt is held.
        delivery.may_write_dot = lambda *_: True
        crew.take(delivery, places=2)
    await asyncio.wait_for(crew.left(), PATIENCE)
    assert failed == []


@pytest.mark.parametrize("count", [1, 2, 30])
async def test_a_chain_of_messages_costs_one_write_for_each_and_one_more(
    desk: Desk, count: int
) -> None:
    """A dot and all that is asked for the next message go together, and nothing goes alone."""
    transport = await counted(desk)
    await carry(desk, *((f"r{number}@example.net",) for number in range(count)))
    assert set(desk.events().values()) == {Event.SEND}
    assert len(transport.written) == count + 1
    for between in transport.written[1:-1]:
        assert b"\r\n.\r\nMAIL FROM" in between
        assert between.endswith(b"\r\nDATA\r\n")


async def test_recipients_cost_no_write_of_their_own(desk: Desk) -> None:
    """However many a message has, they are asked for in one group."""
    transport = await counted(desk)
    await carry(desk, tuple(f"r{number}@example.net" for number in range(90)))
    assert len(transport.written) == 2
    assert transport.written[0].count(b"RCPT TO") == 90
