"""The relays of the demo: three servers on this machine, each with troubles of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from mailqueue.cli.demo.habits import habit_of
from mailqueue.cli.demo.mails import Mail
from mailqueue.testing import Cue, Rule, Script, ScriptedRelay

USER = "demo"


@dataclass(frozen=True, slots=True)
class HeldReply:
    """A final dot whose 250 the relay owes until ``release`` is called; the mail is taken."""

    rule: Rule
    event: asyncio.Event

    @property
    def is_owed(self) -> bool:
        """Whether the dot has come."""
        return self.rule.used > 0

    def release(self) -> None:
        """Let the 250 go."""
        self.event.set()


@dataclass(frozen=True, slots=True)
class Relays:
    """``main`` treats recipients by their habits, ``bulk`` greets with 554 until it is mended,
    and ``account`` wants a password.
    """

    main: ScriptedRelay
    bulk: ScriptedRelay
    account: ScriptedRelay
    greeting: Rule

    @property
    def by_name(self) -> dict[str, ScriptedRelay]:
        """The relays under the names that the configuration gives them."""
        return {"main": self.main, "bulk": self.bulk, "account": self.account}

    def learn(self, mails: Iterable[Mail]) -> None:
        """Let ``main`` treat the recipients of ``mails`` by their habits."""
        for mail in mails:
            for address in mail.recipients:
                _learn(self.main.script, mail, address)

    def hold_reply(self, address: str) -> HeldReply:
        """Let the next final dot for ``address`` wait for its 250."""
        event = asyncio.Event()
        rule = self.main.script.on(".").when(partial(_goes_to, address)).times(1)
        return HeldReply(rule.accept().wait_for(event), event)

    def mend_bulk(self) -> None:
        """Let ``bulk`` greet as it should."""
        self.bulk.script.remove(self.greeting)

    # What they saw

    def deliveries(self, address: str) -> int:
        """Return how often mail for ``address`` was taken."""
        return sum(relay.ledger.deliveries(address) for relay in self.by_name.values())

    def times_asked(self, command: str) -> int:
        """Return how often a command began with ``command``, such as ``RCPT TO:<a@b.example>``."""
        return sum(line.startswith(command) for line in self.commands())

    def commands(self) -> list[str]:
        """Return every command of every session, credentials left out."""
        sessions = (one for relay in self.by_name.values() for one in relay.ledger.sessions)
        return [line for session in sessions for line in session.commands]

    @property
    def greetings_refused(self) -> int:
        """How often ``bulk`` greeted with 554."""
        return self.greeting.used

    @property
    def logins_refused(self) -> int:
        """How often ``account`` refused the password."""
        return sum(
            "AUTH" in session.verbs and session.authenticated_as is None
            for session in self.account.ledger.sessions
        )


@asynccontextmanager
async def open_relays(password: str, tls: ssl.SSLContext | None) -> AsyncIterator[Relays]:
    """Run the relays; ``password`` is the one that ``account`` accepts.

    Raises `OSError` where no port of this machine can be listened on.
    """
    script = Script()
    greeting = script.on("CONNECT").reply("554 5.3.2 no SMTP service here, come back later")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield Relays(
            main=await enter(ScriptedRelay(hostname="main.example")),
            bulk=await enter(ScriptedRelay(script, hostname="bulk.example")),
            account=await enter(
                ScriptedRelay(
                    hostname="account.example",
                    users={USER: password},
                    require_auth=True,
                    tls=tls,
                    require_tls=tls is not None,
                )
            ),
            greeting=greeting,
        )


def _learn(script: Script, mail: Mail, address: str) -> None:
    habit = habit_of(address)
    if not habit.verb:
        return
    rule = script.on(habit.verb, address=_address(habit.verb, mail, address))
    if habit.verb in ("DATA", "."):
        rule.when(partial(_goes_to, address))
    if habit.first is not None:
        rule.times(habit.first)
    if habit.reply:
        rule.reply(habit.reply)
    else:
        rule.accept().close()


def _address(verb: str, mail: Mail, recipient: str) -> str | None:
    return {"MAIL": mail.sender, "RCPT": recipient}.get(verb)


def _goes_to(address: str, cue: Cue) -> bool:
    return address in cue.recipients
