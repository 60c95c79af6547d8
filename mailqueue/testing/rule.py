"""One rule of a script: a selector, and what to do when its cue comes."""

import asyncio
from collections.abc import Callable
from typing import Self

from mailqueue.testing.action import Ending, Endless, Pace, Plan, Say, Step, Wait, WaitFor, plan
from mailqueue.testing.foresight import FORESEEABLE
from mailqueue.testing.reply import spell
from mailqueue.testing.selector import BODY, Cue, Selector


class Rule:
    """What `Script.on()` returns: every method adds to the rule and returns it, to be chained.

    Steps (`reply`, `raw`, `then`, `as_usual`, `delay`, `wait_for`, `endless`, `close`, `reset`,
    `half_close`, `silence`) are played in the order written. A rule whose steps neither say
    anything nor end the session gives the usual reply after them, so `on("MAIL").delay(2)` is a
    slow relay and `on("MAIL").close()` one that hangs up without a word.

    The relay then acts upon the code that was said: a 2xx to RCPT makes a recipient, a 3xx to
    DATA begins a body, a 2xx to "." is an acceptance in the ledger.

    Attributes:
        used: how often the rule has been played.
    """

    def __init__(self, selector: Selector) -> None:
        self.selector = selector
        self.used = 0
        self.is_early = False
        self._limit: int | None = None
        self._steps: list[Step] = []
        self._pace: Pace | None = None
        self._accepts = False

    def __repr__(self) -> str:
        return f"<Rule {self.selector} used={self.used} {self._steps}>"

    # Narrowing

    def when(self, predicate: Callable[[Cue], bool]) -> Self:
        """Narrow the rule to the cues for which `predicate` is true."""
        self.selector.predicates.append(predicate)
        return self

    def after(self, *, octets: int) -> Self:
        """Let a BODY rule wait until so many octets of the body, as sent, have been read."""
        if self.selector.verb != BODY or octets < 1:
            raise ValueError("after(octets=...) counts the octets of BODY, from 1")
        self.selector.octets = octets
        return self

    def times(self, count: int) -> Self:
        """Let the rule be used so often; later rules, then the usual conduct, come after it."""
        self._limit = count
        return self

    # Steps

    def reply(self, *lines: str | bytes) -> Self:
        """Send these reply lines; CRLF is added to each, and nothing is checked.

        A 421 hangs up only if `close()` follows: there are relays that say it and stay.
        """
        return self.raw(spell(*lines))

    def raw(self, data: bytes) -> Self:
        """Send exactly these bytes; `raw(b"")` leaves the command without any answer."""
        return self._play(Say(data))

    def as_usual(self) -> Self:
        """Send what a correct relay would."""
        return self._play(Say(None))

    def then(self, *, extra: bytes) -> Self:
        """Send more bytes in the same segment, after the usual reply if none was given yet."""
        if not any(isinstance(step, Say) for step in self._steps):
            self.as_usual()
        return self.raw(extra)

    def endless(self, line: str = "250-and another thing") -> Self:
        """Send this line again and again, as fast as the client reads, until it goes away."""
        return self._play(Endless(spell(line)))

    def delay(self, seconds: float) -> Self:
        """Wait; what the client sends meanwhile is read afterwards."""
        return self._play(Wait(seconds))

    def wait_for(self, event: asyncio.Event) -> Self:
        """Wait until the test sets `event`: a relay held at one place without any sleep."""
        return self._play(WaitFor(event))

    def close(self) -> Self:
        """Close the connection in good order (FIN)."""
        return self._play(Ending.CLOSE)

    def reset(self) -> Self:
        """Reset the connection (RST)."""
        return self._play(Ending.RESET)

    def half_close(self) -> Self:
        """Close our direction only (FIN); the client may go on writing and is never answered."""
        return self._play(Ending.HALF_CLOSE)

    def silence(self) -> Self:
        """Never answer again; during BODY stop reading too, so that the client's upload stalls."""
        return self._play(Ending.SILENCE)

    # Manner

    def split_every(self, size: int, *, pause: float = 0.001) -> Self:
        """Send everything in writes of `size` bytes, `pause` seconds apart."""
        return self._at(Pace(size=size, pause=pause))

    def split_at(self, *offsets: int, pause: float = 0.001) -> Self:
        """Cut what is sent at these offsets, and pause at each."""
        return self._at(Pace(cuts=tuple(sorted(offsets)), pause=pause))

    def drip(self, *, bytes_per_second: float) -> Self:
        """Send slowly: no timeout per byte ever strikes, one per reply must."""
        return self._at(Pace.of_rate(bytes_per_second))

    def early(self) -> Self:
        """Send the reply before the command arrives, right after the reply to the one before it.

        The command itself is then not answered, though its reply takes effect. Add a `delay` to
        speak after the client has seen the earlier reply: `on("MAIL", transaction=2).early()
        .delay(0.01).reply("421 4.4.2 idle").close()` is a relay that drops idle sessions.
        """
        if self.selector.verb not in FORESEEABLE:
            raise ValueError(f"nothing tells that {self.selector.verb} comes next")
        if self.selector.address is not None:
            raise ValueError("an early reply cannot know the address that is going to come")
        self.is_early = True
        return self

    def accept(self) -> Self:
        """Take the message into the ledger whatever is answered: a reply that gets lost.

        `on(".").accept().close()` is the relay whose 250 never arrived.
        """
        self._accepts = True
        return self

    # Playing, for the relay

    @property
    def is_spent(self) -> bool:
        """Whether `times` has been used up."""
        return self._limit is not None and self.used >= self._limit

    @property
    def watches(self) -> bool:
        """Whether it has to be shown every cue, because it counts them."""
        return self.selector.occurrence is not None

    def play(self, usual: bytes) -> Plan:
        """Count one use and return what to do, with the usual reply filled in."""
        self.used += 1
        return plan(self._steps, usual, self._pace, accepts=self._accepts)

    def _play(self, step: Step) -> Self:
        self._steps.append(step)
        return self

    def _at(self, pace: Pace) -> Self:
        self._pace = pace
        return self
