"""A pipeline: the connection as two messages share it, one behind the other (RFC 2920)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Protocol

from mailqueue.config.pacing import Timeouts
from mailqueue.mail.reply import (
    MalformedReplyError,
    NoReply,
    NoReplyKind,
    Reply,
    printable,
    sanitise,
    take_reply,
)
from mailqueue.smtp.deadline import Deadline
from mailqueue.smtp.evidence import no_reply
from mailqueue.smtp.outlet import Outlet
from mailqueue.smtp.tap import MAX_REPLY_OCTETS, unasked
from mailqueue.smtp.transcript import Transcript
from mailqueue.smtp.wire import Connection


class Turn(Protocol):
    """One who stands in the line of a pipeline."""

    @property
    def dot_written(self) -> bool:
        """Whether its final dot may have left this machine."""
        ...

    @property
    def has_asked(self) -> bool:
        """Whether its commands have been written, so that replies may come for it."""
        ...

    @property
    def has_left(self) -> bool:
        """Whether nobody waits for its replies any more."""
        ...

    @property
    def is_in_group(self) -> bool:
        """Whether the first reply to its commands is here and the last one is not."""
        ...

    @property
    def patience(self) -> float:
        """Seconds to wait for its next reply; infinite where none is due."""
        ...

    @property
    def awaits_last(self) -> bool:
        """Whether the next reply is the last one that it has asked for."""
        ...

    def recall_dot(self) -> None:
        """Note that its final dot has been thrown away before it left."""
        ...

    def ask(self, *, reset: bool) -> bytes:
        """Return its commands, which will be written now; with RSET before them or without."""
        ...

    @property
    def hear(self) -> Callable[[Reply], None]:
        """What takes the next reply."""
        ...

    def lost(self, last_word: Reply | NoReply, *, void: bool) -> None:
        """Take the end of the connection. ``void``: the replies so far were not its own."""
        ...


class Pipeline(asyncio.Protocol):
    """Has the connection in place of aiosmtplib's protocol and counts the replies.

    Replies carry no name: the next one is for the first turn in the line. What comes although
    nobody has asked, or behind the last reply that was asked for, or is no reply, ends the
    connection, and ``last_word`` keeps the reason. At any time at most one final dot is
    unanswered: who is behind it gets its 354 after that answer.
    """

    def __init__(
        self, connection: Connection, timeouts: Timeouts, *, transcript: Transcript | None = None
    ) -> None:
        self.timeouts = timeouts
        self.outlet = Outlet(connection)
        self.deadline = Deadline(self._late, shortest=_shortest(timeouts))
        self.last_word: Reply | NoReply | None = connection.tap.last_word
        """How the session ended, or None while it goes on."""
        self.was_used = False
        """Whether it has carried a message or lain idle: then the relay may have ended it."""
        self.holds_envelope = False
        """Whether the relay keeps an envelope that RSET must clear before the next MAIL."""
        self.is_at_odds = False
        """Whether the relay has shown that it does not keep commands and replies in pairs."""
        self._former = connection.tap
        self._transcript = transcript
        self.loop = asyncio.get_running_loop()
        self._line: deque[Turn] = deque()
        self._received = b""
        self._chained: Turn | None = None
        """Who has last asked behind somebody else's final dot."""
        self._is_leaving = False
        self._has_finished = False
        connection.transport.set_protocol(self)

    @property
    def is_open(self) -> bool:
        """Whether another turn may join the line."""
        return self.last_word is None and not self._is_leaving and self.outlet.is_open

    @property
    def under_way(self) -> int:
        """How many turns stand in the line."""
        return len(self._line)

    @property
    def is_heard_out(self) -> bool:
        """Whether no reply has been begun and not been ended."""
        return not self._received

    def is_behind(self, turn: Turn) -> bool:
        """Whether ``turn`` stands in the line, behind another."""
        return turn in self._line and turn is not self._line[0]

    def join(self, turn: Turn) -> None:
        """Let ``turn`` take the last place in the line."""
        self._line.append(turn)

    def advance(self) -> None:
        """Let the turn ask whose time has come, if there is one.

        That is the first in the line, or the one behind it once the final dot of the first
        is written: its commands will be read behind that dot.
        """
        line = self._line
        if self.last_word is not None or not line:
            return
        if not line[0].has_asked:
            self.outlet.write(line[0].ask(reset=self.holds_envelope))
            self.deadline.set(line[0].patience)
        elif line[0].dot_written and (behind := self._asked_behind()):
            self.outlet.write(behind)

    def finish_content(self, block: bytes, dot: bytes, *, chains: bool = True) -> None:
        """Write the end of the first turn's content and its final dot, and in the same breath
        what the one behind it asks, unless the first has something to ask after it.
        """
        self.outlet.write_dot(block, dot, self._asked_behind() if chains else b"")
        self.deadline.set(self.timeouts.end_of_data)

    def finished(self) -> None:
        """Let the next one come: the first has had its last reply."""
        self._line.popleft()
        self._has_finished = True
        if self._line and self._line[0].has_left:
            self.end(NoReply(NoReplyKind.ABANDONED, "a message was cut short"))
        else:
            self.advance()

    def soon(self, proceed: Callable[[], None]) -> None:
        """Let the turn ``proceed`` that may send its content.

        Where another turn has just ended, somebody may be about to take the place behind this
        one. He is let in first, so that his commands go with the content in one write.
        """
        if self._has_finished:
            self.loop.call_soon(proceed)
        else:
            proceed()

    def leave(self, turn: Turn) -> None:
        """Let a turn go that was cut short from our side.

        The first one takes the connection with it. One behind it leaves no trace if it has not
        asked; else the connection ends as soon as the one before it has its answer.
        """
        if turn not in self._line:
            return
        if turn is self._line[0]:
            self.end(NoReply(NoReplyKind.ABANDONED, "a message was cut short"))
        elif turn.has_asked:
            self._is_leaving = True
        else:
            self._line.remove(turn)

    @property
    def is_watched(self) -> bool:
        """Whether somebody wants to see what is written."""
        return self._transcript is not None

    def show_sent(self, *lines: str) -> None:
        """Tell whoever watches what is being written."""
        if self._transcript is not None:
            for line in lines:
                self._transcript.sent(line)

    def end(self, last_word: Reply | NoReply, *, void: bool = False) -> None:
        """Cut the connection, throw away what was not sent, and tell everybody in the line.

        A dot that is thrown away with it was not written. ``void``: the replies to the first
        turn were not its own.
        """
        if self.last_word is not None:
            return
        self.last_word = last_word
        line, self._line = self._line, deque()
        self.is_at_odds = self.is_at_odds or self._is_groups_fault(last_word, line)
        if line and line[0].dot_written and self.outlet.holds_dot:
            line[0].recall_dot()
        self.deadline.cancel()
        self.outlet.abort()
        if self._transcript is not None and line and isinstance(last_word, NoReply):
            self._transcript.received(str(last_word))
        for place, turn in enumerate(line):
            turn.lost(last_word, void=void and place == 0)

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        """Hand each reply to the turn that it is for."""
        if self.last_word is not None:
            return
        try:
            self._read(data)
        except MalformedReplyError as error:
            self._disagree(NoReply(NoReplyKind.MALFORMED, str(error)))
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it
            self.end(NoReply(NoReplyKind.LOCAL, sanitise(f"{type(error).__name__}: {error}")))

    def eof_received(self) -> bool:
        """End the connection: a relay that writes no more can answer no more."""
        self.end(NoReply(NoReplyKind.LOST, "the relay closed the connection"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Keep the reason, and tell the protocol that had the connection before."""
        self.end(no_reply(exc or ConnectionError("the connection was closed")))
        self._former.connection_lost(exc)

    def pause_writing(self) -> None:
        """The transport holds as much as it wants to."""
        self.outlet.pause()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self.outlet.resume()

    # Steps

    def _asked_behind(self) -> bytes:
        """Return what the one behind the first asks, if there is one who has not asked yet."""
        if len(self._line) < 2 or self._line[1].has_asked:
            return b""
        self._chained = self._line[1]
        return self._chained.ask(reset=False)

    def _read(self, data: bytes) -> None:
        line = self._line
        if not line or not line[0].has_asked:
            self._disagree(unasked(data))
            return
        if self._received:
            data, self._received = self._received + data, b""
        begin, whole = 0, len(data)
        self._has_finished = False
        while begin < whole and (taken := take_reply(data, begin)) is not None:
            reply, end = taken
            if end - begin > MAX_REPLY_OCTETS:
                # Also where all of it came at once: what it means must not depend on the segments.
                raise _too_long()
            if self._transcript is not None:
                self._show_received(self._transcript, data[begin:end])
            if end < whole and self._is_last_awaited:
                self._end_surplus(reply, data[end:])
                return
            line[0].hear(reply)
            if self.last_word is not None:
                return
            begin = end
        self._received = data[begin:]
        if whole - begin > MAX_REPLY_OCTETS:
            raise _too_long()
        if begin:
            self.deadline.set(line[0].patience if line else inf)
        self.outlet.change()

    @property
    def _is_last_awaited(self) -> bool:
        line = self._line
        return line[0].awaits_last and not (len(line) > 1 and line[1].has_asked)

    def _end_surplus(self, reply: Reply, rest: bytes) -> None:
        what = f"{reply}, and behind it: {printable(rest)[:200]}"
        # Only a 354 proves that the replies before it stood in their places.
        self._disagree(NoReply(NoReplyKind.MALFORMED, what), void=reply.code != 354)

    def _disagree(self, last_word: Reply | NoReply, *, void: bool = False) -> None:
        self.is_at_odds = isinstance(last_word, NoReply)
        self.end(last_word, void=void)

    def _is_groups_fault(self, last_word: Reply | NoReply, line: Sequence[Turn]) -> bool:
        """Whether it looks as if the relay had choked on what was written ahead of its replies."""
        if not (line and isinstance(last_word, NoReply)):
            return False
        first, is_late = line[0], last_word.kind is NoReplyKind.TIMEOUT
        if not (is_late or last_word.kind is NoReplyKind.LOST):
            return False
        is_chain = len(line) > 1 and line[1].has_asked
        return first.is_in_group or is_chain or (is_late and first is self._chained)

    def _late(self) -> None:
        self.end(NoReply(NoReplyKind.TIMEOUT, "no answer in time"))

    @staticmethod
    def _show_received(transcript: Transcript, raw: bytes) -> None:
        lines = raw.removesuffix(b"\n").split(b"\n")
        transcript.received("\n".join(printable(line.strip()) for line in lines))


def _too_long() -> MalformedReplyError:
    return MalformedReplyError(f"a reply of over {MAX_REPLY_OCTETS} octets")


def _shortest(timeouts: Timeouts) -> float:
    return min(
        timeouts.mail,
        timeouts.rcpt,
        timeouts.data,
        timeouts.block,
        timeouts.end_of_data,
        timeouts.rset,
        timeouts.quit,
    )
