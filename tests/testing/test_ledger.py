"""The ledger is exact about what was taken."""

import hashlib

import pytest

from mailqueue.testing import Acceptance, Ledger, Script, ScriptedRelay
from tests.testing.raw_client import connect, greeted

CONTENT = b"Message-ID: <1@x.example>\r\n\r\nHello.\r\n"


async def test_an_acceptance_says_everything(relay: ScriptedRelay) -> None:
    """Envelope, content, reply and place of an accepted message are on record."""
    async with greeted(relay) as client:
        await client.ask("MAIL FROM:<a@b.example> SIZE=5 BODY=8BITMIME")
        await client.ask("RCPT TO:<c@d.example>")
        await client.ask("RCPT TO:<e@f.example>")
        await client.ask("DATA")
        await client.send(CONTENT + b".\r\n")
        await client.reply()
    (accepted,) = relay.ledger.accepted
    assert isinstance(accepted, Acceptance)
    assert (accepted.order, accepted.session, accepted.transaction) == (1, 1, 1)
    assert accepted.sender == "a@b.example"
    assert accepted.recipients == ("c@d.example", "e@f.example")
    assert accepted.mail_parameters == ("SIZE=5", "BODY=8BITMIME")
    assert (accepted.content, accepted.size) == (CONTENT, len(CONTENT))
    assert accepted.digest == hashlib.sha256(CONTENT).hexdigest()
    assert accepted.message_id == "<1@x.example>"
    assert accepted.reply == "250 2.0.0 accepted as 1"
    assert (accepted.tls, accepted.authenticated_as) == (None, None)
    assert relay.ledger.offered == [accepted]


async def test_deliveries_are_counted_by_recipient_and_message(relay: ScriptedRelay) -> None:
    """Two copies to one recipient are two deliveries, and a duplicate."""
    other = CONTENT.replace(b"<1@", b"<2@")
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example", "c@d.example"], CONTENT)
        await client.transact("", ["a@b.example"], CONTENT)
        await client.transact("", ["a@b.example"], other)
    ledger = relay.ledger
    assert ledger.deliveries("a@b.example") == 3
    assert ledger.deliveries("a@b.example", message_id="<1@x.example>") == 2
    assert ledger.deliveries("nobody@b.example") == 0
    assert ledger.duplicates == {("<1@x.example>", "a@b.example"): 2}
    assert [one.order for one in ledger.of_message("<1@x.example>")] == [1, 2]
    assert [one.transaction for one in ledger.accepted] == [1, 2, 3]


async def test_what_was_refused_was_offered(relay: ScriptedRelay, script: Script) -> None:
    """A message refused at the dot is offered, not accepted; one cut off before is neither."""
    script.on(".").times(1).reply("554 5.7.1 spam")
    script.on("BODY", transaction=2).close()
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example"])
        for line in ("MAIL FROM:<>", "RCPT TO:<a@b.example>", "DATA"):
            await client.ask(line)
        await client.send(b"x")
        assert await client.everything() == b""
    (offer,) = relay.ledger.offered
    assert not isinstance(offer, Acceptance)
    assert offer.reply == "554 5.7.1 spam"
    assert relay.ledger.accepted == []
    assert relay.ledger.deliveries("a@b.example") == 0


async def test_content_need_not_be_kept() -> None:
    """For large drains the digest and the size stay, the content goes."""
    async with ScriptedRelay(ledger=Ledger(keep_content=False)) as relay, greeted(relay) as client:
        await client.transact("", ["a@b.example"], CONTENT)
    (accepted,) = relay.ledger.accepted
    assert accepted.content is None
    assert (accepted.size, accepted.message_id) == (len(CONTENT), "<1@x.example>")
    assert accepted.digest == hashlib.sha256(CONTENT).hexdigest()


async def test_sessions_are_on_record(relay: ScriptedRelay) -> None:
    """What was said on a session can be asserted on and read."""
    async with greeted(relay) as client:
        await client.transact("a@b.example", ["c@d.example"])
        await client.ask("QUIT")
    async with connect(relay) as client:
        await client.reply()
    await relay.wait_sessions_closed()
    first, second = relay.ledger.sessions
    assert first.verbs == ["EHLO", "MAIL", "RCPT", "DATA", ".", "QUIT"]
    assert first.commands[1] == "MAIL FROM:<a@b.example>"
    assert (first.number, second.number, second.commands) == (1, 2, [])
    lines = first.transcript.splitlines()
    assert lines[0] == "S: 220 relay.example ESMTP ready"
    assert lines[-3:] == ["C: QUIT", "S: 221 2.0.0 relay.example closing", "-: close"]
    assert "-: accepted, number 1" in lines
    assert relay.ledger.seen["CONNECT"] == 2
    assert relay.ledger.most_open == 1


async def test_the_most_sessions_at_once_are_known(relay: ScriptedRelay) -> None:
    """A limit on connections can be checked afterwards."""
    async with greeted(relay), greeted(relay):
        pass
    await relay.wait_sessions_closed()
    async with greeted(relay):
        pass
    assert relay.ledger.most_open == 2
    assert len(relay.ledger.sessions) == 3


async def test_hostile_bytes_are_legible_in_the_transcript(relay: ScriptedRelay) -> None:
    """A transcript can always be printed."""
    async with greeted(relay) as client:
        await client.send(b"MAIL \xff\xfe\r\n")
        await client.reply()
    relay.ledger.sessions[0].transcript.encode("utf-8")


async def test_waiting_for_what_comes(relay: ScriptedRelay) -> None:
    """Waits return when it has happened, at once if it has already."""
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example"])
        await client.transact("", ["a@b.example"])
    assert len(await relay.ledger.wait_for(2, timeout=1)) == 2
    await relay.saw("mail", count=2, timeout=1)
    await relay.wait_sessions_closed(timeout=1)
    await relay.until(lambda: len(relay.ledger) == 2, timeout=1)


async def test_waiting_in_vain_says_what_was_seen(relay: ScriptedRelay) -> None:
    """A wait that ends without success tells what did happen."""
    async with greeted(relay) as client:
        await client.transact("", ["a@b.example"])
        with pytest.raises(
            TimeoutError, match=r"1 accepted of 1 offered; 1 sessions, 1 open; .*RCPT 1"
        ):
            await relay.ledger.wait_for(2, timeout=0.01)
        with pytest.raises(TimeoutError):
            await relay.wait_sessions_closed(timeout=0.01)
