from __future__ import annotations

import pytest

from mailqueue.mail.envelope import Content, Envelope
from mailqueue.mail.reply import EnhancedStatus, NoReplyKind, Reply, Unsendable
from mailqueue.mail.rule import Rule
from mailqueue.mail.stage import Stage
from mailqueue.mail.verdict import Outcome, Scope
from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import (
    ANN,
    BOB,
    CEE,
    CONTENT,
    ENVELOPE,
    code_of,
    dot_written,
    findings_of,
    kind_of,
    outcomes,
    session_with,
    stages,
    verdicts,
)

pytestmark = pytest.mark.usefixtures("way")

SENT, DEFER, FAIL, IN_DOUBT = Outcome.SENT, Outcome.DEFER, Outcome.FAIL, Outcome.IN_DOUBT


async def test_sent_to_all(relay: ScriptedRelay) -> None:
    """A 2xx after the final dot is for everyone accepted at RCPT, with both replies kept."""
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [SENT, SENT, SENT]
    for finding in findings:
        assert finding.evidence.stage is Stage.END_OF_DATA
        assert finding.evidence.command == "."
        assert finding.rcpt == Reply(250, "recipient ok", EnhancedStatus(2, 1, 5))
    [accepted] = relay.ledger.accepted
    assert accepted.content == CONTENT.raw
    assert accepted.sender == ENVELOPE.sender
    assert accepted.recipients == ENVELOPE.recipients
    assert session.is_usable
    session.abort()


async def test_the_null_sender(relay: ScriptedRelay) -> None:
    """A notification goes out with the null reverse-path (RFC 5321 section 4.5.5)."""
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("", (ANN,)))
    assert outcomes(findings) == [SENT]
    assert relay.ledger.sessions[0].commands[1].startswith("MAIL FROM:<>")
    session.abort()


@pytest.mark.parametrize(
    ("reply", "outcome"), [("451 4.7.1 greylisted", DEFER), ("550 5.1.1 no such user", FAIL)]
)
async def test_a_refused_recipient_stands_alone(
    relay: ScriptedRelay, script: Script, reply: str, outcome: Outcome
) -> None:
    """4xx or 5xx to RCPT is that recipient's; the others are sent to."""
    script.on("RCPT", address=BOB).reply(reply)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [SENT, outcome, SENT]
    assert findings[1].evidence.command == f"RCPT TO:<{BOB}>"
    assert verdicts(findings)[1].scope is Scope.RECIPIENT
    assert relay.ledger.accepted[0].recipients == (ANN, CEE)
    assert session.is_usable
    session.abort()


