"""What evidence means for a recipient: each rule, by name. The whole is in test_verdict_table."""

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
from mailqueue.mail.verdict import Outcome, Scope, judge

ASKS_FOR_AUTHENTICATION = (530, 534, 535, 538)
PERHAPS_TOO_MANY = (452, 552)
TOO_MANY = EnhancedStatus(4, 5, 3)


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
    verdict = judge(Evidence(Stage.MAIL, reply))

    assert (verdict.outcome, verdict.scope) == (Outcome.FAIL, Scope.MESSAGE)


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

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RECIPIENT)
    assert (verdict.at_once, verdict.charged) == (False, True)


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(552, "mailbox full"), Outcome.FAIL),
        (Reply(552, "mailbox full", EnhancedStatus(5, 2, 2)), Outcome.FAIL),
        (Reply(552, "too big", EnhancedStatus(5, 3, 4)), Outcome.FAIL),
        (Reply(452, "mailbox full"), Outcome.DEFER),
        (Reply(550, "Too many recipients"), Outcome.FAIL),
        (Reply(450, "Too many recipients"), Outcome.DEFER),
    ],
    ids=str,
)
def test_a_full_mailbox_is_not_too_many_recipients(reply: Reply, outcome: Outcome) -> None:
    """552 has five meanings, and only one of them is put off; other codes never have it."""
    verdict = judge(Evidence(Stage.RCPT, reply))

    assert (verdict.outcome, verdict.at_once, verdict.charged) == (outcome, False, True)


@pytest.mark.parametrize("enhanced", [EnhancedStatus(5, 2, 2), EnhancedStatus(5, 3, 4)])
def test_an_enhanced_code_outweighs_who_was_accepted(enhanced: EnhancedStatus) -> None:
    """A 552 that says "full" or "too big" fails, though others were accepted before it."""
    full = Evidence(Stage.RCPT, Reply(552, "too many recipients", enhanced))

    assert judge(full, others_accepted=True).outcome is Outcome.FAIL


@pytest.mark.parametrize("code", [503, 554])
def test_no_valid_recipients_is_ignored(code: int) -> None:
    """503 or 554 to DATA, after every RCPT was deferred, fails nobody."""
    dialogue = Dialogue(["a@example.org"])
    dialogue.refuse(0, Evidence(Stage.RCPT, Reply(450)))
    dialogue.close(Evidence(Stage.DATA, Reply(code, "no valid recipients")))

    (finding,) = dialogue.findings()
    assert judge(finding.evidence).outcome is Outcome.DEFER


@pytest.mark.parametrize(
    "stage",
    [one for one in Stage if not one.is_before_mail and one is not Stage.END_OF_DATA],
)
def test_our_own_fault_is_local(stage: Stage) -> None:
    """A bug, a bad row or a full disk defers, charges nothing, and is no trouble of the relay's."""
    verdict = judge(Evidence(stage, NoReply(NoReplyKind.LOCAL, "disk full")))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.LOCAL)
    assert (verdict.charged, verdict.pauses_relay, verdict.drops_session) == (False, False, True)


@pytest.mark.parametrize("stage", [one for one in Stage if one.is_before_mail])
def test_our_own_fault_before_mail_pauses_the_relay(stage: Stage) -> None:
    """A password file that cannot be read meets every mail alike: none of them pays for it."""
    verdict = judge(Evidence(stage, NoReply(NoReplyKind.LOCAL, "the password file is gone")))

    assert (verdict.outcome, verdict.scope) == (Outcome.DEFER, Scope.RELAY)
    assert (verdict.charged, verdict.pauses_relay, verdict.drops_session) == (False, True, True)


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
