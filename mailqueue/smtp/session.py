"""A session: one connection, opened step by step, that carries one transaction after another."""

from __future__ import annotations

from dataclasses import dataclass

from mailqueue.clock import Clock
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, Reply, sanitise
from mailqueue.mail.stage import Stage
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.opening import open_wire
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.transaction import BeforeDot, Transaction
from mailqueue.smtp.transcript import Transcript
from mailqueue.smtp.wire import Wire


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What attempts keep of the session that made them.

    ``peer`` is address and port; ``tls`` the version, such as "TLSv1.3", or empty;
    ``size_limit`` in octets, None where the relay declares none.
    """

    id: str
    relay: str
    host: str
    peer: str
    tls: str
    extensions: frozenset[str]
    size_limit: int | None


@dataclass(frozen=True, slots=True)
class Transacted:
    """A transaction that was carried out: one finding per recipient, in their order."""

    findings: tuple[Finding, ...]


async def open_session(
    relay: Relay, *, clock: Clock, transcript: Transcript | None = None
) -> Session | Evidence:
    """Open a session with ``relay``, up to where MAIL may be sent.

    Returns the evidence of why there is none, from one of the stages connect to auth:
    that is trouble with the relay, never with a mail. So is what nobody foresaw: every other
    mail would meet it too.
    """
    try:
        opened = await open_wire(relay, transcript)
    except Exception as error:  # noqa: BLE001 - whatever it is, no mail is to blame
        detail = sanitise(f"{type(error).__name__}: {error}")
        return Evidence(Stage.CONNECT, NoReply(NoReplyKind.LOCAL, detail))
    return opened if isinstance(opened, Evidence) else Session(relay, *opened, clock=clock)


class Session:
    """An open session. One transaction at a time; after trouble it is not usable any more."""

    def __init__(self, relay: Relay, wire: Wire, offer: Offer, *, clock: Clock) -> None:
        self.messages = 0
        """How many transactions it has begun."""
        self.facts = SessionFacts(
            id=clock.token(),
            relay=relay.name,
            host=relay.settings.host,
            peer=wire.peer,
            tls=wire.tls,
            extensions=offer.extensions,
            size_limit=offer.size_limit,
        )
        self._settings = relay.settings
        self._wire = wire
        self._offer = offer
        self._clock = clock
        self._opened = clock.monotonic()
        self._running: Transaction | None = None
        self._has_rested = False
        self._needs_reset = False

    @property
    def is_usable(self) -> bool:
        """Whether it may carry another message: in order, and within its limits."""
        age = self._clock.monotonic() - self._opened
        return (
            self._wire.is_open
            and self.messages < self._settings.messages_per_session
            and age < self._settings.session_seconds
        )

    @property
    def dot_written(self) -> bool:
        """Whether the final dot of the running transaction may have left this machine.

        Asked by who wants to stop: before it nothing was accepted, after it only the reply tells.
        """
        return self._wire.dot_written

    async def transact(
        self, envelope: Envelope, content: Content, *, before_dot: BeforeDot | None = None
    ) -> Transacted | None:
        """Hand over one message; see `BeforeDot` for the last chance to stop.

        Returns None where a session that was used before turned out to be stale at its first
        command: nothing was asked of the message, so open another at once. Cancelled, it
        aborts the connection, and ``dot_written`` tells what that may mean.
        """
        # First: were the next line to raise, `interrupt` would tell of the message before.
        self._running, self._wire.dot_written = None, False
        self._running = transaction = Transaction(
            self._wire,
            self._offer,
            envelope=envelope,
            content=content,
            timeouts=self._settings.timeouts,
        )
        if transaction.is_settled:
            return Transacted(transaction.findings())
        try:
            return await self._conduct(transaction, before_dot)
        except BaseException:
            self.abort()
            raise

    def interrupt(self, answer: NoReply) -> tuple[Finding, ...] | None:
        """Disconnect, and give everybody whom the relay has not answered ``answer`` instead.

        For a transaction that was cancelled or raised. Its stage is that of the final dot if
        that may have left this machine. Returns None where no transaction was begun.
        """
        self.abort()
        if self._running is None:
            return None
        return self._running.interrupted(answer)

    def rest(self) -> None:
        """Note that it lies idle: the relay may end it meanwhile, which is no trouble."""
        self._has_rested = True

    async def quit(self) -> None:
        """Say goodbye, wait shortly for the answer whatever it is, and disconnect."""
        try:
            if self._wire.is_open:
                await self._wire.ask(Stage.QUIT, "QUIT", timeout=self._settings.timeouts.quit)
        finally:
            self.abort()

    def abort(self) -> None:
        """Disconnect at once and throw away what was not sent yet."""
        self._wire.abort()

    # Steps

    async def _conduct(
        self, transaction: Transaction, before_dot: BeforeDot | None
    ) -> Transacted | None:
        may_be_stale = self._has_rested or self.messages > 0
        self.messages += 1
        timeouts = self._settings.timeouts
        if self._needs_reset:
            if not await self._reset():
                return None
            may_be_stale = False
        opening = await transaction.mail(timeout=timeouts.rset if may_be_stale else timeouts.mail)
        if may_be_stale and _is_stale(opening):
            self.abort()
            return None
        await transaction.go_on(opening, before_dot)
        self._needs_reset = transaction.holds_envelope
        return Transacted(transaction.findings())

    async def _reset(self) -> bool:
        evidence = await self._wire.ask(Stage.RSET, "RSET", timeout=self._settings.timeouts.rset)
        match evidence.answer:
            case Reply(is_positive=True):
                self._needs_reset = False
                return True
        self.abort()
        return False


def _is_stale(evidence: Evidence) -> bool:
    """Whether the relay had given the session up: it says so, or nothing that can be used."""
    match evidence.answer:
        case NoReply() | Reply(code=421) | Reply(code=503):
            return True
    return False
