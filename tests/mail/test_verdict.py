"""What evidence means for a recipient: each rule by name, and the whole function as a table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.dialogue import Dialogue
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
    local       local         local      local          local      silent-dot   local

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

    One rule is missing from the table: a lease that expired is no answer of a relay.
    """
    rows = {row for row, *_ in ROWS}

    assert rows >= {str(kind) for kind in NoReplyKind}
    assert {str(stage) for stage in Stage} - set(COLUMNS) == {
        *("connect", "greeting", "ehlo", "starttls", "auth"),
        *("rset", "quit"),
    }
    assert set(VERDICTS.values()) == set(EXPECTED.values())
    assert {verdict.rule for verdict in VERDICTS.values()} == set(Rule) - {Rule.LEASE_EXPIRED}


# One test for each row of the rules.


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage.is_before_mail])
@pytest.mark.parametrize("answer", [Reply(421), Reply(454), Reply(535), Reply(554), Reply(250)])
def test_a_refusal_before_mail_pauses_the_relay(stage: Stage, answer: Reply) -> None:
    """A reply that stops us before MAIL is between us and the relay, and costs no mail anything."""
    verdict = judge(Evidence(stage, answer))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RELAY)
    assert (verdict.pauses_relay, verdict.charged) == (True, False)


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage.is_before_mail])
@pytest.mark.parametrize(
    "kind", [kind for kind in NoReplyKind if kind not in (NoReplyKind.ABANDONED, NoReplyKind.LOCAL)]
)
def test_silence_before_mail_pauses_the_relay(stage: Stage, kind: NoReplyKind) -> None:
    """So does a connection refused, a handshake that fails, a greeting that never comes."""
    verdict = judge(Evidence(stage, NoReply(kind)))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RELAY)
    assert (verdict.pauses_relay, verdict.charged) == (True, False)


@pytest.mark.parametrize("stage", [Stage.RCPT, Stage.DATA, Stage.END_OF_DATA])
def test_421_drops_the_session_and_defers(stage: Stage) -> None:
    """421 ends the session at any stage; even after the dot it is an answer, and no doubt."""
    verdict = judge(Evidence(stage, Reply(421)))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.SESSION)
    assert (verdict.drops_session, verdict.pauses_relay, verdict.charged) == (True, False, True)


def test_421_to_mail_says_that_the_relay_is_overloaded() -> None:
    """Before it has seen anything of the message, 421 would meet the next message just so."""
    verdict = judge(Evidence(Stage.MAIL, Reply(421)))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.SESSION)
    assert (verdict.drops_session, verdict.pauses_relay, verdict.charged) == (True, True, False)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
@pytest.mark.parametrize("kind", [NoReplyKind.LOST, NoReplyKind.TIMEOUT, NoReplyKind.MALFORMED])
def test_a_session_lost_before_the_dot_defers(stage: Stage, kind: NoReplyKind) -> None:
    """Before the final dot nothing was accepted: it is safe to try again, in a new session."""
    verdict = judge(Evidence(stage, NoReply(kind)))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.SESSION)
    assert (verdict.drops_session, verdict.charged) == (True, True)


@pytest.mark.parametrize(
    ("code", "outcome"), [(450, Outcome.DEFER), (499, Outcome.DEFER), (550, Outcome.FAIL)]
)
def test_a_refusal_of_a_recipient_is_that_recipients(code: int, outcome: Outcome) -> None:
    """4xx to RCPT defers and 5xx to RCPT fails one recipient; the session goes on."""
    verdict = judge(Evidence(Stage.RCPT, Reply(code)), others_accepted=True)

    assert (verdict.outcome, verdict.scope) == (outcome, Scope.RECIPIENT)
    assert not verdict.drops_session


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.DATA, Stage.END_OF_DATA])
@pytest.mark.parametrize(("code", "outcome"), [(451, Outcome.DEFER), (554, Outcome.FAIL)])
def test_a_refusal_of_the_message_is_everybodys(stage: Stage, code: int, outcome: Outcome) -> None:
    """4xx defers and 5xx fails everybody accepted so far; who those are, the dialogue knows."""
    verdict = judge(Evidence(stage, Reply(code)))

    assert (verdict.outcome, verdict.scope) == (outcome, Scope.MESSAGE)
    assert not verdict.drops_session


