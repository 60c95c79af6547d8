"""One session of a relay: commands and bodies become cues, and cues are answered."""

from collections.abc import Callable
from functools import partial

from mailqueue.testing import conduct, foresight
from mailqueue.testing.action import Ending, Plan, usual_plan
from mailqueue.testing.body import Body
from mailqueue.testing.command import Command, parse_command
from mailqueue.testing.connection import Connection
from mailqueue.testing.conversation import Conversation
from mailqueue.testing.intake import offer_of
from mailqueue.testing.ledger import Acceptance, Ledger
from mailqueue.testing.profile import Profile
from mailqueue.testing.rule import Rule
from mailqueue.testing.script import Script
from mailqueue.testing.selector import BODY, CONNECT, CREDENTIALS, DOT, TLS, Cue

Heed = Callable[[Plan], None]
FollowUp = Callable[[], None]

_LAST_OF_GROUP = frozenset(
    {"EHLO", "DATA", "VRFY", "EXPN", "TURN", "QUIT", "NOOP", "STARTTLS", "AUTH"}
)


class Session(Connection):
    """Reads what a client sends, pipelined or not, and answers one cue after the other.

    For each cue the correct reply is worked out, the script may make something else of it, the
    code that results takes effect, and then the plan is played.
    """

    def __init__(
        self,
        profile: Profile,
        script: Script,
        ledger: Ledger,
        on_end: Callable[[Connection], None],
    ) -> None:
        super().__init__(ledger, on_end)
        self._profile = profile
        self._script = script
        self._conversation = Conversation()
        self._body: Body | None = None
        self._prepaid: dict[str, Plan] = {}  # early replies whose command has not come yet

    def _opened(self) -> None:
        if self._profile.implicit_tls:
            self._occupy(self._secure())
        else:
            self._greet()

    # Reading

    def _read_on(self) -> None:
        while self._inbox and not self._is_busy:
            progress = self._read_line() if self._body is None else self._read_body(self._body)
            if not progress:
                break

    def _read_line(self) -> bool:
        end = self._inbox.find(b"\r\n")
        if end < 0:
            return False
        line = bytes(self._inbox[:end])
        del self._inbox[: end + 2]
        if self._conversation.exchange is not None:
            self._meet_credentials(line)
        else:
            self._meet_command(parse_command(line))
        return True

    def _read_body(self, body: Body) -> bool:
        if body.octets == 0:
            self._ledger.note(BODY)
        mark = self._script.next_mark(body.octets)
        piece = bytes(self._inbox if mark is None else self._inbox[: mark - body.octets])
        del self._inbox[: body.feed(piece)]
        if body.is_complete:
            self._meet_dot(body)
        elif body.octets == mark:
            self._meet(BODY, b"", _heed_nothing)
        return True

    # Cues

    def _greet(self) -> None:
        self._ledger.note(CONNECT)
        greeting = conduct.greeting(self._profile)
        self._meet(CONNECT, greeting, lambda plan: self._conversation.heed_greeting(plan.code))

    def _meet_command(self, command: Command) -> None:
        self.record.heard(command.line)
        if self._inbox and not self._may_be_followed(command):
            self.record.hurried(command.line)
        if command.verb == "MAIL":
            self._conversation.begin_transaction()
        usual = conduct.usual_reply(self._profile, self._conversation, command)
        self._ledger.note(command.verb)
        self._meet(command.verb, usual, partial(self._heed, command), command=command)

    def _may_be_followed(self, command: Command) -> bool:
        """Whether a client may write on before this command is answered (RFC 2920 section 3.1)."""
        if command.verb in self._prepaid:
            return True
        return "PIPELINING" in self._profile.keywords and command.verb not in _LAST_OF_GROUP

    def _meet_credentials(self, line: bytes) -> None:
        self.record.heard("***")
        text = line.decode("ascii", "replace")
        usual = conduct.usual_credentials_reply(self._profile, self._conversation, text)
        self._ledger.note(CREDENTIALS)
        self._meet(CREDENTIALS, usual, self._heed_auth)

    def _meet_dot(self, body: Body) -> None:
        self.record.heard(DOT)
        self._body = None
        content = body.content
        order = len(self._ledger.offered) + 1
        usual = conduct.usual_content_reply(self._profile, self._conversation, content, order=order)
        self._ledger.note(DOT)
        self._meet(DOT, usual, partial(self._heed_dot, content), content=content)

    def _meet(
        self,
        verb: str,
        usual: bytes,
        heed: Heed,
        *,
        command: Command | None = None,
        content: bytes = b"",
    ) -> None:
        """Find out what is to be done, let it take effect, and do it."""
        prepaid = self._prepaid.pop(verb, None)
        if prepaid is not None:
            heed(prepaid)
            self._follow_up(verb, prepaid)
            return
        plan = None
        if self._script.concerns(verb):
            plan = self._choose(self._cue(verb, command, content), usual)
        plan = plan or usual_plan(usual)
        heed(plan)
        if verb == BODY and not plan.immediate:
            self._stop_reading()
        self._perform(plan, partial(self._follow_up, verb, plan))

    def _choose(self, cue: Cue, usual: bytes) -> Plan | None:
        rule = self._script.choose(cue)
        return self._use(rule, usual) if rule else None

    def _use(self, rule: Rule, usual: bytes) -> Plan:
        plan = rule.play(usual)
        self._ledger.changed()  # a test may be waiting for this rule to be used
        return plan

    def _cue(self, verb: str, command: Command | None = None, content: bytes = b"") -> Cue:
        return Cue(
            verb,
            session=self.record.number,
            transaction=self._conversation.transactions,
            line=command.line if command else "",
            address=command.path.address if command and command.path else None,
            octets=self._body.octets if self._body else len(content),
            mail=self._conversation.mail,
            content=content,
        )

    # Effects

    def _heed(self, command: Command, plan: Plan) -> None:
        if command.verb == "AUTH":
            self._heed_auth(plan)
            return
        self._conversation.heed(command, plan.code)
        if command.verb == "DATA" and plan.code is not None and 300 <= plan.code <= 399:
            self._body = Body()

    def _heed_auth(self, plan: Plan) -> None:
        exchange = self._conversation.exchange
        if exchange is not None and exchange.claim is not None:
            self.record.tried(exchange.claim)
        self._conversation.heed_auth(plan.code)
        self.record.authenticated_as = self._conversation.user

    def _heed_dot(self, content: bytes, plan: Plan) -> None:
        offer = offer_of(self._ledger, self.record, self._conversation, content, plan)
        self._conversation.end_transaction()
        if isinstance(offer, Acceptance):
            self.record.noticed(f"accepted, number {offer.order}")
        self._ledger.enter(offer)

    # Playing

    def _perform(self, plan: Plan, follow_up: FollowUp) -> None:
        if plan.immediate:
            self._outbox.append(plan.spoken)
            follow_up()
        else:
            self._occupy(self._play(plan, follow_up))

    async def _play(self, plan: Plan, follow_up: FollowUp) -> bool:
        if not await self._wire.play(plan):
            return False
        self._is_busy = False
        if self._is_stalled:
            self._resume_reading()
        follow_up()
        return True

    def _follow_up(self, verb: str, plan: Plan) -> None:
        """Do what comes once the reply to `verb` is out."""
        if verb == "QUIT" and plan.succeeds:
            self._end(Ending.CLOSE)
        elif verb == "STARTTLS" and plan.succeeds and self._profile.tls is not None:
            self._occupy(self._secure())
        elif self._script.foretells:
            self._foretell(foresight.after(verb, plan.code))

    def _foretell(self, upcoming: tuple[str, ...]) -> None:
        """Play an early rule for a command that may come next."""
        for verb in upcoming:
            if verb in self._prepaid or not self._script.concerns(verb):
                continue
            cue = self._cue(verb)
            cue.transaction += verb == "MAIL"
            rule = self._script.foretell(cue)
            if rule is not None:
                plan = self._use(rule, foresight.usual_reply(verb))
                self._prepaid[verb] = plan
                self._perform(plan, _nothing)
                return

    # TLS

    async def _secure(self) -> bool:
        """Let the handshake take place, unless the script has something else to say."""
        assert self._profile.tls is not None
        self._inbox.clear()  # RFC 3207 section 4.2: what came before TLS is not to be believed
        self._ledger.note(TLS)
        if not await self._may_shake_hands() or not await self._shake_hands(self._profile.tls):
            return False
        self._conversation.secure()
        self.record.authenticated_as = None
        self._is_busy = False
        if self._profile.implicit_tls:
            self._greet()
        else:
            self._foretell(foresight.after(TLS, None))
        return True

    async def _may_shake_hands(self) -> bool:
        plan = self._choose(self._cue(TLS), b"")
        if plan is None:
            return True
        return await self._wire.play(plan) and not plan.spoken


def _heed_nothing(_plan: Plan) -> None:
    """BODY changes nothing by itself."""


def _nothing() -> None:
    """An early reply is followed up when its command comes."""
