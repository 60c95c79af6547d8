"""A scripted SMTP relay for tests: correct by default, and as broken as a script says.

    from mailqueue.testing import Script, ScriptedRelay

    script = Script()
    script.on("RCPT", address="bad@example.org").reply("550 5.1.1 no such user")
    script.on("RCPT").times(2).reply("451 4.7.1 greylisted")
    script.on("DATA", occurrence=3).close()
    script.on(".", transaction=2).accept().silence()      # taken, but the 250 never comes

    async with ScriptedRelay(script) as relay:
        ...                                               # send to relay.host, relay.port
        await relay.ledger.wait_for(1)
        script.clear()                                    # the relay is repaired
        assert relay.ledger.deliveries("good@example.org") == 1
        assert not relay.ledger.duplicates

The relay listens on a real socket, speaks TLS and AUTH, and follows RFC 5321 strictly wherever no
rule applies. Its ledger says what was accepted, so that a queue's own records can be measured
against it. Nothing here sleeps: `relay.saw("MAIL", count=3)`, `relay.ledger.wait_for(n)` and
`relay.until(predicate)` return when it has happened, or raise `TimeoutError` telling what did.

With pytest: `pytest_plugins = ["mailqueue.testing.fixtures"]`. Without an event loop:
`RelayThread`; one that wants a password is `RelayThread(ScriptedRelay(users={"shop": "secret"},
require_auth=True))`. For tests that go through every fault there is: `FAULTS`.
"""

from mailqueue.testing.authentication import Claim
from mailqueue.testing.faults import FAULTS, Fault
from mailqueue.testing.ledger import Acceptance, Ledger, Offer
from mailqueue.testing.profile import DEFAULT_EXTENSIONS, Profile
from mailqueue.testing.record import SessionRecord
from mailqueue.testing.relay import ScriptedRelay
from mailqueue.testing.rule import Rule
from mailqueue.testing.script import Script
from mailqueue.testing.selector import Cue
from mailqueue.testing.session import Session
from mailqueue.testing.thread import RelayThread
from mailqueue.testing.transaction import Transaction

__all__ = [
    "DEFAULT_EXTENSIONS",
    "FAULTS",
    "Acceptance",
    "Claim",
    "Cue",
    "Fault",
    "Ledger",
    "Offer",
    "Profile",
    "RelayThread",
    "Rule",
    "Script",
    "ScriptedRelay",
    "Session",
    "SessionRecord",
    "Transaction",
]
