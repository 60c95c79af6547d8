"""Messages that share a session: what is written when, and who gets which reply."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass

import pytest
from aiosmtplib.protocol import SMTPProtocol

from mailqueue.config.pacing import Timeouts
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import NoReply, NoReplyKind
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome
from mailqueue.smtp import BeforeDot, Transacted
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.outlet import Outlet
from mailqueue.smtp.pipeline import Pipeline
from mailqueue.smtp.pipelined import PipelinedTransaction
from mailqueue.smtp.tap import Tap
from mailqueue.smtp.wire import Connection, Wire
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    ANN,
    BOB,
    CEE,
    CONTENT,
    ENVELOPE,
    code_of,
    content_of,
    findings_of,
    kind_of,
    outcomes,
    session_with,
    stages,
)

SENT, DEFER, FAIL, IN_DOUBT = Outcome.SENT, Outcome.DEFER, Outcome.FAIL, Outcome.IN_DOUBT
SHUTDOWN = NoReply(NoReplyKind.ABANDONED, "shutdown")
PATIENCE = 10
TO_ANN, TO_BOB, TO_CEE = (Envelope("s@example.org", (one,)) for one in (ANN, BOB, CEE))
GO = b"250 sender\r\n250 recipient\r\n354 go\r\n"
WIRE_CONTENT = CONTENT.raw + b".\r\n"

Running = asyncio.Task[Transacted | None]


def group(recipient: str) -> bytes:
    """Return what is asked for one recipient."""
    return f"MAIL FROM:<s@example.org>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode()


@dataclass
class Ends:
    """A pipeline on one end of a socket, and the test as the relay on the other."""

    line: Pipeline
    near: socket.socket
    far: socket.socket

    def begin(
        self,
        envelope: Envelope,
        content: Content = CONTENT,
        *,
        before_dot: BeforeDot | None = None,
    ) -> tuple[PipelinedTransaction, Running]:
        """Let a message take its place in the line."""
        begun = PipelinedTransaction(
            envelope, content, line=self.line, offer=Offer(), before_dot=before_dot
        )
        return begun, asyncio.create_task(begun.run())

    def carry(self, *envelopes: Envelope) -> asyncio.Task[list[Transacted | None]]:
        """Let one message after the other take a place, each when the one before has its answer."""

        async def carried() -> list[Transacted | None]:
            return [await self._one(envelope) for envelope in envelopes]

        return asyncio.create_task(carried())

    async def _one(self, envelope: Envelope) -> Transacted | None:
        return await PipelinedTransaction(envelope, CONTENT, line=self.line, offer=Offer()).run()

    async def heard(self, expected: bytes) -> None:
        """Read what must come next, and must come without another word from here."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(PATIENCE):
            assert await loop.sock_recv(self.far, 1024 * 1024) == expected

    async def say(self, replies: bytes) -> None:
        """Answer."""
        await asyncio.get_running_loop().sock_sendall(self.far, replies)

    async def is_cut(self) -> bool:
        """Wait for the end of the connection; whether nothing came before it."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await asyncio.get_running_loop().sock_recv(self.far, 1024) == b""
            except ConnectionResetError:
                return True


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    """A pipeline that has carried nothing yet."""
    near, far = socket.socketpair()
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(SMTPProtocol, sock=near)
    yield Ends(Pipeline(Wire(protocol).hand_over(), Timeouts()), near, far)
    transport.abort()
    far.close()


async def became(running: Running) -> list[Outcome] | None:
    """Return what became of the recipients, or None where nothing was asked."""
    async with asyncio.timeout(PATIENCE):
        transacted = await running
    return None if transacted is None else outcomes(transacted.findings)


async def test_each_message_costs_one_round_trip(ends: Ends) -> None:
    """The final dot of one and all that is asked for the next go in one write: a chain of three
    messages takes four exchanges.
    """
    ann_and_cee = ends.carry(TO_ANN, TO_CEE)
    await ends.heard(group(ANN))
    _, bob = ends.begin(TO_BOB)
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    await ends.say(b"250 first\r\n" + GO)
    await ends.heard(WIRE_CONTENT + group(CEE))
    await ends.say(b"250 second\r\n" + GO)
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 third\r\n")
    assert await became(bob) == [SENT]
    async with asyncio.timeout(PATIENCE):
        ann, cee = await ann_and_cee
    assert ann is not None
    assert cee is not None
    assert outcomes((*ann.findings, *cee.findings)) == [SENT, SENT]
    assert ends.line.is_open


async def test_who_comes_after_the_dot_asks_at_once(ends: Ends) -> None:
    """Whoever takes his place while the reply to a dot is awaited does not wait for it."""
    _, ann = ends.begin(TO_ANN)
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(BOB))
    await ends.say(b"550 5.7.1 spam\r\n" + GO)
    assert await became(ann) == [FAIL]
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 ok\r\n")
    assert await became(bob) == [SENT]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 29, 1000])
async def test_segments_mean_nothing(ends: Ends, size: int) -> None:
    """However the replies are cut or merged, each is for the command it answers."""
    _, ann = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    replies = [GO, b"250-2.0.0 first\r\n250 2.0.0 taken\r\n" + GO, b"451 4.3.0 second\r\n"]
    heard = [group(ANN), WIRE_CONTENT + group(BOB), WIRE_CONTENT]
    for expected, said in zip(heard, replies, strict=True):
        await ends.heard(expected)
        for begin in range(0, len(said), size):
            await ends.say(said[begin : begin + size])
            await asyncio.sleep(0)
    transacted = await ann
    assert transacted is not None
    assert str(transacted.findings[0].evidence.answer) == "250 2.0.0 first\ntaken"
    assert await became(bob) == [DEFER]


@pytest.mark.parametrize("cut", range(1, len(b"250 2.0.0 a\r\n" + GO)))
async def test_a_segment_that_ends_anywhere(ends: Ends, cut: int) -> None:
    """The replies to a dot and to the group behind it, in two segments."""
    said = b"250 2.0.0 a\r\n" + GO
    _, ann = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    await ends.say(said[:cut])
    await asyncio.sleep(0.001)
    await ends.say(said[cut:])
    assert await became(ann) == [SENT]
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 b\r\n")
    assert await became(bob) == [SENT]


async def test_who_has_not_asked_leaves_no_trace(ends: Ends) -> None:
    """A message that is cut short in line, before its commands were written, costs nothing."""
    _, ann = ends.begin(TO_ANN)
    await ends.heard(group(ANN))
    bob, running = ends.begin(TO_BOB)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    [finding] = bob.interrupt(SHUTDOWN)
    assert (finding.evidence.stage, finding.evidence.answer) == (Stage.DATA, SHUTDOWN)
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 ok\r\n")
    assert await became(ann) == [SENT]
    assert ends.line.is_open


async def test_who_has_asked_leaves_when_the_one_before_has_its_answer(ends: Ends) -> None:
    """A follower that is cut short never harms the message whose dot waits for a reply."""
    ann, first = ends.begin(TO_ANN)
    bob, second = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    [finding] = bob.interrupt(SHUTDOWN)
    assert finding.evidence.stage is Stage.DATA
    assert not bob.dot_written
    assert not ends.line.is_open, "it takes no more"
    assert ann.dot_written
    assert not first.done()
    await ends.say(b"250 ok\r\n" + GO)
    assert await became(first) == [SENT]
    assert await ends.is_cut(), "nobody's content was written for the 354"


async def test_the_first_is_cut_short_before_its_dot(ends: Ends) -> None:
    """It takes the connection with it; who is behind it was asked nothing, and goes elsewhere."""
    ann, first = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    [finding] = ann.interrupt(SHUTDOWN)
    assert finding.evidence.stage is Stage.DATA
    assert await became(bob) is None
    assert await ends.is_cut()


@pytest.mark.parametrize("said", [b"", b"250 sender\r\n", b"250 sender\r\n250 recipient\r\n", GO])
async def test_the_first_is_lost_before_its_dot(ends: Ends, said: bytes) -> None:
    """A lost connection is the first one's trouble; nobody is charged for standing behind it."""
    content = content_of(8 * 1024 * 1024)
    _, ann = ends.begin(TO_ANN, content)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(said)
    if said == GO:
        await asyncio.get_running_loop().sock_recv(ends.far, 1000)
    ends.far.close()
    transacted = await ann
    assert transacted is not None
    assert outcomes(transacted.findings) == [DEFER]
    assert kind_of(transacted.findings[0].evidence) is NoReplyKind.LOST
    assert await became(bob) is None