@pytest.mark.parametrize("verb", ["MAIL", "DATA", "."])
@pytest.mark.parametrize(("reply", "outcome"), [("451 4.3.0 no", DEFER), ("554 5.7.1 no", FAIL)])
async def test_a_refused_message(
    relay: ScriptedRelay, script: Script, verb: str, reply: str, outcome: Outcome
) -> None:
    """4xx or 5xx to MAIL, DATA or the dot is for all who have no answer of their own."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on(verb).reply(reply)
    session = await session_with(relay)
    findings = await findings_of(session)
    first = outcome if verb == "MAIL" else FAIL
    assert outcomes(findings) == [first, outcome, outcome]
    assert verdicts(findings)[1].scope is Scope.MESSAGE
    if verb != "MAIL":
        assert findings[0].evidence.stage is Stage.RCPT, "the 550 is not lost behind the 451"
    assert relay.ledger.accepted == []
    assert session.is_usable
    session.abort()


async def test_nobody_accepted(relay: ScriptedRelay, script: Script, way: str) -> None:
    """Where every recipient is refused each keeps its own reply; a refusal of DATA that was
    asked with the others is a consequence.
    """
    script.on("RCPT", address=ANN).reply("550 5.1.1 no")
    script.on("RCPT", address=BOB).reply("451 4.7.1 later")
    script.on("RCPT", address=CEE).reply("552 5.2.2 full")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert [code_of(one.evidence) for one in findings] == [550, 451, 552]
    assert relay.ledger.seen["DATA"] == (way == "pipelined")
    assert session.is_usable
    assert relay.ledger.offered == []
    session.abort()


@pytest.mark.parametrize("code", [251, 252, 259])
async def test_any_2xx_accepts_a_recipient(relay: ScriptedRelay, script: Script, code: int) -> None:
    """251 and 252 to RCPT accept; aiosmtplib takes 252 for a refusal."""
    script.on("RCPT", address=BOB).reply(f"{code} 2.1.5 will try")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [SENT, SENT, SENT]
    assert findings[1].rcpt is not None
    assert findings[1].rcpt.code == code
    session.abort()


@pytest.mark.parametrize("code", [250, 251, 259, 220])
async def test_any_2xx_after_the_dot_is_sent(
    relay: ScriptedRelay, script: Script, code: int
) -> None:
    """A 2xx after the dot is responsibility taken: trying again would make a duplicate."""
    script.on(".").reply(f"{code} thanks")
    session = await session_with(relay)
    assert outcomes(await findings_of(session)) == [SENT, SENT, SENT]
    session.abort()


@pytest.mark.parametrize("reply", ["250 ok", "220 hm", "334 go", "399 hm"])
async def test_only_354_lets_the_content_go(
    relay: ScriptedRelay, script: Script, reply: str
) -> None:
    """Any other 2xx or 3xx to DATA is out of order: nothing is sent and the session is dropped."""
    script.on("DATA").reply(reply)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [DEFER] * 3
    assert {verdict.rule for verdict in verdicts(findings)} == {Rule.MALFORMED}
    assert not session.is_usable
    assert not dot_written(session)
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_421_ends_the_session(relay: ScriptedRelay, script: Script, verb: str) -> None:
    """421 is kept with its text, defers those without an answer, and the session is dropped."""
    occurrence = 2 if verb == "RCPT" else None
    script.on(verb, occurrence=occurrence).reply("421 4.3.2 shutting down")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [DEFER] * 3
    assert {code_of(one.evidence) for one in findings} == {421}
    assert {one.evidence.answer.text for one in findings} == {"shutting down"}  # type: ignore[union-attr]
    assert all(verdict.drops_session for verdict in verdicts(findings))
    assert not session.is_usable
    await relay.wait_sessions_closed()


async def test_421_in_the_midst_of_the_recipients(relay: ScriptedRelay, script: Script) -> None:
    """Those refused before the 421 keep their own reply; all others get the 421."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on("RCPT", address=CEE).reply("421 4.7.0 too much").close()
    session = await session_with(relay)
    findings = await findings_of(session)
    assert [code_of(one.evidence) for one in findings] == [550, 421, 421]
    assert findings[1].rcpt is not None, "Bob had been accepted"
    assert not session.is_usable


