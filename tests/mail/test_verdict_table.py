"""What evidence means for a recipient, whatever it is: the whole function as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome, Scope, Verdict, judge

# The whole function as a table, written from the rules and not from the code. A column is a
# stage, the first of them all stages before MAIL, the last one RSET and QUIT; a row is a class
# of answers; a word is explained in MEANINGS.
TABLE = """
                before-mail   mail       rcpt           data       end-of-data  after

    2yz         relay         desync     desync         desync     sent         ends
    3yz         relay         desync     desync         desync     doubt        ends
    4yz         relay         defer-all  defer-one      defer-all  defer-all    ends
    5yz         relay         fail-all   fail-one       fail-all   fail-all     ends
    421         relay         overload   closing        closing    closing      ends
    auth        relay         auth       auth           auth       fail-all     ends
    too-many    relay         defer-all  next           defer-all  defer-all    ends
    too-many-5  relay         fail-all   next           fail-all   fail-all     ends
    alone       relay         defer-all  too-many-one   defer-all  defer-all    ends
    alone-5     relay         fail-all   too-many-one   fail-all   fail-all     ends
    no-code     relay         desync     desync         desync     doubt        ends

    refused     silence       lost       lost           lost       silent-dot   ends
    unresolved  silence       lost       lost           lost       silent-dot   ends
    timeout     silence       lost       lost           lost       silent-dot   ends
    lost        silence       lost       lost           lost       silent-dot   ends
    tls         silence       lost       lost           lost       silent-dot   ends
    unsupported silence       lost       lost           lost       silent-dot   ends
    malformed   silence       desync     desync         desync     silent-dot   ends
    abandoned   abandoned     abandoned  abandoned      abandoned  silent-dot   abandoned
    local       silence       local      local          local      silent-dot   local

    unsendable  unsendable    unsendable unsendable-one unsendable unsendable   unsendable
"""

# word            outcome   scope      rule                     and what else
MEANINGS = """
    sent            sent      message    accepted                 charged
    relay           defer     relay      relay-refusal            drops-session pauses-relay
    silence         defer     relay      relay-silence            drops-session pauses-relay
    auth            defer     relay      authentication-required  drops-session pauses-relay
    overload        defer     session    relay-overloaded         drops-session pauses-relay
    closing         defer     session    relay-closing            charged drops-session
    lost            defer     session    lost-before-dot          charged drops-session
    desync          defer     session    malformed-reply          charged drops-session
    ends            defer     session    housekeeping             drops-session
    defer-all       defer     message    message-4xx              charged
    defer-one       defer     recipient  recipient-4xx            charged
    next            defer     recipient  too-many-recipients      at-once
    too-many-one    defer     recipient  too-many-recipients      charged
    fail-all        fail      message    message-5xx              charged
    fail-one        fail      recipient  recipient-5xx            charged
    unsendable      fail      message    unsendable               charged
    unsendable-one  fail      recipient  unsendable               charged
    doubt           in-doubt  message    malformed-reply          charged drops-session
    silent-dot      in-doubt  message    silence-after-dot        charged drops-session
    abandoned       defer     local      abandoned                drops-session
    local           defer     local      local-fault              drops-session