@pytest.mark.parametrize("said", [b"", b"25", b"999 hm\r\n", b"what?\r\n"])
async def test_the_first_is_in_doubt(ends: Ends, said: bytes) -> None:
    """Where the reply to a dot is missing only that message is in doubt."""
    _, ann = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    await ends.say(said)
    ends.far.close()
    assert await became(ann) == [IN_DOUBT]
    assert await became(bob) is None


@pytest.mark.parametrize("said", [b"421 4.3.2 enough\r\n", b"503 5.5.1 who?\r\n", b"what?\r\n"])
async def test_no_room_for_the_follower(ends: Ends, said: bytes) -> None:
    """A relay that has had enough after one message costs the next one nothing."""
    _, ann = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    await ends.say(b"250 ok\r\n" + said)
    assert await became(ann) == [SENT]
    assert await became(bob) is None
    assert await ends.is_cut()


async def test_a_lone_dot_for_a_stray_354(ends: Ends) -> None:
    """Where nobody was accepted a 354 gets a dot and nothing else, nothing is sent by it, and
    everybody keeps his own answer (RFC 2920 section 3.1).
    """
    _, both = ends.begin(Envelope("s@example.org", (ANN, BOB)))
    _, cee = ends.begin(TO_CEE)
    await asyncio.sleep(0)
    await asyncio.get_running_loop().sock_recv(ends.far, 1024)
    await ends.say(b"250 ok\r\n550 5.1.1 no\r\n450 4.2.1 later\r\n354 go\r\n")
    await ends.heard(b".\r\n" + group(CEE))
    await ends.say(b"250 2.0.0 sent to nobody\r\n" + GO)
    assert await became(both) == [FAIL, DEFER]
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 ok\r\n")
    assert await became(cee) == [SENT]


