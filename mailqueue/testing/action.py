"""What a rule does when its cue comes: steps played one after another, at some pace."""

import asyncio
import enum
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from mailqueue.testing.reply import code_of


@dataclass(frozen=True, slots=True)
class Say:
    """Send these bytes; `None` stands for the reply a correct relay would give."""

    data: bytes | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Send nothing for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Send nothing until the event is set."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Endless:
    """Send this line again and again until the client goes away."""

    line: bytes


class Ending(enum.Enum):
    """How the conversation stops; nothing that comes after it is answered."""

    CLOSE = "close"
    RESET = "reset"
    HALF_CLOSE = "half-close"
    SILENCE = "silence"


Step = Say | Wait | WaitFor | Endless | Ending


@dataclass(frozen=True, slots=True)
class Pace:
    """How bytes are cut into separate writes, and the seconds between two of them."""

    size: int = 0
    cuts: tuple[int, ...] = ()
    pause: float = 0.0

    @classmethod
    def of_rate(cls, bytes_per_second: float) -> "Pace":
        """Return the pace of so many bytes a second, one at a time where that is slow."""
        if bytes_per_second <= 0:
            raise ValueError("a drip needs a positive number of bytes per second")
        size = math.ceil(bytes_per_second / 1000)  # loops do not count finer than a millisecond
        return cls(size=size, pause=size / bytes_per_second)

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Cut `data` as this pace demands; joined again the pieces are `data`."""
        cuts = range(self.size, len(data), self.size) if self.size else self.cuts
        begin = 0
        for cut in cuts:
            if begin < cut < len(data):
                yield data[begin:cut]
                begin = cut
        yield data[begin:]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done at one cue, with the usual reply filled in.

    Attributes:
        spoken: all bytes it sends by itself.
        code: of the reply it gives, which the relay then acts upon; `None` without one.
        immediate: whether it is over in one write, so that it needs no time of its own.
        accepts: whether a message counts as accepted whatever is said.
    """

    steps: tuple[Step, ...]
    pace: Pace | None
    spoken: bytes
    code: int | None
    immediate: bool
    accepts: bool = False

    @property
    def succeeds(self) -> bool:
        """Whether it gives a 2xx."""
        return self.code is not None and 200 <= self.code <= 299


def plan(steps: Iterable[Step], usual: bytes, pace: Pace | None, *, accepts: bool) -> Plan:
    """Fill in the usual reply, at the end where no step answers, and join what is said at once."""
    listed = list(steps)
    if not any(isinstance(step, Say | Endless | Ending) for step in listed):
        listed.append(Say(None))
    joined = tuple(_joined(listed, usual))
    said = [step.data or b"" for step in joined if isinstance(step, Say)]
    spoken = b"".join(said)
    immediate = pace is None and len(said) == len(joined)
    return Plan(joined, pace, spoken, code_of(spoken), immediate, accepts)


@lru_cache(maxsize=1024)
def usual_plan(reply: bytes) -> Plan:
    """Return the plan of a relay that does what it should."""
    return Plan((Say(reply),), None, reply, code_of(reply), immediate=True)


def _joined(steps: Iterable[Step], usual: bytes) -> Iterator[Step]:
    said = b""
    for step in steps:
        if isinstance(step, Say):
            said += usual if step.data is None else step.data
            continue
        if said:
            yield Say(said)
            said = b""
        yield step
    if said:
        yield Say(said)
