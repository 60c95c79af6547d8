"""The table of reply codes is whole, plain, and says what the verdict does."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.dialogue import Dialogue
from mailqueue.mail.reply import EnhancedStatus, Evidence, Reply
from mailqueue.mail.reply_codes import REPLY_CODES, ReplyCode, look_up
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import AUTHENTICATION_REQUIRED, Outcome, Verdict, judge

STANDARD = """
    211 214 220 221 250 251 252 354 421 450 451 452 455 500 501 502 503 504 521
    550 551 552 553 554 555 556
"""
"""RFC 5321 section 4.2.3 and RFC 7504."""
AUTHENTICATION_AND_TLS = "235 334 432 454 530 534 535 538"
"""RFC 4954 section 6 and RFC 3207 section 4."""
OTHER = """
    253 422 430 431 441 442 446 447 449 453 456 458 459 471 505 510 511 512 513 520
    523 524 525 533 540 541 543 546 547 557 571 572 585
"""
"""Commands we never send, the registry of RFC 5248, and what relays made up."""

REFUSALS = [entry for entry in (*REPLY_CODES, look_up(499), look_up(599)) if entry.code >= 400]
KNOWN = [entry.code for entry in REPLY_CODES]
UNKNOWN = sorted(set(range(200, 600)) - set(KNOWN))


def by_code(entries: list[ReplyCode]) -> pytest.MarkDecorator:
    """One test for each of these entries, named by its code."""
    return pytest.mark.parametrize("entry", entries, ids=lambda entry: str(entry.code))


def verdicts(entry: ReplyCode) -> list[Verdict]:
    """What `judge` says of a bare reply with this code, at each stage that decides a mail."""
    return [
        judge(Evidence(stage, Reply(entry.code)))
        for stage in entry.stages
        if not stage.is_housekeeping
    ]


def test_the_table_holds_every_code_that_users_meet_once() -> None:
    """Each code of the standards, the registry and the field has one row, in rising order."""
    expected = sorted(map(int, f"{STANDARD} {AUTHENTICATION_AND_TLS} {OTHER}".split()))

    assert expected == KNOWN


@by_code(list(REPLY_CODES))
def test_an_entry_says_where_what_and_what_follows(entry: ReplyCode) -> None:
    """Every entry has stages without repeats, in order of the conversation, and whole sentences."""
    order = list(Stage)

    assert entry.stages
    assert sorted(set(entry.stages), key=order.index) == list(entry.stages)
    for sentence in (entry.meaning, entry.action, entry.advice or "Nothing."):
        assert re.fullmatch(r"[A-Z0-9][^\n]*\.", sentence)
        assert "  " not in sentence


@by_code(list(REPLY_CODES))
def test_a_source_names_its_section(entry: ReplyCode) -> None:
    """A source is an RFC, with its section where it is RFC 5321; the rest call themselves so."""
    if not entry.rfc:
        assert re.search("not a standard code|never standardised", entry.meaning)
        return
    for source in entry.rfc.split(", "):
        assert re.fullmatch(r"RFC 5321 section \d[\d.]*|RFC \d{4}( section \d[\d.]*)?", source)
        assert source != "RFC 5321"


@by_code(list(REPLY_CODES))
def test_no_reply_comes_before_there_is_a_connection(entry: ReplyCode) -> None:
    """The stage `connect` has no replies, so no code is met there."""
    assert Stage.CONNECT not in entry.stages


@given(st.integers(200, 599))
def test_every_reply_code_can_be_looked_up(code: int) -> None:
    """From 200 to 599 every code has an entry of its own number with a meaning and an action."""
    entry = look_up(code)

    assert entry.code == code
    assert entry.stages
    assert entry.meaning
    assert entry.action


@by_code(list(REPLY_CODES))
def test_a_known_code_is_looked_up_in_the_table(entry: ReplyCode) -> None:
    """The look-up returns the row itself."""
    assert look_up(entry.code) is entry


@given(st.sampled_from(UNKNOWN))
def test_an_unknown_code_is_explained_by_its_first_digit(code: int) -> None:
    """A code that nobody has heard of differs from its neighbours in its number alone."""
    entry = look_up(code)
    says = {2: "done", 3: "asks for more", 4: "not now", 5: "no"}[code // 100]

    assert entry.rfc == "RFC 5321 section 4.2"
    assert entry.meaning.startswith("A code nobody has heard of: the first digit decides")
    assert entry.meaning.endswith(f" {says}.")


@given(st.integers(max_value=199) | st.integers(min_value=600))
def test_any_other_number_is_no_reply_code(code: int) -> None:
    """Outside 200 to 599 the entry says that it is no reply code and that the session goes."""
    entry = look_up(code)

    assert entry.code == code
    assert entry.meaning.startswith("Not an SMTP reply code")
    assert entry.action.startswith("Drops the session and defers")


@by_code([look_up(code) for code in (*KNOWN, 299, 399, 499, 999) if not 500 <= code <= 599])
def test_only_a_refusal_fails_a_mail(entry: ReplyCode) -> None:
    """Nothing but a 5yz is said to fail."""
    assert not re.search(r"\bfail", entry.action, re.IGNORECASE)


@by_code(REFUSALS)
def test_the_action_names_what_the_verdict_does(entry: ReplyCode) -> None:
    """Failing, deferring, pausing and dropping stand in the action if the verdict does them."""
    reached = verdicts(entry)
    says = entry.action.lower()

    assert ("fails" in says) == any(v.outcome is Outcome.FAIL for v in reached)
    assert ("pauses the relay" in says) == any(v.pauses_relay for v in reached)
    if any(v.outcome is Outcome.DEFER and not v.pauses_relay for v in reached):
        assert "defers" in says
    if any(v.drops_session and not v.pauses_relay for v in reached):
        assert "drops the session" in says


@by_code([entry for entry in REFUSALS if any(stage.is_before_mail for stage in entry.stages)])
def test_a_refusal_before_mail_pauses_the_relay(entry: ReplyCode) -> None:
    """Where a 4yz or 5yz is met before MAIL, the action pauses the relay and charges nothing."""
    assert "pauses the relay" in entry.action.lower()
    assert re.search("charges (nothing|no attempt)", entry.action)


@by_code([entry for entry in REFUSALS if entry.stages == (Stage.RCPT,)])
def test_a_code_met_at_rcpt_alone_concerns_that_recipient_alone(entry: ReplyCode) -> None:
    """A code of RCPT alone is said to concern one recipient, for good if it is a 5yz."""
    assert "that recipient only" in entry.action
    assert ("for good" in entry.action) == (entry.code >= 500)


@by_code([look_up(code) for code in sorted(AUTHENTICATION_REQUIRED)])
def test_a_call_for_authentication_never_fails_a_mail(entry: ReplyCode) -> None:
    """530, 534, 535 and 538 pause the relay at MAIL as well, and do nothing else."""
    assert Stage.MAIL in entry.stages
    assert entry.action.startswith("Pauses the relay, charges no attempt")


@by_code(REFUSALS)
def test_only_452_and_552_put_a_recipient_off_to_the_next_transaction(entry: ReplyCode) -> None:
    """The action speaks of the next transaction where x.5.3 at RCPT is tried again at once."""
    too_many = Reply(entry.code, "", EnhancedStatus(entry.code // 100, 5, 3))
    verdict = judge(Evidence(Stage.RCPT, too_many), others_accepted=True)

    assert ("next transaction" in entry.action.lower()) == verdict.at_once
    assert verdict.at_once == (entry.code in (452, 552))


@by_code([look_up(503), look_up(554)])
def test_no_valid_recipients_is_ignored_as_a_consequence(entry: ReplyCode) -> None:
    """503 and 554 to DATA change nothing for recipients who were refused at RCPT."""
    refused = Evidence(Stage.RCPT, Reply(550, "unknown user"))
    dialogue = Dialogue(["a@example.org"])
    dialogue.refuse(0, refused)

    dialogue.close(Evidence(Stage.DATA, Reply(entry.code, "no valid recipients")))

    assert dialogue.findings()[0].evidence == refused
    assert entry.action.startswith("Ignored at DATA when every recipient was refused")


@by_code([entry for entry in REPLY_CODES if entry.code < 300 and Stage.END_OF_DATA in entry.stages])
def test_a_2yz_after_the_final_dot_is_said_to_send(entry: ReplyCode) -> None:
    """Whatever its last digits, a 2yz after the final dot is sent."""
    assert judge(Evidence(Stage.END_OF_DATA, Reply(entry.code))).outcome is Outcome.SENT
    assert "after the final dot the mail is sent" in entry.action


@pytest.mark.parametrize("code", [354, 399, 199, 600, 999])
def test_what_does_not_belong_there_drops_the_session(code: int) -> None:
    """A 3yz out of place and a number that is no reply code drop the session, and defer."""
    at_rcpt = judge(Evidence(Stage.RCPT, Reply(code)))

    assert (at_rcpt.outcome, at_rcpt.drops_session) == (Outcome.DEFER, True)
    assert "drops the session" in look_up(code).action.lower()


@pytest.mark.parametrize("code", [399, 199, 600, 999])
def test_what_does_not_belong_after_the_dot_is_doubt(code: int) -> None:
    """A 3yz or a number that is no reply code, after the final dot, leaves the mail in doubt."""
    after_dot = judge(Evidence(Stage.END_OF_DATA, Reply(code)))

    assert after_dot.outcome is Outcome.IN_DOUBT
    assert "after the final dot the mail is in doubt" in look_up(code).action


@by_code(REFUSALS)
def test_a_second_way_of_asking_is_named(entry: ReplyCode) -> None:
    """HELO follows where EHLO is not known, and MAIL without SIZE what speaks of its parameters."""
    assert ("HELO instead" in entry.action) == (entry.code in (500, 502, 504))
    assert ("without SIZE" in entry.action) == (entry.code in (455, 504, 555))