async def test_lost_in_the_midst_of_the_recipients(relay: ScriptedRelay, script: Script) -> None:
    """A connection lost before the dot defers whoever has no answer yet."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on("RCPT", address=BOB).reset()
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [FAIL, DEFER, DEFER]
    assert kind_of(findings[2].evidence) is NoReplyKind.LOST
    assert verdicts(findings)[2].scope is Scope.SESSION
    assert not session.is_usable


async def test_a_421_nobody_asked_for(relay: ScriptedRelay, script: Script) -> None:
    """A 421 that comes between two commands answers the next one (RFC 5321 section 3.8)."""
    rule = script.on("MAIL").as_usual().delay(0.01).reply("421 4.3.2 shutting down").close()
    session = await session_with(relay)
    findings = await findings_of(session)
    assert rule.used == 1
    assert stages(findings) == [Stage.RCPT] * 3
    assert {code_of(one.evidence) for one in findings} == {421}


@pytest.mark.parametrize(
    ("verb", "stage"),
    [("MAIL", Stage.MAIL), ("RCPT", Stage.RCPT), ("DATA", Stage.DATA)],
)
@pytest.mark.parametrize("fault", ["close", "reset", "half-close", "silence"])
async def test_silence_before_the_dot(
    relay: ScriptedRelay, script: Script, verb: str, stage: Stage, fault: str
) -> None:
    """No reply before the dot: nothing can have been accepted, so it is tried again."""
    rule = script.on(verb)
    {
        "close": rule.close,
        "reset": rule.reset,
        "half-close": rule.half_close,
        "silence": rule.silence,
    }[fault]()
    session = await session_with(relay, timeouts={verb.lower(): 0.2})
    findings = await findings_of(session)
    assert outcomes(findings) == [DEFER] * 3
    assert stages(findings) == [stage] * 3
    expected = NoReplyKind.TIMEOUT if fault == "silence" else NoReplyKind.LOST
    assert {kind_of(one.evidence) for one in findings} == {expected}
    assert not session.is_usable
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("fault", ["close", "reset", "half-close", "silence"])
async def test_silence_after_the_dot(relay: ScriptedRelay, script: Script, fault: str) -> None:
    """No reply after the dot leaves doubt, for those accepted and for nobody else."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    rule = script.on(".").accept()
    {
        "close": rule.close,
        "reset": rule.reset,
        "half-close": rule.half_close,
        "silence": rule.silence,
    }[fault]()
    session = await session_with(relay, timeouts={"end_of_data": 0.2})
    findings = await findings_of(session)
    assert outcomes(findings) == [FAIL, IN_DOUBT, IN_DOUBT]
    assert dot_written(session)
    assert not session.is_usable
    assert len(relay.ledger.accepted) == 1, "the relay had taken it"
    await relay.wait_sessions_closed()


@pytest.mark.parametrize("reply", ["199 hm", "600 hm", "999 hm"])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_codes_without_meaning(
    relay: ScriptedRelay, script: Script, verb: str, reply: str
) -> None:
    """A code outside of 200 to 599 says nothing; after the dot it leaves doubt."""
    script.on(verb).reply(reply)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [IN_DOUBT if verb == "." else DEFER] * 3
    assert {one.evidence.answer for one in findings} == {Reply(int(reply[:3]), "hm")}
    assert not session.is_usable


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"25 ok\r\n",
        b"2_5 ok\r\n",
        b"-25 ok\r\n",
        b"250-yes\r\n550 no\r\n",
        b"250 ok\r\n250 ok\r\n",
        b"250 ok\r\n421 closing\r\n",
        b"250 ok\r\n\r\n",
        b"\r\n",
    ],
)
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA", "."])
async def test_what_is_not_one_reply(
    relay: ScriptedRelay, script: Script, verb: str, said: bytes, way: str
) -> None:
    """Garbage, differing codes and leftover bytes end the session; after the dot: doubt."""
    if way == "pipelined" and verb in ("MAIL", "RCPT") and b"421" in said:
        # The next command has been written already: 421 is the answer to it.
        script.on(verb).raw(said)
        findings = await findings_of(await session_with(relay))
        assert outcomes(findings) == [DEFER] * 3
        assert {code_of(one.evidence) for one in findings} == {421}
        return
    script.on(verb).raw(said)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [IN_DOUBT if verb == "." else DEFER] * 3
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.MALFORMED}
    assert {verdict.drops_session for verdict in verdicts(findings)} == {True}
    assert not session.is_usable


async def test_a_spare_250_behind_the_354(relay: ScriptedRelay, script: Script) -> None:
    """A reply too many behind 354 must not turn the 550 to the content into a success."""
    script.on("DATA").then(extra=b"250 spare\r\n")
    script.on(".").reply("550 5.7.1 spam")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [DEFER] * 3
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.MALFORMED}
    assert not session.is_usable
    await relay.wait_sessions_closed()
    assert relay.ledger.offered == []


async def test_endless_continuation(relay: ScriptedRelay, script: Script) -> None:
    """A reply without end is cut off by its size, long before any timeout."""
    script.on("MAIL").endless()
    session = await session_with(relay)
    findings = await findings_of(session)
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.MALFORMED}
    await relay.wait_sessions_closed()


