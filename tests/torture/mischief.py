"""What the relay of a torture does: it refuses, defers, hangs up and loses replies, by a seed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from mailqueue.testing import Cue, Script
from tests.torture.mails import REFUSED


def misbehave(script: Script, chance: Random) -> None:
    """Give ``script`` some of everything that relays do."""

    def once_in(times: int) -> Callable[[Cue], bool]:
        return lambda _cue: chance.randrange(times) == 0

    behave(script)
    script.on("CONNECT").when(once_in(8)).reply("554 5.3.2 not now").close()
    script.on("MAIL").when(once_in(40)).reply("451 4.3.0 later")
    script.on("MAIL").when(once_in(3)).delay(0.01)
    script.on("RCPT").when(once_in(20)).reply("450 4.2.1 greylisted")
    script.on("DATA").when(once_in(30)).reply("451 4.3.0 later")
    script.on(".").when(once_in(30)).reply("451 4.3.0 later")
    script.on(".").when(once_in(30)).accept().close()
    script.on(".").when(once_in(50)).close()
    script.on(".").when(once_in(2)).delay(0.02)


def behave(script: Script) -> None:
    """Let ``script`` be that of a relay in order, which knows some addresses not."""
    script.clear()
    script.on("RCPT", address=REFUSED).reply("550 5.1.1 no such user")