async def test_nobody_asks_behind_the_dot_of_one_who_asks_again(ends: Ends) -> None:
    """Where a 354 follows a refused SIZE the lone dot goes alone: with another's commands behind
    it, the content that is then asked for anew would go into the other one's transaction.
    """
    offer = Offer(frozenset({"SIZE"}))
    begun = PipelinedTransaction(TO_ANN, CONTENT, line=ends.line, offer=offer)
    ann = asyncio.create_task(begun.run())
    _, bob = ends.begin(TO_BOB)
    sized = group(ANN).replace(b"org>\r\nRCPT", b"org> SIZE=%d\r\nRCPT" % CONTENT.size)
    await ends.heard(sized)
    await ends.say(b"555 5.5.4 no SIZE\r\n503 5.5.1 no MAIL\r\n354 go\r\n")
    await ends.heard(b".\r\n")
    await ends.say(b"250 2.0.0 sent to nobody\r\n")
    await ends.heard(group(ANN))
    await ends.say(GO)
    await ends.heard(WIRE_CONTENT + group(BOB))
    await ends.say(b"250 Ann's\r\n" + GO)
    assert await became(ann) == [SENT]
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 Bob's\r\n")
    assert await became(bob) == [SENT]


async def test_a_dot_into_a_connection_that_has_just_ended_was_not_written(ends: Ends) -> None:
    """What is written then is thrown away here: nobody can have taken the mail."""

    async def cut(_: tuple[int, ...]) -> bool:
        ends.line.outlet._transport.close()
        return True

    _, ann = ends.begin(TO_ANN, before_dot=cut)
    await ends.heard(group(ANN))
    await ends.say(GO)
    assert await became(ann) == [DEFER]