async def test_a_dripping_reply(relay: ScriptedRelay, script: Script) -> None:
    """The timeout is for the whole reply: one byte now and then does not prolong it."""
    script.on("MAIL").drip(bytes_per_second=20)
    session = await session_with(relay, timeouts={"mail": 0.3})
    findings = await findings_of(session)
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.TIMEOUT}
    await relay.wait_sessions_closed()


async def test_replies_of_many_lines(relay: ScriptedRelay, script: Script) -> None:
    """All lines of a reply are kept, its enhanced code once."""
    script.on(".").reply("250-2.6.0 queued", "250-2.6.0 as 4711", "250 2.6.0 thanks")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert findings[0].evidence.answer == Reply(
        250, "queued\nas 4711\nthanks", EnhancedStatus(2, 6, 0)
    )
    session.abort()


async def test_replies_byte_by_byte(relay: ScriptedRelay, script: Script) -> None:
    """However a reply is cut into segments, it is one reply."""
    script.on("*").split_every(1)
    session = await session_with(relay)
    assert outcomes(await findings_of(session)) == [SENT] * 3
    await session.quit()


@pytest.mark.parametrize("cut", range(1, len(b"250-2.0.0 a\r\n250 2.0.0 b\r\n")))
async def test_a_reply_cut_anywhere(relay: ScriptedRelay, script: Script, cut: int) -> None:
    """A reply of two lines in two segments is understood, wherever it is cut."""
    script.on(".").reply("250-2.0.0 a", "250 2.0.0 b").split_at(cut)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert findings[0].evidence.answer == Reply(250, "a\nb", EnhancedStatus(2, 0, 0))
    session.abort()


async def test_eight_bit_text(relay: ScriptedRelay, script: Script) -> None:
    """Bytes that are no text arrive as something that can be stored and printed."""
    script.on(".").reply(b"550 5.7.1 caf\xe9 \xff\x00\x1b[31m \xc3\xa9")
    session = await session_with(relay)
    findings = await findings_of(session)
    answer = findings[0].evidence.answer
    assert isinstance(answer, Reply)
    assert answer.text.encode() == "caf? ???[31m é".encode()
    assert answer.text.isprintable()
    session.abort()


async def test_a_reply_of_32_kb(relay: ScriptedRelay, script: Script) -> None:
    """A long reply is taken, and what is kept of it is short."""
    script.on(".").reply(*[f"250-{'x' * 500}"] * 50, "250 done")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [SENT] * 3
    answer = findings[0].evidence.answer
    assert isinstance(answer, Reply)
    assert len(answer.text) <= 1024
    session.abort()


async def test_too_many_recipients(relay: ScriptedRelay, script: Script) -> None:
    """452 and 552 for recipients beyond what the relay takes go at once in the next one."""
    script.on("RCPT", address=BOB).reply("452 4.5.3 too many recipients")
    script.on("RCPT", address=CEE).reply("552 too many recipients")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [SENT, DEFER, DEFER]
    assert [verdict.at_once for verdict in verdicts(findings)] == [False, True, True]
    assert not any(verdict.charged for verdict in verdicts(findings)[1:])
    session.abort()


@pytest.mark.parametrize("reply", ["530 5.7.0 authentication required", "538 5.7.11 TLS first"])
async def test_authentication_wanted_at_mail(
    relay: ScriptedRelay, script: Script, reply: str
) -> None:
    """A relay that wants a login gets no mail failed, and is paused."""
    script.on("MAIL").reply(reply)
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [DEFER] * 3
    assert all(verdict.pauses_relay and not verdict.charged for verdict in verdicts(findings))
    session.abort()


# What is found out before anything is asked


async def test_too_big(relay: ScriptedRelay) -> None:
    """Content over the advertised SIZE fails with 5.3.4 here, and nothing is asked."""
    relay.extensions = ("PIPELINING", f"SIZE {CONTENT.size - 1}")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [FAIL] * 3
    assert {str(one.evidence.answer)[:5] for one in findings} == {"5.3.4"}
    assert stages(findings) == [Stage.MAIL] * 3
    assert relay.ledger.seen["MAIL"] == 0
    assert session.is_usable
    assert session.messages == 0
    session.abort()


