"""A transaction in two groups: what is asked, then the content, and behind it the next one's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from math import inf

from mailqueue.failpoint import reach
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import Answer, Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.stage import Stage
from mailqueue.smtp.evidence import is_stale
from mailqueue.smtp.offer import Offer
from mailqueue.smtp.pipeline import Pipeline
from mailqueue.smtp.transaction import SIZE_REFUSALS, BeforeDot, Transacted, Transaction, told
from mailqueue.smtp.upload import BLOCK_OCTETS, ending, stuffed, stuffed_block


class PipelinedTransaction(Transaction):
    """A turn in the line of a pipeline.

    Whoever is asked for stands in one group: MAIL, each RCPT, DATA. The answers of RCPT become
    findings only with the reply to DATA. A reply of a class that cannot stand there shows that
    the replies before it were not the ones to these commands either: then they mean nothing,
    since nobody's refusal may become somebody else's.
    """

    __slots__ = (
        "_asked", "_dot_written", "_go", "_is_done", "_is_only_dot", "_is_refused", "_is_stale",
        "_leave_to_finish", "_line", "_mail_line", "_may_be_stale", "_rcpt",
        "_with_size", "_woken",
        "awaits_last", "has_asked", "has_left", "hear", "patience", "stage",
    )  # fmt: skip

    def __init__(
        self,
        envelope: Envelope,
        content: Content,
        *,
        line: Pipeline,
        offer: Offer,
        before_dot: BeforeDot | None = None,
    ) -> None:
        super().__init__(envelope, content, offer=offer, before_dot=before_dot)
        self._dot_written = False
        self.has_asked = False
        self.has_left = False
        self.awaits_last = False
        self.patience = inf
        self.stage = Stage.MAIL
        self._line = line
        self._may_be_stale = line.was_used
        self._asked = self._dialogue.unanswered
        self._rcpt: list[Reply] = []
        """The replies to RCPT so far, in the order of ``_asked``."""
        self.hear: Callable[[Reply], None] = self._hear_mail
        self._with_size = True
        self._is_refused = False
        """Whether MAIL was refused, so that what follows are consequences."""
        self._is_only_dot = False
        """Whether a content that nobody gets has been ended at once (RFC 2920 section 3.1)."""
        self._go = False
        """Whether the content may be sent."""
        self._leave_to_finish: Awaitable[bool] | None = None
        """What `BeforeDot` has yet to say."""
        self._is_done = False
        self._is_stale = False
        self._woken: asyncio.Future[None] | None = None
        if self._asked:
            line.was_used = True
            if line.last_word is None:
                line.join(self)

    @property
    def dot_written(self) -> bool:
        """Whether the final dot may have left this machine."""
        return self._dot_written

    @property
    def is_behind(self) -> bool:
        """Whether it stands in line and is not the first there."""
        return self._line.is_behind(self)

    def recall_dot(self) -> None:
        """Note that the final dot has been thrown away before it left."""
        self._dot_written = False

    async def run(self) -> Transacted | None:
        """Hand over the message, see `Transaction.run`."""
        if not self._asked:
            return self._transacted()
        try:
            if self._line.last_word is not None and not self._is_done:
                self.lost(self._line.last_word, void=False)
            self._line.advance()
            await self._until_heard()
            if self._go and not self._is_done:
                await self._send_content()
        except BaseException:
            self._leave()
            raise
        finally:
            leave = self._leave_to_finish
            if leave is not None and isinstance(leave, Coroutine):
                leave.close()
        if self._dot_written:
            reach("after", Stage.END_OF_DATA)
        return None if self._is_stale else self._transacted()

    def interrupt(self, answer: NoReply) -> tuple[Finding, ...]:
        """Leave the line, see `Transaction.interrupt`."""
        self._leave()
        self._take_rcpt()
        return self._close_ourselves(answer)

    def _leave(self) -> None:
        if not self._is_done:
            self._end()
            self.has_left = True
            self._line.leave(self)

    def _end(self) -> None:
        self._is_done = True
        # What it heard by belongs to itself: nobody but the garbage collector would let it go.
        self.hear = _hear_nothing

    async def _until_heard(self) -> None:
        if not (self._go or self._is_done):
            self._woken = self._line.loop.create_future()
            await self._woken
            self._woken = None

    # What is asked

    def ask(self, *, reset: bool) -> bytes:
        """Return the group, see `Turn.ask`."""
        self.has_asked = True
        timeouts = self._line.timeouts
        commands = []
        if reset:
            reach("before", Stage.RSET)
            commands.append("RSET")
            self._await(Stage.RSET, self._hear_reset, timeouts.rset)
        else:
            self._await_mail()
        reach("before", Stage.MAIL)
        self._mail_line = self._mail_command(with_size=self._with_size)
        commands.append(self._mail_line)
        for position in self._asked:
            reach("before", Stage.RCPT)
            commands.append(self._rcpt_command(position))
        reach("before", Stage.DATA)
        commands.append("DATA")
        if self._line.is_watched:
            self._line.show_sent(*commands)
        commands.append("")
        return "\r\n".join(commands).encode()

    @property
    def is_in_group(self) -> bool:
        """Whether the first reply to the group is here and the last one is not."""
        is_at_data = self.stage is Stage.DATA and not (self._go or self._is_only_dot)
        return self.stage is Stage.RCPT or is_at_data

    def _await(self, stage: Stage, listen: Callable[[Reply], None], patience: float) -> None:
        self.stage = stage
        self.hear = listen
        self.patience = patience

    def _await_mail(self) -> None:
        timeouts = self._line.timeouts
        patience = timeouts.rset if self._may_be_stale else timeouts.mail
        self._await(Stage.MAIL, self._hear_mail, patience)

    # What is answered

    def _hear_reset(self, reply: Reply) -> None:
        reach("after", Stage.RSET)
        if reply.is_positive:
            self._line.holds_envelope = False
            self._may_be_stale = False
            self._await_mail()
        else:
            self._is_stale = True
            self._conclude_and_end(reply)

    def _hear_mail(self, reply: Reply) -> None:
        reach("after", Stage.MAIL)
        if self._may_be_stale and is_stale(reply):
            self._is_stale = True
            self._conclude_and_end(reply)
        elif reply.is_positive:
            self._line.holds_envelope = True
            self._await(Stage.RCPT, self._hear_rcpt, self._line.timeouts.rcpt)
        elif not _is_refusal(reply):
            self._break_off(reply)
        else:
            self._refuse(reply)
            self._await(Stage.RCPT, self._hear_rcpt, self._line.timeouts.rcpt)

    def _refuse(self, reply: Reply) -> None:
        self._is_refused = True
        if self._with_size and reply.code in SIZE_REFUSALS and self._has_size:
            return
        self._dialogue.close(Evidence(Stage.MAIL, reply, self._mail_line))

    @property
    def _has_size(self) -> bool:
        return self._mail_command(with_size=False) != self._mail_line

    def _hear_rcpt(self, reply: Reply) -> None:
        reach("after", Stage.RCPT)
        if not (reply.is_positive or _is_refusal(reply)):
            self._break_off(reply)
            return
        self._rcpt.append(reply)
        if len(self._rcpt) == len(self._asked):
            self._await(Stage.DATA, self._hear_data, self._line.timeouts.data)
            self.awaits_last = True

    def _hear_data(self, reply: Reply) -> None:
        reach("after", Stage.DATA)
        if not (reply.code == 354 or _is_refusal(reply)):
            self._break_off(reply)
            return
        if not self._is_refused:
            self._take_rcpt()
        if reply.code != 354:
            self._hear_no(reply)
        elif self._is_refused or not self._dialogue.accepted:
            self._send_only_dot()
        else:
            self._await(Stage.DATA, self._hear_early, inf)
            self._go = True
            self._line.soon(self._proceed)

    def _hear_no(self, reply: Reply) -> None:
        """DATA is refused: why for those accepted, a consequence where there is none."""
        self.awaits_last = False
        if self._asks_again:
            # The relay would not have SIZE: once more without.
            self._rcpt.clear()
            self._is_only_dot = False
            self._is_refused = self._with_size = self.has_asked = False
            self._may_be_stale = False
            self._line.advance()
            return
        self._dialogue.close(Evidence(Stage.DATA, reply, "DATA"))
        self._conclude()

    @property
    def _asks_again(self) -> bool:
        return self._is_refused and not self._dialogue.is_settled

    def _send_only_dot(self) -> None:
        """End a content that was asked for though nobody was accepted.

        The relay's answer to it is a consequence, and nothing is sent by it.
        """
        self._line.show_sent("(0 octets of content)", ".")
        self._is_only_dot = True
        self._await(Stage.DATA, self._hear_only_dot, self._line.timeouts.end_of_data)
        # Whoever asks once more asks first: with another's commands written before them, its
        # content would go into that other one's transaction.
        self._line.finish_content(b"", b".\r\n", chains=not self._asks_again)

    def _hear_only_dot(self, reply: Reply) -> None:
        self._line.holds_envelope = False
        if not (reply.is_positive or _is_refusal(reply)):
            self._break_off(reply)
        else:
            self._hear_no(reply)

    def _hear_early(self, reply: Reply) -> None:
        """Stop: what the relay refuses before the final dot, it must not get whole."""
        self._dialogue.close(Evidence(Stage.DATA, reply, "DATA"))
        self._conclude_and_end(reply)

    def _hear_dot(self, reply: Reply) -> None:
        if self._line.outlet.holds_dot:
            self._dot_written = False
            self._hear_early(reply)
            return
        self._line.holds_envelope = False
        self._dialogue.close(Evidence(Stage.END_OF_DATA, reply, "."))
        if reply.is_positive or _is_refusal(reply):
            self._conclude()
        else:
            self._conclude_and_end(reply)

    # The content

    def _proceed(self) -> None:
        """Send the content at once, if nothing about it has to be waited for."""
        if self._is_done or self._woken is None or self._woken.done():
            return
        try:
            has_gone = self._send_whole()
        except Exception as error:  # noqa: BLE001 - raised to whoever runs this
            self._woken.set_exception(error)
        else:
            if not has_gone:
                self._wake()

    def _send_whole(self) -> bool:
        """Return whether the content has gone, or never will; else `_send_content` goes on."""
        line, raw = self._line, self._content.raw
        if len(raw) > BLOCK_OCTETS or line.outlet.is_paused or not line.is_heard_out:
            return False
        if self._before_dot is not None:
            may_finish = self._before_dot(self._dialogue.accepted)
            if not isinstance(may_finish, bool):
                self._leave_to_finish = may_finish
                return False
            if not may_finish:
                self._stop()
                return True
        self._show_content()
        reach("before", "content")
        reach("after", "content")
        self._finish(stuffed_block(raw), ending(raw))
        return True

    def _show_content(self) -> None:
        if self._line.is_watched:
            self._line.show_sent(f"({len(self._content.raw)} octets of content)")

    async def _send_content(self) -> None:
        raw = self._content.raw
        self._show_content()
        reach("before", "content")
        if len(raw) > BLOCK_OCTETS:
            last = await self._send_blocks(raw)
        else:
            last = stuffed_block(raw)
        reach("after", "content")
        # Before it is asked for leave: what was true then may have passed when there is room.
        if not await self._has_room():
            return
        if not await self._may_finish():
            self._stop()
            return
        if not await self._has_room():
            return
        self._finish(last, ending(raw))
        await self._until_heard()

    async def _may_finish(self) -> bool:
        asked, self._leave_to_finish = self._leave_to_finish, None
        if asked is not None:
            return await asked
        return self._before_dot is None or await told(self._before_dot(self._dialogue.accepted))

    async def _send_blocks(self, raw: bytes) -> bytes:
        """Send all blocks but the last as the network takes them; returns the last."""
        blocks = stuffed(raw)
        last = next(blocks)
        for block in blocks:
            if self._is_done:
                break
            self._line.outlet.write(last)
            # A reply that comes early must be seen however fast the network takes it all.
            await asyncio.sleep(0)
            await self._until_room()
            last = block
        return last

    async def _has_room(self) -> bool:
        """Wait like `_until_room`; returns whether it goes on."""
        await self._until_room()
        return not self._is_done

    async def _until_room(self) -> None:
        """Wait until the network takes more; and for the rest of a reply that has been begun."""
        line = self._line
        if self._is_done or not (line.outlet.is_paused or not line.is_heard_out):
            return
        line.deadline.set(line.timeouts.block)
        while line.last_word is None and (line.outlet.is_paused or not line.is_heard_out):
            await line.outlet.until_changed()
        if line.last_word is None:
            line.deadline.set(inf)

    def _finish(self, block: bytes, dot: bytes) -> None:
        self._line.show_sent(".")
        self._await(Stage.END_OF_DATA, self._hear_dot, self._line.timeouts.end_of_data)
        self._go = False
        if not self._line.outlet.is_open:
            # It ended in this very moment, and what is written now is thrown away unsent.
            self._line.end(NoReply(NoReplyKind.LOST, "the connection was closed"))
            return
        reach("before", "dot")
        self._dot_written = True
        self._line.finish_content(block, dot)
        reach("after", "dot")

    def _stop(self) -> None:
        answer = NoReply(NoReplyKind.ABANDONED, "the lease was not ours any more")
        if not self._is_done:
            self._dialogue.close(Evidence(Stage.DATA, answer, "DATA"))
            self._conclude_and_end(answer)

    # The end

    def lost(self, last_word: Reply | NoReply, *, void: bool) -> None:
        """Take the end of the connection, see `Turn.lost`."""
        if self._is_done:
            return
        if not self.has_asked or self._is_at_its_first:
            self._is_stale = self._may_be_stale or self.stage is Stage.RSET
        if not self._is_stale:
            self._close_all(last_word, void=void)
        self._end()
        self._wake()

    @property
    def _is_at_its_first(self) -> bool:
        return self.stage is Stage.RSET or self.stage is Stage.MAIL

    def _close_all(self, answer: Answer, *, void: bool) -> None:
        stage, command = self.stage, self._command if self.has_asked else ""
        if stage is Stage.END_OF_DATA and not self.dot_written:
            stage = Stage.DATA
        if not void:
            self._take_rcpt()
        self._dialogue.close(Evidence(stage, answer, command))

    @property
    def _command(self) -> str:
        match self.stage:
            case Stage.MAIL:
                return self._mail_line
            case Stage.RCPT:
                return self._rcpt_command(self._asked[len(self._rcpt)])
            case Stage.END_OF_DATA:
                return "."
        return "DATA"

    def _take_rcpt(self) -> None:
        """Make findings of the replies to RCPT."""
        if self._is_refused:
            return
        for position, reply in zip(self._asked, self._rcpt, strict=False):
            if reply.is_positive:
                self._dialogue.accept(position, reply)
            else:
                evidence = Evidence(Stage.RCPT, reply, self._rcpt_command(position))
                self._dialogue.refuse(position, evidence)
        self._rcpt.clear()

    def _break_off(self, reply: Reply) -> None:
        """End the session over a reply that cannot stand here; a 421 can, and ends it too."""
        self._close_all(reply, void=reply.is_positive or reply.is_intermediate)
        if reply.code != 421:
            self._line.is_at_odds = True
        self._conclude_and_end(reply)

    def _conclude_and_end(self, last_word: Reply | NoReply) -> None:
        self._end()
        self._line.end(last_word)
        self._wake()

    def _conclude(self) -> None:
        self._end()
        self._wake()
        self._line.finished()

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


def _hear_nothing(_: Reply) -> None:
    """Stand in once nobody listens."""


def _is_refusal(reply: Reply) -> bool:
    return 400 <= reply.code <= 599 and reply.code != 421
