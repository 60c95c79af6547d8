"""The replies of a relay on their way out: one by one, or as a group in any segments."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.simulation.link import Link
from tests.simulation.mood import Mood


class Replies:
    """Sends replies in their order, each after the time that it took to think of it.

    Where the relay answers groups of commands (RFC 2920), replies to one group are also sent as
    one segment, or cut anywhere: in the middle of a line, or of its end.
    """

    def __init__(
        self, link: Link, chance: random.Random, mood: Callable[[], Mood], *, in_groups: bool
    ) -> None:
        self._link = link
        self._chance = chance
        self._mood = mood
        self._in_groups = in_groups
        self._gathered: list[tuple[bytes, float]] = []

    def say(self, reply: str) -> None:
        """Answer one command."""
        pause = self._chance.expovariate(1.0) * self._mood().pause
        self._gathered.append((reply.encode() + b"\r\n", pause))

    def flush(self) -> None:
        """Send what was said since the last time."""
        gathered, self._gathered = self._gathered, []
        for segment, pause in self._cut(gathered) if self._in_groups else gathered:
            self._link.send_to_process(segment, after=pause)

    def hang_up(self) -> None:
        """Send what was said, and end the connection."""
        self.flush()
        self._link.send_to_process(None)

    def _cut(self, replies: list[tuple[bytes, float]]) -> list[tuple[bytes, float]]:
        how = self._chance.choice(("apart", "together", "anywhere"))
        if how == "apart" or not replies:
            return replies
        whole = b"".join(reply for reply, _ in replies)
        longest = max(pause for _, pause in replies)
        if how == "together":
            return [(whole, longest)]
        at = self._chance.randrange(1, len(whole))
        return [(whole[:at], longest), (whole[at:], longest)]
