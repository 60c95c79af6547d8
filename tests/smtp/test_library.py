"""What aiosmtplib does when it is used the plain way.

These are the reasons why the wire is driven step by step and read along. A release that changes one
of them turns its test red: then the guard here may be simplified, or has to be thought over.
"""

from __future__ import annotations

import asyncio
import ssl

import aiosmtplib
import pytest
from aiosmtplib.protocol import SMTPProtocol

from mailqueue.testing import Script, ScriptedRelay
from tests.smtp.parts import ANN, BOB, CEE, CONTENT, ENVELOPE, content_of

SENDER, RECIPIENTS = ENVELOPE.sender, list(ENVELOPE.recipients)


async def client_of(relay: ScriptedRelay, **keys: object) -> aiosmtplib.SMTP:
    """Connect the library's own client in the clear."""
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        port=relay.port,
        local_hostname="me.example",
        timeout=5,
        **keys,  # type: ignore[arg-type]
    )
    await client.connect()
    return client


async def test_a_spare_reply_turns_a_refusal_into_success(
    relay: ScriptedRelay, script: Script
) -> None:
    """A second reply in the segment of the 354 answers the content, and the 550 is never seen."""
    script.on("DATA").then(extra=b"250 spare\r\n")
    script.on(".").reply("550 5.7.1 spam")
    client = await client_of(relay)
    refused, text = await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert (refused, text) == ({}, "spare")
    assert relay.ledger.accepted == []
    client.close()


