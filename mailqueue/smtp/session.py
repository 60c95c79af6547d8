"""A session: one connection, opened step by step, that carries one transaction after another."""

from __future__ import annotations

from dataclasses import dataclass

from mailqueue.clock import Clock
from mailqueue.config.relays import RelaySettings
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Evidence, NoReply, NoReplyKind, sanitise
from mailqueue.mail.stage import Stage
from mailqueue.smtp.course import Pipelined, Stepwise
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.opening import open_wire
from mailqueue.smtp.pipeline import Pipeline
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.transaction import BeforeDot, Transacted, Transaction
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


async def open_session(
    relay: Relay,
    *,
    clock: Clock,
    transcript: Transcript | None = None,
    pipelining: bool = True,
) -> Session | Evidence:
    """Open a session with ``relay``, up to where MAIL may be sent.

    ``pipelining``: whether commands may go in groups, where the relay offers it and its
    settings allow it. Returns the evidence of why there is no session, from one of the stages
    connect to auth: that is trouble with the relay, never with a mail. So is what nobody
    foresaw: every other mail would meet it too.
    """
    try:
        opened = await open_wire(relay, transcript)
    except Exception as error:  # noqa: BLE001 - whatever it is, no mail is to blame
        detail = sanitise(f"{type(error).__name__}: {error}")
        return Evidence(Stage.CONNECT, NoReply(NoReplyKind.LOCAL, detail))
    if isinstance(opened, Evidence):
        return opened
    wire, offer = opened
    facts = _facts(relay, wire, offer, clock.token())
    settings = relay.settings
    course: Stepwise | Pipelined = Stepwise(wire, offer, settings.timeouts)
    if pipelining and settings.pipelining and offer.pipelining:
        line = Pipeline(wire.hand_over(), settings.timeouts, transcript=transcript)
        course = Pipelined(line, offer)
    return Session(facts, course, settings, clock=clock)


class Session:
    """An open session. After trouble it is not usable any more.

    It carries one transaction at a time; where commands go in groups, another one may stand
    in line behind it.
    """

    def __init__(
        self,
        facts: SessionFacts,
        course: Stepwise | Pipelined,
        settings: RelaySettings,
        *,
        clock: Clock,
    ) -> None:
        self.facts = facts
        self.messages = 0
        """How many transactions it has begun."""
        self._course = course
        self._settings = settings
        self._clock = clock
        self._opened = clock.monotonic()
        self._promised = 0

    @property
    def is_usable(self) -> bool:
        """Whether it may carry another message, now or later: in order, and within its limits."""
        return (
            self._course.is_open
            and self.messages + self._promised < self._settings.messages_per_session
            and self._clock.monotonic() - self._opened < self._settings.session_seconds
        )

    @property
    def is_connected(self) -> bool:
        """Whether whoever is under way may still get an answer."""
        return self._course.is_connected

    @property
    def has_room(self) -> bool:
        """Whether another transaction may begin now, be it behind the one under way."""
        course = self._course
        return course.under_way + self._promised < course.places and self.is_usable

    @property
    def is_at_odds(self) -> bool:
        """Whether it seems to have ended because commands were sent in groups."""
        return self._course.is_at_odds

    @property
    def is_pipelined(self) -> bool:
        """Whether commands go in groups."""
        return self._course.places > 1

    def promise(self) -> None:
        """Keep room for a transaction that begins soon."""
        self._promised += 1

    def release(self, holders: int) -> None:
        """Keep room only for those of so many holders whose transaction has not begun."""
        self._promised = min(self._promised, max(0, holders - self._course.under_way))

    def begin(
        self, envelope: Envelope, content: Content, *, before_dot: BeforeDot | None = None
    ) -> Transaction:
        """Return a transaction that has its place in the line; see `BeforeDot` for the last
        chance to stop.

        It must be run at once. Raises ValueError where nobody is to get the mail.
        """
        self._promised = max(0, self._promised - 1)
        transaction = self._course.begin(envelope, content, before_dot)
        self.messages += not transaction.is_settled
        return transaction

    async def transact(
        self, envelope: Envelope, content: Content, *, before_dot: BeforeDot | None = None
    ) -> Transacted | None:
        """Hand over one message, see `Transaction.run`."""
        return await self.begin(envelope, content, before_dot=before_dot).run()

    def rest(self) -> None:
        """Note that it lies idle: the relay may end it meanwhile, which is no trouble."""
        self._course.rest()

    async def quit(self) -> None:
        """Say goodbye, wait shortly for the answer whatever it is, and disconnect."""
        try:
            if self._course.is_open:
                await self._course.say_goodbye()
        finally:
            self.abort()

    def abort(self) -> None:
        """Disconnect at once and throw away what was not sent yet."""
        self._course.abort()


def _facts(relay: Relay, wire: Wire, offer: Offer, token: str) -> SessionFacts:
    return SessionFacts(
        id=token,
        relay=relay.name,
        host=relay.settings.host,
        peer=wire.peer,
        tls=wire.tls,
        extensions=offer.extensions,
        size_limit=offer.size_limit,
    )
