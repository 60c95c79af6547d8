"""What is written down about a recipient: the event, when it is due again, and whether at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.decision import Decision, decide
from mailqueue.mail.dialogue import Finding
from mailqueue.mail.doubt import OnDoubt
from mailqueue.mail.lifecycle import WAITING, Event, State, advance
from mailqueue.mail.reply import (
    Answer,
    EnhancedStatus,
    Evidence,
    NoReply,
    NoReplyKind,
    Reply,
    Unsendable,
)
from mailqueue.mail.rule import Rule
from mailqueue.mail.schedule import Backoff, History
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome

SECOND = 1_000_000
NOW = 1_700_000_000 * SECOND
DAY = 86_400 * SECOND

POLICY = Backoff(initial=60.0, factor=2.0, maximum=3600.0, jitter=0.2, give_up=86_400.0)
TRIED_TWICE = History(NOW - 3600 * SECOND, attempts=2)
ENDED = History(NOW - DAY, attempts=2)
JITTER = 0.5

AT_ONCE = NOW
AFTER_THREE = NOW + 216 * SECOND
"""60 seconds doubled twice, less a tenth."""

UNSENDABLE = Unsendable(EnhancedStatus(5, 3, 4), "too big")
DISK_FULL = NoReply(NoReplyKind.LOCAL, "disk full")
SHUTDOWN = NoReply(NoReplyKind.ABANDONED)
LOST = NoReply(NoReplyKind.LOST)


def decided(
    stage: Stage,
    answer: Answer,
    *,
    history: History = TRIED_TWICE,
    on_doubt: OnDoubt = OnDoubt.RETRY,
    others: bool = False,
) -> Decision:
    """Decide about this answer at this stage."""
    finding = Finding(Evidence(stage, answer), others=others)
    return decide(finding, history, POLICY, on_doubt=on_doubt, now=NOW, jitter=JITTER)


@pytest.mark.parametrize("on_doubt", OnDoubt)
@pytest.mark.parametrize(
    ("stage", "answer", "event", "due_at"),
    [
        (Stage.END_OF_DATA, Reply(250), Event.SEND, None),
        (Stage.END_OF_DATA, Reply(451), Event.DEFER, AFTER_THREE),
        (Stage.END_OF_DATA, Reply(554), Event.FAIL, None),
        (Stage.END_OF_DATA, Reply(421), Event.DEFER, AFTER_THREE),
        (Stage.RCPT, Reply(450), Event.DEFER, AFTER_THREE),
        (Stage.RCPT, Reply(550), Event.FAIL, None),
        (Stage.RCPT, Reply(421), Event.DEFER, AFTER_THREE),
        (Stage.RCPT, UNSENDABLE, Event.FAIL, None),
        (Stage.MAIL, Reply(451), Event.DEFER, AFTER_THREE),
        (Stage.MAIL, Reply(550), Event.FAIL, None),
        (Stage.MAIL, UNSENDABLE, Event.FAIL, None),
        (Stage.DATA, Reply(250), Event.DEFER, AFTER_THREE),
        (Stage.DATA, LOST, Event.DEFER, AFTER_THREE),
    ],
    ids=str,
)
def test_an_answer_moves_its_recipient(
    on_doubt: OnDoubt, stage: Stage, answer: Answer, event: Event, due_at: int | None
) -> None:
    """Sent and failed are final, a deferral counts and backs off; no policy of doubt matters."""
    decision = decided(stage, answer, on_doubt=on_doubt)

    assert (decision.event, decision.due_at) == (event, due_at)
    assert decision.is_recorded


@pytest.mark.parametrize("answer", [LOST, Reply(354), SHUTDOWN, DISK_FULL], ids=str)
def test_doubt_is_retried_or_held_as_the_sender_chose(answer: Answer) -> None:
    """Retry: due again like any deferral. Hold: an operator has it, and no daemon looks at it."""
    retried = decided(Stage.END_OF_DATA, answer, on_doubt=OnDoubt.RETRY)
    held = decided(Stage.END_OF_DATA, answer, on_doubt=OnDoubt.HOLD)

    assert (retried.event, retried.due_at) == (Event.DEFER, AFTER_THREE)
    assert (held.event, held.due_at) == (Event.HOLD_DOUBT, None)
    assert retried.verdict.outcome is held.verdict.outcome is Outcome.IN_DOUBT
    assert retried.is_recorded
    assert held.is_recorded


@pytest.mark.parametrize(
    ("stage", "answer", "recorded"),
    [
        (Stage.CONNECT, NoReply(NoReplyKind.REFUSED), False),
        (Stage.GREETING, Reply(554), False),
        (Stage.STARTTLS, NoReply(NoReplyKind.TLS), False),
        (Stage.AUTH, Reply(535), False),
        (Stage.CONNECT, SHUTDOWN, False),
        (Stage.RCPT, SHUTDOWN, False),
        (Stage.DATA, SHUTDOWN, False),
    ],
    ids=str,
)
def test_what_is_not_the_mails_trouble_hands_it_back_uncharged(
    stage: Stage, answer: Answer, recorded: bool
) -> None:
    """It is due now, behind what was due before. Trouble before MAIL is kept with the relay."""
    decision = decided(stage, answer)

    assert (decision.event, decision.due_at) == (Event.HAND_BACK, AT_ONCE)
    assert not decision.verdict.charged
    assert decision.is_recorded == recorded


@pytest.mark.parametrize("code", [421, 530, 535])
def test_what_came_at_mail_may_be_this_mails_alone_and_waits(code: int) -> None:
    """Uncharged, but not due at once: or it would be what the relay is probed with each time."""
    decision = decided(Stage.MAIL, Reply(code))

    assert decision.event is Event.DEFER
    assert decision.due_at == NOW + 3240 * SECOND  # as long as it has waited, less the jitter
    assert not decision.verdict.charged
    assert decision.is_recorded


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT])
def test_what_a_fallback_does_not_offer_fails_no_mail(stage: Stage) -> None:
    """The relay that the mail is meant for may take it: it waits for that one, uncharged."""
    finding = Finding(Evidence(stage, UNSENDABLE))
    decision = decide(
        finding,
        TRIED_TWICE,
        POLICY,
        on_doubt=OnDoubt.RETRY,
        now=NOW,
        jitter=JITTER,
        is_stand_in=True,
    )

    assert decision.event is Event.DEFER
    assert decision.verdict.rule is Rule.STAND_IN_UNFIT
    assert not decision.verdict.charged


def test_a_recipient_too_many_goes_in_the_next_transaction() -> None:
    """With others accepted it is handed back for now; with nobody accepted it backs off."""
    next_time = decided(Stage.RCPT, Reply(452), others=True)
    alone = decided(Stage.RCPT, Reply(452), others=False)

    assert (next_time.event, next_time.due_at) == (Event.HAND_BACK, AT_ONCE)
    assert next_time.is_recorded
    assert (alone.event, alone.due_at) == (Event.DEFER, AFTER_THREE)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
def test_a_mail_that_meets_our_own_fault_waits(stage: Stage) -> None:
    """Handed back it would meet the same fault at once: it waits, uncharged, and it is recorded."""
    decision = decided(stage, DISK_FULL, history=History(NOW, attempts=0))

    assert (decision.event, decision.due_at) == (Event.DEFER, NOW + 54 * SECOND)
    assert not decision.verdict.charged
    assert decision.is_recorded


@pytest.mark.parametrize(
    ("age", "wait"), [(-600, 54), (0, 54), (60, 54), (600, 540), (3600, 3240), (40_000, 3240)]
)
def test_a_mail_that_keeps_meeting_our_own_fault_waits_longer(age: int, wait: int) -> None:
    """Uncharged, its pauses grow with its age: from the first pause to the longest, less jitter."""
    history = History(NOW - age * SECOND, attempts=0)

    assert decided(Stage.DATA, DISK_FULL, history=history).due_at == NOW + wait * SECOND


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        (Stage.RCPT, Reply(450)),
        (Stage.END_OF_DATA, Reply(451)),
        (Stage.END_OF_DATA, LOST),
        (Stage.DATA, LOST),
        (Stage.DATA, DISK_FULL),
    ],
    ids=str,
)
def test_a_deferral_with_no_time_left_is_given_up(stage: Stage, answer: Answer) -> None:
    """At the deadline the recipient expires, with the attempt that was its last on record."""
    decision = decided(stage, answer, history=ENDED)

    assert (decision.event, decision.due_at) == (Event.GIVE_UP, None)
    assert decision.is_recorded


@pytest.mark.parametrize(
    ("stage", "answer", "on_doubt", "event"),
    [
        (Stage.END_OF_DATA, Reply(250), OnDoubt.RETRY, Event.SEND),
        (Stage.RCPT, Reply(550), OnDoubt.RETRY, Event.FAIL),
        (Stage.END_OF_DATA, LOST, OnDoubt.HOLD, Event.HOLD_DOUBT),
        (Stage.AUTH, Reply(535), OnDoubt.RETRY, Event.HAND_BACK),
    ],
    ids=str,
)
def test_what_is_no_deferral_takes_no_notice_of_the_deadline(
    stage: Stage, answer: Answer, on_doubt: OnDoubt, event: Event
) -> None:
    """Sent is sent and failed is failed, however late; trouble of the relay's expires nobody."""
    assert decided(stage, answer, history=ENDED, on_doubt=on_doubt).event is event


