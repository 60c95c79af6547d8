"""The wire: sessions with a relay, and what it answered. Nothing else touches aiosmtplib."""

from mailqueue.smtp.pool import Pool
from mailqueue.smtp.relay import Relay
from mailqueue.smtp.session import Session, SessionFacts, open_session
from mailqueue.smtp.transaction import BeforeDot, Transacted, Transaction
from mailqueue.smtp.transcript import Transcript

__all__ = [
    "BeforeDot",
    "Pool",
    "Relay",
    "Session",
    "SessionFacts",
    "Transacted",
    "Transaction",
    "Transcript",
    "open_session",
]
