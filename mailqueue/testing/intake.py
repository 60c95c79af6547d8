"""Making a ledger entry out of a finished transaction."""

import asyncio
import hashlib

from mailqueue.testing.action import Plan
from mailqueue.testing.conversation import Conversation
from mailqueue.testing.ledger import Acceptance, Ledger, Offer
from mailqueue.testing.record import SessionRecord
from mailqueue.testing.selector import message_id_of
from mailqueue.testing.transaction import Transaction


def offer_of(
    ledger: Ledger,
    record: SessionRecord,
    conversation: Conversation,
    content: bytes,
    plan: Plan,
) -> Offer:
    """Return the entry: an acceptance if the reply is a 2xx or the script says so."""
    mail = conversation.mail or Transaction("")
    kind = Acceptance if plan.accepts or plan.succeeds else Offer
    return kind(
        order=len(ledger.offered) + 1,
        at=asyncio.get_running_loop().time(),
        session=record.number,
        transaction=conversation.transactions,
        sender=mail.sender,
        recipients=tuple(mail.recipients),
        mail_parameters=mail.mail_parameters,
        recipient_parameters=dict(mail.recipient_parameters),
        content=content if ledger.keep_content else None,
        size=len(content),
        digest=hashlib.sha256(content).hexdigest(),
        message_id=message_id_of(content),
        reply=plan.spoken.decode("utf-8", "replace").removesuffix("\r\n"),
        tls=record.tls,
        authenticated_as=record.authenticated_as,
    )