@pytest.mark.parametrize(
    "reply",
    [
        *map(Reply, ASKS_FOR_AUTHENTICATION),
        Reply(503, "5.5.4 Error: send AUTH command first"),
        Reply(550, "Authentication required", EnhancedStatus(5, 7, 1)),
        Reply(550, "SMTP authentication is required"),
        Reply(550, "You must authenticate before sending"),
        Reply(554, "Must issue a STARTTLS command first"),
        Reply(554, "please\nSTARTTLS first, then MAIL"),
        Reply(571, "AUTH first"),
    ],
    ids=str,
)
def test_a_call_for_authentication_at_mail_is_about_our_settings(reply: Reply) -> None:
    """530, 534, 535, 538 and words to that effect pause the relay; no mail fails for it."""
    verdict = judge(Evidence(Stage.MAIL, reply))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RELAY)
    assert (verdict.pauses_relay, verdict.charged) == (True, False)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(550, "unauthenticated mail is not accepted"),
        Reply(553, "sender is not owned by the authenticated user"),
        Reply(550, "author required"),
        Reply(550, "authority first"),
        Reply(554, "must not be sent; see https://relay.example/help"),
    ],
    ids=str,
)
def test_words_that_only_resemble_a_call_for_authentication_fail(reply: Reply) -> None:
    """What merely sounds alike stays a refusal of the sender."""
    assert judge(Evidence(Stage.MAIL, reply)) == VERDICTS["fail-all"]


@given(st.integers(200, 299))
def test_2xx_after_the_dot_is_sent(code: int) -> None:
    """Any 2xx after the final dot takes responsibility (RFC 5321 section 4.3.2)."""
    assert judge(Evidence(Stage.END_OF_DATA, Reply(code))).outcome is Outcome.SENT


@pytest.mark.parametrize("kind", NoReplyKind)
def test_silence_after_the_dot_is_doubt(kind: NoReplyKind) -> None:
    """Once the dot may have left, no kind of silence tells whether the mail was accepted."""
    assert judge(Evidence(Stage.END_OF_DATA, NoReply(kind))).outcome is Outcome.IN_DOUBT


@pytest.mark.parametrize("answer", [Reply(0), Reply(199), Reply(354), Reply(600), Reply(999)])
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
def test_a_code_that_belongs_nowhere_drops_the_session(stage: Stage, answer: Reply) -> None:
    """A code outside 2 to 5 hundred, or 354 out of place, means that replies are out of step."""
    verdict = judge(Evidence(stage, answer))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.SESSION)
    assert verdict.drops_session


@pytest.mark.parametrize("answer", [Reply(0), Reply(199), Reply(354), Reply(600), Reply(999)])
def test_a_code_that_belongs_nowhere_after_the_dot_is_doubt(answer: Reply) -> None:
    """After the dot such a code answers nothing."""
    verdict = judge(Evidence(Stage.END_OF_DATA, answer))

    assert (verdict.outcome, verdict.drops_session) == (Outcome.IN_DOUBT, True)


def test_250_to_data_is_not_sent() -> None:
    """A relay that answers DATA with 250 has been given no content: nothing was sent."""
    verdict = judge(Evidence(Stage.DATA, Reply(250)))

    assert (verdict.outcome, verdict.drops_session) == (Outcome.DEFER, True)


@pytest.mark.parametrize("code", PERHAPS_TOO_MANY)
@pytest.mark.parametrize(
    "said", [Reply(0), Reply(0, "", TOO_MANY), Reply(0, "", EnhancedStatus(5, 5, 3))], ids=str
)
def test_too_many_recipients_go_in_the_next_transaction(code: int, said: Reply) -> None:
    """452 or 552 after an acceptance puts a recipient off, at once and uncharged."""
    verdict = judge(Evidence(Stage.RCPT, replace(said, code=code)), others_accepted=True)

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RECIPIENT)
    assert (verdict.at_once, verdict.charged) == (True, False)


