"""A wrong password, with a long queue behind it."""

from __future__ import annotations

from pathlib import Path

from mailqueue import events
from mailqueue.testing import ScriptedRelay
from mailqueue.testing.fixtures import StartRelay
from tests.support.daemon import PassingClock, PlainOutbox, leading_to, running

MAILS = 1000
CONNECTIONS = 10


async def test_a_wrong_password_fails_no_mail_and_costs_none(
    outbox: PlainOutbox, clock: PassingClock, start_relay: StartRelay, tmp_path: Path
) -> None:
    """A thousand mails wait uncharged behind a refused AUTH, and go once it is corrected.

    AUTH is tried at most once for each session that may be open at once, and then once for
    each probe: nobody locks an account out.
    """
    relay = await start_relay(ScriptedRelay(users={"user": "right"}, require_auth=True))
    password = tmp_path / "password"
    password.write_text("wrong\n")
    keys = leading_to(relay, username="user", password_file=str(password), connections=CONNECTIONS)
    outbox.put_all([outbox.draft(f"r{number}@example.net") for number in range(MAILS)])
    async with running(outbox, {"main": keys}, clock=clock) as daemon:
        await daemon.until(lambda: outbox.relay()["breaker"] == "open")
        await daemon.until_states(queued=MAILS)
        for probe, pause in enumerate((30, 60, 120), start=1):
            await daemon.let_pass(pause)
            await daemon.until_told(events.RelayPaused, 1 + probe)
            await daemon.until_states(queued=MAILS)
            assert relay.ledger.seen["AUTH"] <= CONNECTIONS + probe
        assert outbox.relay()["code"] == 535
        assert outbox.value("SELECT sum(attempts) FROM mailqueue_recipients") == 0
        assert outbox.attempts() == []
        password.write_text("right\n")
        daemon.supervisor.reload()
        await relay.ledger.wait_for(MAILS, timeout=60)
        await daemon.until_states(sent=MAILS)
    assert not relay.ledger.duplicates
    assert len(relay.ledger) == MAILS
