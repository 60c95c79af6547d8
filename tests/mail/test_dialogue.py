"""Each recipient leaves a transaction with one answer, and it is its own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.dialogue import Dialogue, Finding
from mailqueue.mail.reply import Answer, Evidence, NoReply, NoReplyKind, Reply
from mailqueue.mail.stage import Stage

ALICE, BOB, CAROL = "alice@example.org", "bob@example.org", "carol@example.org"

OK = Reply(250, "OK")
WILL_FORWARD = Reply(251, "will forward")
GREYLISTED = Reply(450, "greylisted")
LOCAL_ERROR = Reply(451, "local error")
UNKNOWN = Reply(550, "unknown user")
REFUSED = Reply(554, "refused")


def at_rcpt(answer: Answer) -> Evidence:
    """This answer to RCPT."""
    return Evidence(Stage.RCPT, answer, "RCPT TO:<…>")


def after_dot(answer: Answer) -> Evidence:
    """This answer to the final dot."""
    return Evidence(Stage.END_OF_DATA, answer, ".")


def test_the_dead_address_keeps_its_550_when_the_message_is_deferred() -> None:
    """550 at RCPT and 451 after the dot: one recipient is refused for good, one is deferred."""
    dialogue = Dialogue([ALICE, BOB])
    dialogue.refuse(0, at_rcpt(UNKNOWN))
    dialogue.accept(1, OK)

    dialogue.close(after_dot(LOCAL_ERROR))

    assert dialogue.findings() == (
        Finding(at_rcpt(UNKNOWN)),
        Finding(after_dot(LOCAL_ERROR), rcpt=OK, others=True),
    )


def test_the_deferred_address_keeps_its_450_when_the_message_is_refused() -> None:
    """450 at RCPT and 554 after the dot: the deferred recipient is not refused with the other."""
    dialogue = Dialogue([ALICE, BOB])
    dialogue.accept(0, OK)
    dialogue.refuse(1, at_rcpt(GREYLISTED))

    dialogue.close(after_dot(REFUSED))

    assert dialogue.findings() == (
        Finding(after_dot(REFUSED), rcpt=OK, others=True),
        Finding(at_rcpt(GREYLISTED), others=True),
    )


def test_the_deferred_address_is_not_sent_when_the_message_is_accepted() -> None:
    """450 at RCPT and 250 after the dot: only those accepted at RCPT were sent to."""
    dialogue = Dialogue([ALICE, BOB, CAROL])
    dialogue.accept(0, OK)
    dialogue.refuse(1, at_rcpt(GREYLISTED))
    dialogue.accept(2, OK)

    dialogue.close(after_dot(OK))

    assert [finding.evidence.answer for finding in dialogue.findings()] == [OK, GREYLISTED, OK]


def test_recipients_who_are_all_forwarded_are_all_accepted() -> None:
    """251 for every recipient is acceptance: each gets the final reply, and keeps its 251."""
    dialogue = Dialogue([ALICE, BOB])
    dialogue.accept(0, WILL_FORWARD)
    dialogue.accept(1, WILL_FORWARD)

    assert dialogue.accepted == (0, 1)
    dialogue.close(after_dot(OK))

    assert dialogue.findings() == (Finding(after_dot(OK), rcpt=WILL_FORWARD, others=True),) * 2


@pytest.mark.parametrize("code", [503, 554])
def test_no_valid_recipients_is_a_consequence_and_never_the_cause(code: int) -> None:
    """When RCPT refused everybody, what DATA is answered changes nothing for anybody."""
    dialogue = Dialogue([ALICE, BOB])
    dialogue.refuse(0, at_rcpt(UNKNOWN))
    dialogue.refuse(1, at_rcpt(GREYLISTED))

    assert dialogue.accepted == ()
    dialogue.close(Evidence(Stage.DATA, Reply(code, "no valid recipients")))

    assert dialogue.findings() == (Finding(at_rcpt(UNKNOWN)), Finding(at_rcpt(GREYLISTED)))


def test_a_refusal_of_the_sender_is_everybodys() -> None:
    """What MAIL is answered, before anybody was named, each recipient gets."""
    refused = Evidence(Stage.MAIL, UNKNOWN)
    dialogue = Dialogue([ALICE, BOB])

    dialogue.close(refused)

    assert dialogue.findings() == (Finding(refused), Finding(refused))


def test_a_session_that_ends_among_the_recipients_leaves_the_refused_alone() -> None:
    """421 to the third RCPT: accepted and not yet asked for get it, the refused keeps its own."""
    closing = at_rcpt(Reply(421, "closing"))
    dialogue = Dialogue([ALICE, BOB, CAROL])
    dialogue.accept(0, OK)
    dialogue.refuse(1, at_rcpt(UNKNOWN))

    assert dialogue.unanswered == (0, 2)
    dialogue.close(closing)

    assert dialogue.findings() == (
        Finding(closing, rcpt=OK, others=True),
        Finding(at_rcpt(UNKNOWN), others=True),
        Finding(closing, others=True),
    )


def test_a_refusal_knows_whether_somebody_had_been_accepted_before_it() -> None:
    """552 before the first acceptance is a full mailbox, after it perhaps too many recipients."""
    full = at_rcpt(Reply(552))
    dialogue = Dialogue([ALICE, BOB, CAROL])
    dialogue.refuse(0, full)
    dialogue.accept(1, OK)
    dialogue.refuse(2, full)
    dialogue.close(after_dot(OK))

    assert [finding.others for finding in dialogue.findings()] == [False, True, True]


def test_only_the_first_answer_to_the_message_counts() -> None:
    """A second answer to the whole message finds nobody who is still without one."""
    dialogue = Dialogue([ALICE])
    dialogue.accept(0, OK)
    dialogue.close(after_dot(OK))

    dialogue.close(Evidence(Stage.RSET, NoReply(NoReplyKind.TIMEOUT)))

    assert dialogue.findings() == (Finding(after_dot(OK), rcpt=OK, others=True),)


@pytest.mark.parametrize("before", ["accept", "refuse", "close"])
@pytest.mark.parametrize("after", ["accept", "refuse"])
def test_a_second_answer_at_rcpt_is_a_bug(before: str, after: str) -> None:
    """A recipient that is answered twice was confused with another, and nobody may be sent to."""
    dialogue = Dialogue([ALICE])
    Move(before, 0, at_rcpt(OK)).make(dialogue)

    with pytest.raises(AssertionError, match="recipient 0 has been answered twice"):
        Move(after, 0, at_rcpt(OK)).make(dialogue)


def test_a_transaction_ends_only_when_everybody_has_an_answer() -> None:
    """Findings with a gap in them are a bug: acceptance at RCPT is not yet an answer."""
    dialogue = Dialogue([ALICE, BOB, CAROL])
    dialogue.accept(0, OK)
    dialogue.refuse(1, at_rcpt(UNKNOWN))

    with pytest.raises(AssertionError, match=r"\(0, 2\) left the transaction without an answer"):
        dialogue.findings()


def test_a_transaction_has_recipients() -> None:
    """Without a recipient there is nothing to find."""
    with pytest.raises(ValueError, match="at least one recipient"):
        Dialogue([])


@dataclass(frozen=True)
class Move:
    """One thing that happens in a transaction; ``position`` counts for RCPT alone."""

    verb: str
    position: int
    evidence: Evidence

    def make(self, dialogue: Dialogue) -> None:
        """Let it happen."""
        if self.verb == "close":
            dialogue.close(self.evidence)
        elif self.verb == "refuse":
            dialogue.refuse(self.position, self.evidence)
        else:
            assert isinstance(self.evidence.answer, Reply)
            dialogue.accept(self.position, self.evidence.answer)


EVIDENCE = st.builds(
    Evidence,
    st.sampled_from(Stage),
    st.builds(Reply, st.integers(200, 599)) | st.builds(NoReply, st.sampled_from(NoReplyKind)),
)
ACCEPTANCE = st.builds(Evidence, st.just(Stage.RCPT), st.builds(Reply, st.integers(200, 299)))


@st.composite
def transactions(draw: st.DrawFn) -> tuple[int, list[Move]]:
    """How many recipients there are, and what happens: anything, in any order, then the end."""
    count = draw(st.integers(1, 6))
    positions = st.integers(0, count - 1)
    moves = draw(
        st.lists(
            st.builds(Move, st.just("accept"), positions, ACCEPTANCE)
            | st.builds(Move, st.just("refuse"), positions, EVIDENCE)
            | st.builds(Move, st.just("close"), positions, EVIDENCE),
            max_size=12,
        )
    )
    return count, [*moves, Move("close", 0, draw(EVIDENCE))]


@given(transactions())
def test_whatever_happens_each_recipient_leaves_with_its_first_answer(
    transaction: tuple[int, list[Move]],
) -> None:
    """Any sequence of answers leaves one finding each: the first one that decided it."""
    count, moves = transaction
    dialogue = Dialogue([f"r{number}@example.org" for number in range(count)])
    accepted: dict[int, Reply] = {}
    expected: dict[int, Finding] = {}
    for move in moves:
        answered = move.position in expected or move.position in accepted
        if move.verb != "close" and answered:
            with pytest.raises(AssertionError):
                move.make(dialogue)
            continue
        move.make(dialogue)
        others = bool(accepted)
        if move.verb == "accept":
            assert isinstance(move.evidence.answer, Reply)
            accepted[move.position] = move.evidence.answer
        for number in range(count) if move.verb == "close" else [move.position]:
            if move.verb != "accept" and number not in expected:
                expected[number] = Finding(move.evidence, accepted.get(number), others)

    assert dialogue.findings() == tuple(expected[number] for number in range(count))
    assert dialogue.accepted == tuple(accepted)
    assert dialogue.unanswered == ()