async def test_a_lone_dot_after_a_refused_mail(ends: Ends) -> None:
    """What follows a refusal of MAIL are consequences, whatever their codes."""
    _, ann = ends.begin(TO_ANN)
    await ends.heard(group(ANN))
    await ends.say(b"550 5.7.1 not you\r\n250 ok\r\n354 go\r\n")
    await ends.heard(b".\r\n")
    await ends.say(b"250 2.0.0 ok\r\n")
    transacted = await ann
    assert transacted is not None
    assert stages(transacted.findings) == [Stage.MAIL]
    assert outcomes(transacted.findings) == [FAIL]
    assert ends.line.is_open


async def test_rset_goes_with_the_next_group(ends: Ends) -> None:
    """An envelope that the relay still holds is cleared without a round trip of its own."""
    _, ann = ends.begin(TO_ANN)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(b"250 ok\r\n250 ok\r\n451 4.3.0 later\r\n")
    assert await became(ann) == [DEFER]
    await ends.heard(b"RSET\r\n" + group(BOB))
    await ends.say(b"250 ok\r\n" + GO)
    await ends.heard(WIRE_CONTENT)
    await ends.say(b"250 ok\r\n")
    assert await became(bob) == [SENT]


@pytest.mark.parametrize(
    "said",
    [
        b"250 ok\r\n250 one too many\r\n550 5.1.1 no Ann\r\n250 ok Bob\r\n354 go\r\n",
        b"250 ok\r\n550 5.1.1 no Ann\r\n354 go\r\n",
        b"250 ok\r\n550 5.1.1 no Ann\r\n250 ok Bob\r\n250 what a day\r\n",
        b"250 ok\r\n250 one too many\r\n550 5.1.1 no Ann\r\n450 later\r\n554 none\r\n",
    ],
)
async def test_nobody_gets_the_refusal_of_another(ends: Ends, said: bytes) -> None:
    """A reply that cannot stand in its place shows that the others need not stand in theirs."""
    _, both = ends.begin(Envelope("s@example.org", (ANN, BOB)))
    await asyncio.sleep(0)
    await asyncio.get_running_loop().sock_recv(ends.far, 1024)
    await ends.say(said)
    assert await became(both) == [DEFER, DEFER]
    assert await ends.is_cut(), "no content has been written"
    assert ends.line.is_at_odds


async def test_stopped_before_the_dot(ends: Ends) -> None:
    """Where the lease has passed on the connection ends, and who is behind goes elsewhere."""

    async def refuse(_: tuple[int, ...]) -> bool:
        return False

    ann, first = ends.begin(TO_ANN, before_dot=refuse)
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    assert await became(first) == [DEFER]
    assert not ann.dot_written
    assert await became(bob) is None
    assert await ends.is_cut()


async def test_the_last_question_is_asked_when_the_dot_can_be_written(ends: Ends) -> None:
    """A lease that was held before a wait of minutes for the network may have passed on since."""
    asked: list[tuple[int, ...]] = []

    def refuse(accepted: tuple[int, ...]) -> bool:
        asked.append(accepted)
        return False

    waiting, ann = ends.begin(TO_ANN, before_dot=refuse)
    await ends.heard(group(ANN))
    ends.line.pause_writing()
    await ends.say(GO)
    async with asyncio.timeout(PATIENCE):
        while waiting.stage is not Stage.DATA:  # noqa: ASYNC110 - until the 354 is here
            await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0)
    assert asked == []
    ends.line.resume_writing()
    assert await became(ann) == [DEFER]
    assert asked == [(0,)]
    assert await ends.is_cut()


