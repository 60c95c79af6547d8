"""A conversation with a relay, carried out and shown line by line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from mailqueue.cli.output import printable
from mailqueue.clock import Clock
from mailqueue.config import RelaySettings
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import judge
from mailqueue.outbox.enqueue import Draft
from mailqueue.smtp import Relay, Session, Transacted, open_session

Show = Callable[[str], object]
"""Takes one line for the person who watches."""


async def converse(
    settings: RelaySettings, draft: Draft, *, clock: Clock, show: Show
) -> tuple[Finding, ...]:
    """Send ``draft`` through a relay and return one finding per recipient, in their order.

    Takes as many transactions as the recipients need. Raises `ConfigError` where the relay's
    settings name what cannot be used.
    """
    show(
        f"relay {settings.name}: {settings.host} port {settings.effective_port}, tls {settings.tls}"
    )
    return await _Conversation(Relay(settings), draft, clock, show).findings()


class _Conversation:
    def __init__(self, relay: Relay, draft: Draft, clock: Clock, show: Show) -> None:
        self._relay = relay
        self._envelope = draft.envelope
        self._content = draft.content
        self._clock = clock
        self._show = show
        self._session: Session | None = None

    async def findings(self) -> tuple[Finding, ...]:
        found: dict[str, Finding] = {}
        most = self._relay.settings.recipients_per_transaction
        remaining = self._envelope.recipients
        try:
            while remaining:
                batch, rest = remaining[:most], remaining[most:]
                answered = dict(zip(batch, await self._send(batch), strict=True))
                found |= answered
                again = tuple(one for one in batch if _goes_again(answered[one]))
                remaining = again + rest
        finally:
            await self._end()
        return tuple(found[recipient] for recipient in self._envelope.recipients)

    async def _send(self, batch: tuple[str, ...]) -> tuple[Finding, ...]:
        envelope = Envelope(self._envelope.sender, batch)
        while True:
            opened = await self._usable_session()
            if isinstance(opened, Evidence):
                return (Finding(opened),) * len(batch)
            transacted = await self._transact(opened, envelope, self._content)
            if transacted is not None:
                return transacted.findings
            # A session of an earlier transaction that the relay has ended: a new one cannot be.
            self._session = None

    async def _usable_session(self) -> Session | Evidence:
        if self._session is not None and self._session.is_usable:
            return self._session
        await self._end()
        opened = await open_session(
            self._relay, clock=self._clock, transcript=Transcription(self._show)
        )
        if isinstance(opened, Session):
            self._session = opened
            self._show(f"session with {opened.facts.peer}, {opened.facts.tls or 'without TLS'}")
        return opened

    async def _transact(
        self, session: Session, envelope: Envelope, content: Content
    ) -> Transacted | None:
        transaction = session.begin(envelope, content)
        try:
            return await transaction.run()
        except asyncio.CancelledError:
            if transaction.dot_written:
                self._show("the final dot was written: the relay may have accepted the mail")
            raise

    async def _end(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.quit()


def _goes_again(finding: Finding) -> bool:
    return judge(finding.evidence, others_accepted=finding.others).at_once


class Transcription:
    """Shows what goes over the wire, each line with its stage; a `mailqueue.smtp.Transcript`.

    Where commands go in groups their replies come later, in the same order.
    """

    def __init__(self, show: Show) -> None:
        self._show = show
        self._stage = Stage.GREETING
        self._unanswered: deque[Stage] = deque([Stage.GREETING])

    def sent(self, line: str) -> None:
        """Show a line of ours."""
        self._stage = _stage_of(line, self._stage)
        if not line.startswith("("):
            self._unanswered.append(self._stage)
        self._show(f"{self._stage:<11} -> {printable(line)}")

    def received(self, text: str) -> None:
        """Show a reply; what follows its first line is indented to stand below it."""
        stage = self._unanswered.popleft() if self._unanswered else self._stage
        first, *more = printable(text).split("\n")
        self._show(f"{stage:<11} <- {first}")
        for line in more:
            self._show(f"{'':<11} <-     {line}")


_STAGES: Final = {
    "EHLO": Stage.EHLO,
    "HELO": Stage.EHLO,
    "STARTTLS": Stage.STARTTLS,
    "AUTH": Stage.AUTH,
    "MAIL": Stage.MAIL,
    "RCPT": Stage.RCPT,
    "DATA": Stage.DATA,
    ".": Stage.END_OF_DATA,
    "RSET": Stage.RSET,
    "QUIT": Stage.QUIT,
}


def _stage_of(line: str, before: Stage) -> Stage:
    """Return the stage that a line of ours belongs to: of its command, else the one before."""
    return _STAGES.get(line.partition(" ")[0], before)