@pytest.mark.parametrize("code", PERHAPS_TOO_MANY)
@pytest.mark.parametrize("said", [Reply(0, "Too many recipients"), Reply(0, "", TOO_MANY)], ids=str)
def test_too_many_recipients_when_nobody_was_accepted_waits(code: int, said: Reply) -> None:
    """With nobody accepted the next transaction would be no smaller: it counts, and backs off."""
    verdict = judge(Evidence(Stage.RCPT, replace(said, code=code)), others_accepted=False)

    assert verdict == VERDICTS["too-many-one"]


@pytest.mark.parametrize(
    ("reply", "word"),
    [
        (Reply(552, "mailbox full"), "fail-one"),
        (Reply(552, "mailbox full", EnhancedStatus(5, 2, 2)), "fail-one"),
        (Reply(552, "too big", EnhancedStatus(5, 3, 4)), "fail-one"),
        (Reply(452, "mailbox full"), "defer-one"),
        (Reply(550, "Too many recipients"), "fail-one"),
        (Reply(450, "Too many recipients"), "defer-one"),
    ],
    ids=str,
)
def test_a_full_mailbox_is_not_too_many_recipients(reply: Reply, word: str) -> None:
    """552 has five meanings, and only one of them is put off; other codes never have it."""
    assert judge(Evidence(Stage.RCPT, reply)) == VERDICTS[word]


@pytest.mark.parametrize("enhanced", [EnhancedStatus(5, 2, 2), EnhancedStatus(5, 3, 4)])
def test_an_enhanced_code_outweighs_who_was_accepted(enhanced: EnhancedStatus) -> None:
    """A 552 that says "full" or "too big" fails, though others were accepted before it."""
    full = Evidence(Stage.RCPT, Reply(552, "too many recipients", enhanced))

    assert judge(full, others_accepted=True) == VERDICTS["fail-one"]


@pytest.mark.parametrize("code", [503, 554])
def test_no_valid_recipients_is_ignored(code: int) -> None:
    """503 or 554 to DATA, after every RCPT was deferred, fails nobody."""
    dialogue = Dialogue(["a@example.org"])
    dialogue.refuse(0, Evidence(Stage.RCPT, Reply(450)))
    dialogue.close(Evidence(Stage.DATA, Reply(code, "no valid recipients")))

    (finding,) = dialogue.findings()
    assert judge(finding.evidence) == VERDICTS["defer-one"]


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.END_OF_DATA])
def test_our_own_fault_is_local(stage: Stage) -> None:
    """A bug, a bad row or a full disk defers, charges nothing, and is no trouble of the relay's."""
    verdict = judge(Evidence(stage, NoReply(NoReplyKind.LOCAL, "disk full")))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.LOCAL)
    assert (verdict.charged, verdict.pauses_relay, verdict.drops_session) == (False, False, True)


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.END_OF_DATA])
def test_our_own_shutdown_costs_nothing(stage: Stage) -> None:
    """What we ended before the final dot goes back as if it had never been taken."""
    verdict = judge(Evidence(stage, NoReply(NoReplyKind.ABANDONED)))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.LOCAL)
    assert (verdict.charged, verdict.pauses_relay, verdict.rule) == (False, False, Rule.ABANDONED)


@pytest.mark.parametrize(
    ("stage", "scope"), [(Stage.MAIL, Scope.MESSAGE), (Stage.RCPT, Scope.RECIPIENT)]
)
def test_what_the_relay_does_not_offer_fails(stage: Stage, scope: Scope) -> None:
    """Larger than SIZE or without SMTPUTF8: asking would not change it, and no session suffers."""
    verdict = judge(Evidence(stage, Unsendable(EnhancedStatus(5, 6, 7), "needs SMTPUTF8")))

    assert (verdict.outcome, verdict.scope) == (Outcome.FAIL, scope)
    assert (verdict.drops_session, verdict.pauses_relay) == (False, False)


@pytest.mark.parametrize("stage", [Stage.RSET, Stage.QUIT])
@pytest.mark.parametrize("answer", [Reply(250), Reply(421), Reply(550), NoReply(NoReplyKind.LOST)])
def test_rset_and_quit_decide_nothing_about_a_mail(stage: Stage, answer: Answer) -> None:
    """Whatever RSET or QUIT is answered charges nobody and pauses nothing."""
    verdict = judge(Evidence(stage, answer))

    assert (verdict.outcome, verdict.charged, verdict.pauses_relay) == (Outcome.DEFER, False, False)


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