"""


RULES = {str(rule): rule for rule in Rule}


def _verdict(outcome: str, scope: str, rule: str, *rest: str) -> Verdict:
    return Verdict(
        Outcome(outcome),
        Scope(scope),
        RULES[rule],
        charged="charged" in rest,
        drops_session="drops-session" in rest,
        pauses_relay="pauses-relay" in rest,
        at_once="at-once" in rest,
    )


def _lines(text: str) -> list[list[str]]:
    return [words for line in text.splitlines() if (words := line.split())]


VERDICTS = {word: _verdict(*meaning) for word, *meaning in _lines(MEANINGS)}
COLUMNS, *ROWS = _lines(TABLE)
EXPECTED = {
    (row, column): VERDICTS[word]
    for row, *words in ROWS
    for column, word in zip(COLUMNS, words, strict=True)
}

ASKS_FOR_AUTHENTICATION = (530, 534, 535, 538)
PERHAPS_TOO_MANY = (452, 552)
TOO_MANY = EnhancedStatus(4, 5, 3)
FULL = EnhancedStatus(4, 2, 2)


def expected(evidence: Evidence, *, others: bool) -> Verdict:
    """Look the verdict up."""
    match evidence.answer:
        case Reply() as reply:
            row = reply_row(reply, others=others)
        case NoReply() as silence:
            row = str(silence.kind)
        case Unsendable():
            row = "unsendable"
    stage = str(evidence.stage)
    column = stage if stage in COLUMNS else "after" if stage in ("rset", "quit") else "before-mail"
    return EXPECTED[row, column]


def reply_row(reply: Reply, *, others: bool) -> str:
    """Return the row for a reply without text."""
    code, digit = reply.code, reply.code // 100
    if code in PERHAPS_TOO_MANY and reply.enhanced == TOO_MANY:
        return ("too-many" if others else "alone") + "-5" * (digit == 5)
    if code in PERHAPS_TOO_MANY and reply.enhanced is None and others:
        return "too-many" + "-5" * (digit == 5)
    if code in ASKS_FOR_AUTHENTICATION:
        return "auth"
    if code == 421:
        return "421"
    return f"{digit}yz" if digit in (2, 3, 4, 5) else "no-code"


# Every code that three digits can write, and what a parser gone wrong might make of none.
ANSWERS: list[Answer] = [
    *(Reply(code, "", enhanced) for code in range(-1, 1001) for enhanced in (None, FULL, TOO_MANY)),
    *map(NoReply, NoReplyKind),
    Unsendable(EnhancedStatus(5, 3, 4), "too big"),
]


@pytest.mark.parametrize("others", [False, True], ids=["alone", "others accepted"])
@pytest.mark.parametrize("stage", Stage)
def test_every_answer_at_every_stage_has_the_verdict_of_the_table(
    stage: Stage, others: bool
) -> None:
    """Each code, each kind of silence and what is unsendable have one verdict at each stage."""
    for answer in ANSWERS:
        evidence = Evidence(stage, answer)

        assert judge(evidence, others_accepted=others) == expected(evidence, others=others), answer


def test_the_table_is_about_every_stage_and_every_rule() -> None:
    """No row, no stage and no kind of silence is forgotten, and no word is idle.

    Two rules are missing from the table: a lease that expired is no answer of a relay, and that
    the relay only stood in for another is known where it is decided what follows.
    """
    rows = {row for row, *_ in ROWS}

    assert rows >= {str(kind) for kind in NoReplyKind}
    assert {str(stage) for stage in Stage} - set(COLUMNS) == {
        *("connect", "greeting", "ehlo", "starttls", "auth"),
        *("rset", "quit"),
    }
    assert set(VERDICTS.values()) == set(EXPECTED.values())
    assert {verdict.rule for verdict in VERDICTS.values()} == set(Rule) - {
        Rule.LEASE_EXPIRED,
        Rule.STAND_IN_UNFIT,
    }


# What holds for every evidence there can be, whatever its text.

TEXTS = st.sampled_from(
    ["", "Authentication required", "too many recipients", "send STARTTLS first", "\n", "no"]
)
STATUSES = st.builds(
    EnhancedStatus, st.sampled_from([2, 4, 5]), st.integers(0, 9), st.integers(0, 30)
)
REPLIES = st.builds(Reply, st.integers(-1, 1000), TEXTS | st.text(), st.none() | STATUSES)
SILENCES = st.builds(NoReply, st.sampled_from(NoReplyKind), st.text())
STAGES = st.sampled_from(Stage)
EVIDENCE = st.builds(
    Evidence, STAGES, REPLIES | SILENCES | st.builds(Unsendable, STATUSES, st.text())
)


@given(EVIDENCE, st.booleans())
def test_judge_is_total(evidence: Evidence, others: bool) -> None:
    """Every evidence has a verdict, and what the verdict says of itself fits together."""
    verdict = judge(evidence, others_accepted=others)

    assert not (verdict.pauses_relay and verdict.charged)
    assert not (verdict.at_once and verdict.charged)
    assert not (verdict.pauses_relay and not verdict.drops_session)
    assert verdict.outcome is Outcome.DEFER or verdict.charged
    assert verdict.scope is not Scope.RECIPIENT or evidence.stage is Stage.RCPT


@given(EVIDENCE, st.booleans())
def test_sent_is_only_what_a_2xx_after_the_dot_says(evidence: Evidence, others: bool) -> None:
    """Nothing else is ever sent, and that always is."""
    answer = evidence.answer
    accepted = (
        evidence.stage is Stage.END_OF_DATA
        and isinstance(answer, Reply)
        and 200 <= answer.code <= 299
    )

    assert (judge(evidence, others_accepted=others).outcome is Outcome.SENT) == accepted


@given(EVIDENCE, st.booleans())
def test_doubt_is_only_where_the_dot_was_left_unanswered(evidence: Evidence, others: bool) -> None:
    """In doubt is exactly what has neither 2yz nor 4yz nor 5yz after the final dot."""
    answer = evidence.answer
    unanswered = isinstance(answer, NoReply) or (
        isinstance(answer, Reply) and answer.code // 100 not in (2, 4, 5)
    )
    doubtful = evidence.stage is Stage.END_OF_DATA and unanswered

    assert (judge(evidence, others_accepted=others).outcome is Outcome.IN_DOUBT) == doubtful


@given(STAGES, st.integers(400, 499), TEXTS | st.text(), st.none() | STATUSES, st.booleans())
def test_a_4xx_never_fails(
    stage: Stage, code: int, text: str, enhanced: EnhancedStatus | None, others: bool
) -> None:
    """Whatever its text and its enhanced status code, a 4xx defers."""
    verdict = judge(Evidence(stage, Reply(code, text, enhanced)), others_accepted=others)

    assert verdict.outcome is Outcome.DEFER


TRANSACTION = [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.END_OF_DATA]


@given(st.sampled_from(TRANSACTION), st.integers(500, 599), st.none() | STATUSES, st.booleans())
def test_a_5xx_in_a_transaction_is_final(
    stage: Stage, code: int, enhanced: EnhancedStatus | None, others: bool
) -> None:
    """A 5xx fails, unless it asks for authentication or means too many recipients."""
    verdict = judge(Evidence(stage, Reply(code, "no", enhanced)), others_accepted=others)
    authentication = code in ASKS_FOR_AUTHENTICATION and stage is not Stage.END_OF_DATA
    perhaps_too_many = code == 552 and stage is Stage.RCPT

    if not authentication and not perhaps_too_many:
        assert verdict.outcome is Outcome.FAIL
    elif authentication:
        assert verdict.outcome is Outcome.DEFER


@given(STAGES.filter(lambda stage: stage.is_before_mail), REPLIES | SILENCES, st.booleans())
def test_before_mail_no_mail_is_charged_and_none_fails(
    stage: Stage, answer: Answer, others: bool
) -> None:
    """Nothing that a relay says or leaves unsaid before MAIL costs a mail anything."""
    verdict = judge(Evidence(stage, answer), others_accepted=others)

    assert (verdict.outcome, verdict.charged) == (Outcome.DEFER, False)


@given(STAGES, REPLIES, st.text(), st.booleans())
def test_the_text_decides_only_where_a_rule_says_so(
    stage: Stage, reply: Reply, text: str, others: bool
) -> None:
    """Texts matter to a 5xx at MAIL and to 452 and 552 at RCPT, and nowhere else (RFC 5321 4.2)."""
    rule_reads_it = (stage is Stage.MAIL and reply.is_permanent) or (
        stage is Stage.RCPT and reply.code in PERHAPS_TOO_MANY
    )
    if not rule_reads_it:
        one = judge(Evidence(stage, reply), others_accepted=others)
        other = judge(Evidence(stage, replace(reply, text=text)), others_accepted=others)

        assert one == other