@pytest.mark.parametrize("size", [f"SIZE {CONTENT.size}", "SIZE 0", "SIZE"])
async def test_not_too_big(relay: ScriptedRelay, size: str) -> None:
    """SIZE 0 and SIZE without a number declare no limit (RFC 1870 section 4)."""
    relay.extensions = ("PIPELINING", size)
    session = await session_with(relay)
    assert outcomes(await findings_of(session)) == [SENT] * 3
    assert relay.ledger.accepted[0].mail_parameters == (f"SIZE={CONTENT.size}",)
    session.abort()


async def test_eight_bit_content(relay: ScriptedRelay) -> None:
    """BODY=8BITMIME is said where the content needs it and only there."""
    content = Content(b"Subject: x\r\n\r\ncaf\xc3\xa9\r\n", "<8@example.org>", eight_bit=True)
    session = await session_with(relay)
    assert outcomes(await findings_of(session, content=content)) == [SENT] * 3
    assert "BODY=8BITMIME" in relay.ledger.accepted[0].mail_parameters
    session.abort()


async def test_eight_bit_content_without_8bitmime(relay: ScriptedRelay) -> None:
    """8-bit content for a relay that cannot take it fails with 5.6.3."""
    relay.extensions = ("PIPELINING", "SIZE")
    content = Content(b"Subject: x\r\n\r\ncaf\xc3\xa9\r\n", "<8@example.org>", eight_bit=True)
    session = await session_with(relay)
    findings = await findings_of(session, content=content)
    assert {one.evidence.answer.enhanced for one in findings} == {EnhancedStatus(5, 6, 3)}  # type: ignore[union-attr]
    assert outcomes(findings) == [FAIL] * 3
    assert relay.ledger.seen["MAIL"] == 0
    session.abort()


UTF8 = Content(
    "Subject: Grüße\r\n\r\nhallo\r\n".encode(), "<u@example.org>", eight_bit=True, utf8_header=True
)


async def test_smtputf8(relay: ScriptedRelay) -> None:
    """A UTF-8 header and UTF-8 addresses go with SMTPUTF8 where it is offered."""
    session = await session_with(relay)
    envelope = Envelope("jürgen@example.org", ("søren@example.net", ANN))
    assert outcomes(await findings_of(session, envelope, UTF8)) == [SENT] * 2
    [accepted] = relay.ledger.accepted
    assert accepted.sender == "jürgen@example.org"
    assert accepted.recipients == ("søren@example.net", ANN)
    assert "SMTPUTF8" in accepted.mail_parameters
    session.abort()


@pytest.mark.parametrize(
    ("sender", "content"), [("jürgen@example.org", CONTENT), ("a@example.org", UTF8)]
)
async def test_no_smtputf8_for_the_message(
    relay: ScriptedRelay, sender: str, content: Content
) -> None:
    """A UTF-8 header or sender without SMTPUTF8 fails for all with 5.6.7."""
    relay.extensions = ("PIPELINING", "8BITMIME")
    session = await session_with(relay)
    findings = await findings_of(session, Envelope(sender, (ANN, BOB)), content)
    assert {one.evidence.answer.enhanced for one in findings} == {EnhancedStatus(5, 6, 7)}  # type: ignore[union-attr]
    assert stages(findings) == [Stage.MAIL] * 2
    assert relay.ledger.seen["MAIL"] == 0
    session.abort()


async def test_no_smtputf8_for_one_recipient(relay: ScriptedRelay) -> None:
    """Without SMTPUTF8 only the recipients that need it fail; the rest are sent to."""
    relay.extensions = ("PIPELINING", "8BITMIME")
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("a@example.org", ("søren@example.net", ANN)))
    assert outcomes(findings) == [FAIL, SENT]
    assert stages(findings) == [Stage.RCPT, Stage.END_OF_DATA]
    assert isinstance(findings[0].evidence.answer, Unsendable)
    assert relay.ledger.accepted[0].recipients == (ANN,)
    assert "SMTPUTF8" not in relay.ledger.accepted[0].mail_parameters
    session.abort()