async def test_an_answer_that_nobody_needs_any_more_is_let_go_of(ends: Ends) -> None:
    """Where the connection ends before the leave to finish is awaited nobody will await it."""
    leaves: list[Coroutine[None, None, bool]] = []

    async def granted() -> bool:
        raise AssertionError

    def ask(_: tuple[int, ...]) -> Coroutine[None, None, bool]:
        asyncio.get_running_loop().call_soon(ends.line.connection_lost, None)
        leaves.append(granted())
        return leaves[0]

    _, ann = ends.begin(TO_ANN, before_dot=ask)
    await ends.heard(group(ANN))
    await ends.say(GO)
    assert await became(ann) == [DEFER]
    assert inspect.getcoroutinestate(leaves[0]) == inspect.CORO_CLOSED


async def test_a_dot_that_never_left_has_a_follower(ends: Ends) -> None:
    """What is written behind a dot that is still in our own buffer leaves with it or not at all."""
    ends.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    ann, first = ends.begin(TO_ANN, Content(b"x" * 60_000 + b"\r\n", "<big@example.org>"))
    _, bob = ends.begin(TO_BOB)
    await ends.heard(group(ANN))
    await ends.say(GO)
    async with asyncio.timeout(PATIENCE):
        await _dot_written(ann)
    assert ends.line.outlet.holds_dot
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert not ann.dot_written
    assert ann.interrupt(SHUTDOWN)[0].evidence.stage is Stage.DATA
    assert await became(bob) is None


class _Held(asyncio.Transport):
    """A transport that still holds so many octets."""

    def __init__(self, octets: int) -> None:
        super().__init__()
        self.octets = octets

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Take the tap."""

    def write(self, data: object) -> None:
        """Take what is written as if it were among what is held."""

    def get_write_buffer_size(self) -> int:
        """Return the number that it was told."""
        return self.octets

    def is_closing(self) -> bool:
        """It is open."""
        return False


@pytest.mark.parametrize(
    ("held", "beneath", "is_held"),
    [(0, None, False), (20, None, False), (21, None, True), (20, 0, False), (20, 900, True)],
)
def test_what_is_behind_the_dot_is_not_the_dot(
    held: int, beneath: int | None, is_held: bool
) -> None:
    """A dot has surely not left only if more is held than was written behind it; in TLS that is
    more octets on the wire than were written.
    """

    async def main() -> None:
        transport = _Held(held)
        under = () if beneath is None else (_Held(beneath),)
        outlet = Outlet(Connection(transport, Tap(transport, asyncio.Protocol()), under))
        outlet.write_dot(b"", b".\r\n", b"")
        assert outlet.holds_dot == (held > 0 or bool(beneath))
        outlet.write(b"x" * 20)
        assert outlet.holds_dot == is_held

    asyncio.run(main())


async def _dot_written(transaction: PipelinedTransaction) -> None:
    while not transaction.dot_written:  # noqa: ASYNC110 - nobody tells of it
        await asyncio.sleep(0)


async def test_150_recipients_with_every_kind_of_answer(
    relay: ScriptedRelay, script: Script
) -> None:
    """In one group, and each of them gets his own."""
    names = tuple(
        f"{('ok', 'never', 'later')[number % 3]}{number}@example.net" for number in range(150)
    )
    script.on("RCPT", address="never*").reply("550 5.1.1 no such user")
    script.on("RCPT", address="later*").reply("450-4.2.1 not", "450 4.2.1 now")
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("s@example.org", names))
    assert outcomes(findings) == [SENT, FAIL, DEFER] * 50
    assert [one.evidence.command for one in findings[1:3]] == [
        f"RCPT TO:<{name}>" for name in names[1:3]
    ]
    assert relay.ledger.accepted[0].recipients == names[::3]
    session.abort()


async def test_a_dead_relay_under_backpressure(relay: ScriptedRelay, script: Script) -> None:
    """A relay that reads no more is given the time of one block, and the follower moves on."""
    script.on("BODY").silence()
    session = await session_with(relay, timeouts={"block": 0.3})
    first = asyncio.create_task(session.begin(ENVELOPE, content_of(15 * 1024 * 1024)).run())
    second = asyncio.create_task(session.begin(ENVELOPE, CONTENT).run())
    assert await became(first) == [DEFER] * 3
    assert await became(second) is None
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_the_time_is_for_each_reply(relay: ScriptedRelay, script: Script) -> None:
    """A relay that stops in the midst of a group is late with the reply that is missing."""
    script.on("RCPT", address=BOB).silence()
    session = await session_with(relay, timeouts={"rcpt": 0.2})
    findings = await findings_of(session)
    assert stages(findings) == [Stage.RCPT] * 3
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.TIMEOUT}
    assert findings[0].rcpt is not None, "Ann had been accepted"
    assert session.is_at_odds


async def test_the_second_try_without_size_is_a_group_too(
    relay: ScriptedRelay, script: Script
) -> None:
    """Its consequences are read first, and the follower stays where it was."""
    script.on("MAIL", transaction=1).reply("555 5.5.4 parameter")
    session = await session_with(relay)
    first = asyncio.create_task(session.begin(ENVELOPE, CONTENT).run())
    second = asyncio.create_task(session.begin(TO_ANN, CONTENT).run())
    assert await became(first) == [SENT] * 3
    assert await became(second) == [SENT]
    assert relay.ledger.seen["MAIL"] == 3
    assert [one.mail_parameters for one in relay.ledger.accepted] == [
        (),
        (f"SIZE={CONTENT.size}",),
    ]
    session.abort()


class _Watcher:
    """Keeps what was said, each with the direction."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def sent(self, line: str) -> None:
        self.lines.append(f"-> {line}")

    def received(self, text: str) -> None:
        self.lines.append(f"<- {text}")