def test_the_last_attempt_is_made_shortly_before_the_messages_own_deadline() -> None:
    """A recipient whose next regular attempt would be too late is due a minute before the end."""
    history = History(NOW - 3600 * SECOND, attempts=2, expires_at=NOW + 180 * SECOND)

    assert decided(Stage.RCPT, Reply(450), history=history).due_at == NOW + 120 * SECOND


FINDINGS = st.builds(
    Finding,
    st.builds(
        Evidence,
        st.sampled_from(Stage),
        st.builds(Reply, st.integers(0, 999))
        | st.builds(NoReply, st.sampled_from(NoReplyKind))
        | st.just(UNSENDABLE),
    ),
    others=st.booleans(),
)
INSTANTS = st.integers(NOW - 2 * DAY, NOW + 2 * DAY)
HISTORIES = st.builds(History, INSTANTS, st.integers(0, 50), st.none() | INSTANTS)


@given(FINDINGS, HISTORIES, st.sampled_from(OnDoubt), st.floats(0, 1, exclude_max=True))
def test_every_finding_leads_to_one_whole_row(
    finding: Finding, history: History, on_doubt: OnDoubt, jitter: float
) -> None:
    """Whatever is found, the move is legal, and a due time is there exactly for who waits."""
    decision = decide(finding, history, POLICY, on_doubt=on_doubt, now=NOW, jitter=jitter)
    charged = history.attempts + decision.verdict.charged
    state = advance(State.SENDING, decision.event, attempts=charged)

    assert (decision.due_at is not None) == (state in WAITING)
    assert decision.due_at is None or decision.due_at >= NOW
    assert decision.finding == finding


