"""A simulated relay: an SMTP server with moods, whose ledger is the truth."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

from tests.simulation.exchange import path
from tests.simulation.ledger import Ledger
from tests.simulation.link import Link
from tests.simulation.mood import CLOSE, GOOD, SILENCE, TAKE_AND
from tests.simulation.segments import Replies

GREY_TRIES = 2
"""How often a greylisted recipient is put off."""
FULL_AT = 2
"""How many recipients are taken beside one that is called full."""
_OFFER = ("relay.example", "SIZE 1000000", "AUTH PLAIN", "8BITMIME")


class SimulatedRelay:
    """Answers by its mood of the moment, and by who a mail is from and to.

    The first word of a recipient's local part says how that one is answered: ``ok``, ``gone``
    (550), ``grey`` (450 at first), ``never`` (450 always), ``full`` (452 beside others); a
    sender that begins with ``spam`` is answered 554 after the final dot. The number behind the
    sender's ``+`` is the message's.

    ``pipelining``: whether it offers to take several commands at once (RFC 2920).
    """

    def __init__(
        self, name: str, ledger: Ledger, chance: random.Random, *, pipelining: bool = False
    ) -> None:
        self.name = name
        self.pipelining = pipelining
        self.ledger = ledger
        self.chance = chance
        self.mood = GOOD
        self.tries: Counter[tuple[str, str]] = Counter()

    def refuses(self) -> bool:
        """Return whether nobody listens at present."""
        return not self.mood.listens

    def answer(self, link: Link) -> Conversation:
        """Take a connection."""
        return Conversation(self, link)

    def judge(self, message_id: str, recipient: str, others: int) -> str:
        """Return the reply to RCPT for one recipient of one message."""
        kind = recipient.partition("-")[0]
        tries = self.tries[message_id, recipient]
        self.tries[message_id, recipient] += 1
        if kind == "gone":
            return "550 5.1.1 no such user"
        if kind == "never" or (kind == "grey" and tries < GREY_TRIES):
            return "450 4.2.0 not now"
        if kind == "full" and others >= FULL_AT:
            return "452 4.5.3 too many recipients"
        return "250 2.1.5 ok"


class Conversation:
    """One session at the relay's end."""

    def __init__(self, relay: SimulatedRelay, link: Link) -> None:
        self._relay = relay
        self._replies = Replies(link, relay.chance, lambda: relay.mood, in_groups=relay.pipelining)
        self._unread = b""
        self._is_over = False
        self._in_content = False
        self._sender: str | None = None
        """Of the transaction that was begun, if one was."""
        self._accepted: list[str] = []
        self._step("greeting", "220 relay.example ready")
        self._replies.flush()

    def received(self, data: bytes) -> None:
        """Read what has come, as far as it is complete."""
        self._unread += data
        while not self._is_over and self._read():
            pass
        self._replies.flush()

    def lost(self) -> None:
        """Forget the session: what was not ended by a dot never was a message."""
        self._is_over = True

    # Steps

    def _read(self) -> bool:
        if self._in_content:
            return self._read_content()
        line, found, rest = self._unread.partition(b"\r\n")
        if found:
            self._unread = rest
            self._obey(line.decode())
        return bool(found)

    def _read_content(self) -> bool:
        # A lone dot ends content without a line.
        before, found, rest = (b"\r\n" + self._unread).partition(b"\r\n.\r\n")
        if found:
            self._unread, self._in_content = rest, False
            self._take(before.removeprefix(b"\r\n") + b"\r\n" if before else b"")
        return bool(found)

    def _obey(self, line: str) -> None:
        verb = line.partition(" ")[0]
        match verb:
            case "EHLO" | "HELO":
                self._sender = None
                *before, last = self._offer if verb == "EHLO" else _OFFER[:1]
                self._step("ehlo", "".join(f"250-{one}\r\n" for one in before) + f"250 {last}")
            case "AUTH":
                self._step("auth", "235 2.7.0 ok")
            case "MAIL":
                self._mail(path(line))
            case "RCPT":
                self._rcpt(path(line))
            case "DATA":
                self._data()
            case "QUIT":
                self._replies.say("221 2.0.0 bye")
                self._hang_up()
            case _:
                self._sender = None
                self._replies.say("250 2.0.0 ok")

    @property
    def _offer(self) -> tuple[str, ...]:
        return (*_OFFER, "PIPELINING") if self._relay.pipelining else _OFFER

    def _mail(self, sender: str) -> None:
        if self._sender is not None:
            self._replies.say("503 5.5.1 nested MAIL")
        elif self._step("mail", "250 2.1.0 ok"):
            self._sender, self._accepted = sender, []

    def _data(self) -> None:
        """Take content; one relay of two takes it, and refuses the dot, where it is for nobody."""
        if self._sender is None or not (self._accepted or self._goes_ahead_for_nobody):
            self._replies.say("503 5.5.1 no valid recipients")
        else:
            self._in_content = self._step("data", "354 go ahead")

    @property
    def _goes_ahead_for_nobody(self) -> bool:
        return self._relay.chance.random() < 0.5

    def _rcpt(self, recipient: str) -> None:
        if self._sender is None:
            self._replies.say("503 5.5.1 need MAIL")
            return
        usual = self._relay.judge(self._message_id, recipient, len(self._accepted))
        if self._step("rcpt", usual):
            if usual.startswith("2"):
                self._accepted.append(recipient)
            elif usual.startswith("5"):
                self._relay.ledger.refuse(self._message_id, [recipient])

    def _take(self, stuffed: bytes) -> None:
        relay, sender = self._relay, self._sender or ""
        if not self._accepted:
            self._sender = None
            self._replies.say("554 5.5.1 no valid recipients")
            return
        refusal = "554 5.7.1 spam" if sender.startswith("spam") else None
        instead = relay.mood.draw("dot", relay.chance) or refusal
        if instead is None or instead.startswith(TAKE_AND):
            digest = hashlib.sha256(_unstuffed(stuffed)).digest()
            relay.ledger.accept(self._message_id, self._accepted, digest)
        elif instead.startswith("5"):
            relay.ledger.refuse(self._message_id, self._accepted)
        self._sender, self._accepted = None, []
        self._do(instead.removeprefix(TAKE_AND) if instead else "250 2.0.0 taken")

    @property
    def _message_id(self) -> str:
        number = (self._sender or "").partition("+")[2].partition("@")[0]
        return f"<{number}@example.org>"

    def _step(self, stage: str, usual: str) -> bool:
        """Answer as usual, or as the mood has it; returns whether it was as usual."""
        instead = self._relay.mood.draw(stage, self._relay.chance)
        if instead is not None and self._paired(instead) != instead:
            instead = None
        self._do(instead or usual)
        return instead is None

    def _do(self, what: str) -> None:
        if what == CLOSE:
            self._hang_up()
        elif what == SILENCE:
            # Who does not answer this does not answer what was sent behind it either.
            self._is_over = True
        else:
            self._replies.say(self._paired(what))
            if what.startswith("421"):
                self._hang_up()

    def _paired(self, what: str) -> str:
        """Leave out a second reply where commands may be under way: nobody could notice that.

        Whoever has asked several things takes it for the reply to the next one, by the rules.
        """
        return what.partition("\r\n")[0] if self._relay.pipelining and what[3] != "-" else what

    def _hang_up(self) -> None:
        self._is_over = True
        self._replies.hang_up()


def _unstuffed(stuffed: bytes) -> bytes:
    return b"\r\n".join(line.removeprefix(b".") for line in stuffed.split(b"\r\n"))