async def test_the_transcript_shows_what_was_said_when(
    relay: ScriptedRelay, script: Script
) -> None:
    """Commands of a group stand together, and behind them the replies."""
    script.on("RCPT", address=BOB).reply("550 5.1.1 no")
    watcher = _Watcher()
    session = await session_with(relay, transcript=watcher)
    await findings_of(session, Envelope("s@example.org", (ANN, BOB)))
    await session.quit()
    begin = next(i for i, line in enumerate(watcher.lines) if line.startswith("-> MAIL"))
    assert watcher.lines[begin:] == [
        f"-> MAIL FROM:<s@example.org> SIZE={CONTENT.size}",
        f"-> RCPT TO:<{ANN}>",
        f"-> RCPT TO:<{BOB}>",
        "-> DATA",
        "<- 250 2.1.0 sender ok",
        "<- 250 2.1.5 recipient ok",
        "<- 550 5.1.1 no",
        "<- 354 end with <CRLF>.<CRLF>",
        f"-> ({CONTENT.size} octets of content)",
        "-> .",
        "<- 250 2.0.0 accepted as 1",
        "-> QUIT",
        "<- 221 2.0.0 relay.example closing",
    ]


async def test_a_421_behind_everything(relay: ScriptedRelay, script: Script) -> None:
    """The last word of a relay ends the session, and costs nobody who has an answer."""
    script.on(".").as_usual().delay(0.01).reply("421 4.3.2 good night").close()
    session = await session_with(relay)
    assert outcomes(await findings_of(session)) == [SENT] * 3
    await relay.wait_sessions_closed()
    assert not session.is_usable
    assert await session.transact(ENVELOPE, CONTENT) is None


async def test_a_group_on_a_session_that_ended_meanwhile(
    relay: ScriptedRelay, script: Script
) -> None:
    """On a session that carried nothing yet the reason is the evidence, and nothing is sent."""
    script.on("EHLO").as_usual().delay(0.01).reply("421 4.3.2 good night").close()
    session = await session_with(relay)
    await relay.wait_sessions_closed()
    findings = await findings_of(session)
    assert {(one.evidence.stage, code_of(one.evidence)) for one in findings} == {(Stage.MAIL, 421)}
    assert findings[0].evidence.command == ""