@given(FINDINGS, HISTORIES, st.sampled_from(OnDoubt), st.floats(0, 1, exclude_max=True))
def test_only_what_changes_nothing_goes_unrecorded(
    finding: Finding, history: History, on_doubt: OnDoubt, jitter: float
) -> None:
    """Without an attempt on record a recipient is neither charged nor moved, nor in doubt."""
    decision = decide(finding, history, POLICY, on_doubt=on_doubt, now=NOW, jitter=jitter)

    if not decision.is_recorded:
        assert decision.event is Event.HAND_BACK
        assert not decision.verdict.charged
        assert decision.verdict.outcome is Outcome.DEFER


def test_pauses_after_local_faults_grow_with_the_age_of_the_mail() -> None:
    """A fault of our own charges nothing, and still is met less and less often."""
    policy = Backoff(initial=60, factor=2, maximum=3600, jitter=0)
    fault = Finding(Evidence(Stage.DATA, DISK_FULL))
    pauses = []
    for age in (0, 600, 86_400):
        now = 1_700_000_000_000_000
        history = History(enqueued_at=now - age * 1_000_000, attempts=0)
        decision = decide(fault, history, policy, on_doubt=OnDoubt.RETRY, now=now, jitter=0.0)
        assert decision.due_at is not None
        pauses.append((decision.due_at - now) / 1e6)
    assert pauses == [60, 600, 3600]
