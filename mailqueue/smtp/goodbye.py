"""QUIT on a pipeline: the last turn of its line."""

from __future__ import annotations

import asyncio
from typing import Final

from mailqueue.failpoint import reach
from mailqueue.mail.reply import NoReply, Reply
from mailqueue.mail.stage import Stage
from mailqueue.smtp.pipeline import Pipeline


class Goodbye:
    """Says QUIT and waits shortly for an answer, whatever it is."""

    dot_written: Final = False
    has_left: Final = False
    is_in_group: Final = False
    awaits_last: Final = True

    def __init__(self, line: Pipeline) -> None:
        self.has_asked = False
        self.patience = line.timeouts.quit
        self._line = line
        self._heard: asyncio.Future[None] = line.loop.create_future()

    async def say(self) -> None:
        """Return when it has been answered, or cannot be any more."""
        self._line.join(self)
        self._line.advance()
        await self._heard
        reach("after", Stage.QUIT)

    def recall_dot(self) -> None:
        """There is none."""

    def ask(self, *, reset: bool) -> bytes:  # noqa: ARG002 - an envelope ends with the session
        """Return the command."""
        self.has_asked = True
        self._line.show_sent("QUIT")
        reach("before", Stage.QUIT)
        return b"QUIT\r\n"

    def hear(self, reply: Reply) -> None:
        """Take the answer."""
        self._line.end(reply)

    def lost(self, last_word: Reply | NoReply, *, void: bool) -> None:  # noqa: ARG002 - all the same
        """Take the end of the connection."""
        if not self._heard.done():
            self._heard.set_result(None)