async def test_no_smtputf8_for_any_recipient(relay: ScriptedRelay) -> None:
    """Where nobody is left to ask for, nothing is asked."""
    relay.extensions = ("PIPELINING",)
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("a@example.org", ("søren@example.net",)))
    assert outcomes(findings) == [FAIL]
    assert relay.ledger.seen["MAIL"] == 0
    assert session.is_usable
    session.abort()


@pytest.mark.parametrize("code", [455, 504, 555])
async def test_once_more_without_size(relay: ScriptedRelay, script: Script, code: int) -> None:
    """A relay that offers SIZE and refuses the parameter is asked without it."""
    script.on("MAIL").when(lambda cue: "SIZE=" in cue.line).reply(f"{code} 5.5.4 parameter")
    session = await session_with(relay)
    assert outcomes(await findings_of(session)) == [SENT] * 3
    assert relay.ledger.accepted[0].mail_parameters == ()
    session.abort()


async def test_not_more_than_once_without_size(relay: ScriptedRelay, script: Script) -> None:
    """What is refused without SIZE too stays refused; and without SIZE there is no second try."""
    script.on("MAIL").reply("555 5.5.4 no")
    session = await session_with(relay)
    findings = await findings_of(session)
    assert outcomes(findings) == [FAIL] * 3
    assert relay.ledger.seen["MAIL"] == 2
    assert findings[0].evidence.command == f"MAIL FROM:<{ENVELOPE.sender}>"
    relay.extensions = ("PIPELINING",)
    bare = await session_with(relay)
    await findings_of(bare)
    assert relay.ledger.seen["MAIL"] == 3
    session.abort()
    bare.abort()


@pytest.mark.parametrize(
    "address",
    [
        "a@example.net> NOTIFY=NEVER",
        "a@example.net>\r\nRCPT TO:<victim@example.net",
        "a b@example.net",
        "a\x00@example.net",
        "a@exam\udcffple.net",
        "nobody",
        "",
    ],
)
async def test_a_tampered_recipient(relay: ScriptedRelay, address: str) -> None:
    """An address that would say more than a path is never written, whatever row it came from."""
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("a@example.org", (ANN, address)))
    assert kind_of(findings[1].evidence) is NoReplyKind.LOCAL
    assert outcomes(findings) == [SENT, DEFER]
    assert relay.ledger.accepted[0].recipients == (ANN,)
    assert relay.ledger.seen["RCPT"] == 1
    str(findings[1].evidence.answer).encode()
    session.abort()


async def test_a_tampered_sender(relay: ScriptedRelay) -> None:
    """The same for the sender, and then nothing is asked at all."""
    session = await session_with(relay)
    findings = await findings_of(session, Envelope("a@example.org> BODY=8BITMIME", (ANN,)))
    assert findings[0].evidence.stage is Stage.MAIL
    assert kind_of(findings[0].evidence) is NoReplyKind.LOCAL
    assert relay.ledger.seen["MAIL"] == 0
    session.abort()


@pytest.mark.parametrize("end", [b"\n.\n", b"\r.\r", b"\n.\r\n", b"\r\n.\n"])
async def test_a_smuggled_dot(relay: ScriptedRelay, end: bytes) -> None:
    """Content with a bare CR or LF, which some relay takes for a line end, is not sent."""
    raw = b"Subject: x\r\n\r\nhello" + end + b"MAIL FROM:<evil@example.net>\r\n"
    session = await session_with(relay)
    findings = await findings_of(session, content=Content(raw, "<s@example.org>"))
    assert {kind_of(one.evidence) for one in findings} == {NoReplyKind.LOCAL}
    assert relay.ledger.seen["MAIL"] == 0
    session.abort()