async def test_a_421_to_one_recipient_loses_all_replies(
    relay: ScriptedRelay, script: Script
) -> None:
    """421 to RCPT 2 of 3: neither its code nor the refusal of the first is left."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on("RCPT", address=BOB).reply("421 4.7.0 too much")
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)


async def test_a_421_to_the_content_leaves_the_connection_open(
    relay: ScriptedRelay, script: Script
) -> None:
    """421 after the dot is an error like others, and the client seems usable."""
    script.on(".").reply("421 4.3.2 closing")
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert caught.value.code == 421
    assert client.is_connected
    client.close()


async def test_a_deferral_hides_a_refusal(relay: ScriptedRelay, script: Script) -> None:
    """451 to the content: the 550 to the first recipient is lost, and would be tried again."""
    script.on("RCPT", address=ANN).reply("550 5.1.1 no such user")
    script.on(".").reply("451 4.3.0 later")
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert caught.value.code == 451
    client.close()


@pytest.mark.parametrize("verb", ["DATA", "."])
async def test_safe_and_doubtful_loss_look_alike(
    relay: ScriptedRelay, script: Script, verb: str
) -> None:
    """A connection that ends before the dot raises what one that ends after it raises."""
    script.on(verb).close()
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPServerDisconnected, match="Unexpected EOF received"):
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)


async def test_a_timeout_at_rset_hides_a_refusal(relay: ScriptedRelay, script: Script) -> None:
    """550 to MAIL and silence to the RSET behind it: a permanent refusal looks temporary."""
    script.on("MAIL").reply("550 5.7.1 never")
    script.on("RSET").silence()
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPReadTimeoutError):
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw, timeout=0.2)


async def test_a_cancelled_client_seems_connected(relay: ScriptedRelay, script: Script) -> None:
    """After a cancellation in DATA nothing shows that replies and commands no longer match."""
    script.on(".").silence()
    client = await client_of(relay)
    sending = asyncio.create_task(client.sendmail(SENDER, RECIPIENTS, CONTENT.raw))
    await relay.saw(".")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert client.is_connected
    client.close()


async def test_closing_sends_the_rest(relay: ScriptedRelay, script: Script) -> None:
    """Cancelled and closed in the midst of 15 MB, the library still sends the dot."""
    goes_on = asyncio.Event()
    script.on("BODY").wait_for(goes_on).raw(b"")
    client = await client_of(relay)
    sending = asyncio.create_task(
        client.sendmail(SENDER, RECIPIENTS, content_of(15 * 1024 * 1024).raw)
    )
    await relay.saw("BODY")
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    client.close()
    goes_on.set()
    await relay.ledger.wait_for(1)


async def test_a_non_ascii_recipient_leaves_half_an_envelope(relay: ScriptedRelay) -> None:
    """Without SMTPUTF8 the error comes after MAIL, and the next message is told 503."""
    client = await client_of(relay)
    with pytest.raises(UnicodeEncodeError):
        await client.sendmail(SENDER, ["søren@example.net"], CONTENT.raw)
    with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert caught.value.code == 503
    client.close()


async def test_garbage_leaves_the_client_connected(relay: ScriptedRelay, script: Script) -> None:
    """A malformed reply is code -1, and the client seems usable."""
    script.on("MAIL").reply("what?")
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPResponseException) as caught:
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert caught.value.code == -1
    assert client.is_connected
    client.close()


@pytest.mark.parametrize(("said", "code"), [("25 ok", 25), ("2_5 ok", 25), ("999 ok", 999)])
async def test_odd_codes_pass(relay: ScriptedRelay, script: Script, said: str, code: int) -> None:
    """Whatever Python can read as a number is a code."""
    script.on("NOOP").reply(said)
    client = await client_of(relay)
    assert (await client.execute_command(b"NOOP")).code == code
    client.close()


async def test_the_last_of_differing_codes_wins(relay: ScriptedRelay, script: Script) -> None:
    """One reply with two codes is not noticed."""
    script.on("NOOP").reply("250-yes", "550 no")
    client = await client_of(relay)
    assert (await client.execute_command(b"NOOP")).code == 550
    client.close()


async def test_replies_may_not_be_storable(relay: ScriptedRelay, script: Script) -> None:
    """8-bit text arrives with lone surrogates, which no database takes."""
    script.on("NOOP").reply(b"250 caf\xe9")
    client = await client_of(relay)
    response = await client.execute_command(b"NOOP")
    with pytest.raises(UnicodeEncodeError):
        response.message.encode()
    client.close()


async def test_success_that_is_taken_for_refusal(relay: ScriptedRelay, script: Script) -> None:
    """252 to RCPT and 251 to the content are refusals to the library."""
    script.on("RCPT", address=CEE).reply("252 2.1.5 will try")
    script.on(".").reply("251 2.0.0 taken")
    client = await client_of(relay)
    with pytest.raises(aiosmtplib.SMTPDataError) as caught:
        await client.sendmail(SENDER, RECIPIENTS, CONTENT.raw)
    assert caught.value.code == 251
    assert relay.ledger.accepted[0].recipients == ENVELOPE.recipients
    client.close()


async def test_the_password_goes_out_in_clear(script: Script) -> None:
    """By default TLS is used where it is offered and done without where it is not."""
    async with ScriptedRelay(script, users={"user": "secret"}) as relay:
        client = await client_of(relay, username="user", password="secret")
        assert relay.ledger.sessions[0].authenticated_as == "user"
        assert relay.ledger.sessions[0].tls is None
        client.close()


async def test_every_mechanism_gets_the_wrong_password(script: Script) -> None:
    """One wrong password is counted by the relay as many."""
    async with ScriptedRelay(script, users={"user": "secret"}) as relay:
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await client_of(relay, username="user", password="wrong")
        assert relay.ledger.seen["AUTH"] == 2


async def test_a_bad_certificate_is_a_value_error(tls_relay: ScriptedRelay) -> None:
    """With STARTTLS it is no SMTPException: who maps ValueError to a bad message loses mail."""
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        await client_of(tls_relay, start_tls=True)
    assert isinstance(caught.value, ValueError)
    assert not isinstance(caught.value, aiosmtplib.SMTPException)


async def test_a_bad_certificate_is_a_connect_error(implicit_tls_relay: ScriptedRelay) -> None:
    """With implicit TLS the ssl error is the cause of the library's own."""
    with pytest.raises(aiosmtplib.SMTPConnectError) as caught:
        await client_of(implicit_tls_relay, use_tls=True)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


async def test_how_connecting_and_greeting_are_told_apart(
    relay: ScriptedRelay, script: Script
) -> None:
    """Trouble with the greeting has a cause from the library, a refusal has the code."""
    script.on("CONNECT", session=1).close()
    with pytest.raises(aiosmtplib.SMTPConnectError) as closed:
        await client_of(relay)
    assert isinstance(closed.value.__cause__, aiosmtplib.SMTPException)
    script.on("CONNECT", session=2).reply("554 5.7.1 no")
    with pytest.raises(aiosmtplib.SMTPConnectResponseError) as refused:
        await client_of(relay)
    assert (refused.value.code, refused.value.message) == (554, "5.7.1 no")


async def test_the_steps_that_we_use(relay: ScriptedRelay, script: Script) -> None:
    """A protocol that can be reached, does not raise on refusals, and can be written to."""
    script.on("MAIL").reply("550 5.7.1 no")
    client = await client_of(relay)
    protocol = client.protocol
    assert type(protocol) is SMTPProtocol
    assert protocol.transport is client.transport
    assert (await protocol.execute_command(b"EHLO me.example", timeout=5)).code == 250
    assert (await protocol.execute_command(b"MAIL FROM:<>", timeout=5)).code == 550
    protocol.write(b"NOOP\r\n")
    assert (await protocol.read_response(timeout=5)).code == 250
    client.close()
