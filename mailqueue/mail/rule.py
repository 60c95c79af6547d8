"""The rules by which verdicts are reached, by the names under which attempts keep them."""

from __future__ import annotations

from enum import StrEnum


class Rule(StrEnum):
    """The rule that decided an attempt; `explanation` is the sentence that `show` prints."""

    explanation: str

    ACCEPTED = "accepted", "a 2xx after the final dot: the relay took responsibility"
    RECIPIENT_DEFERRED = "recipient-4xx", "a 4xx to RCPT defers this recipient alone"
    RECIPIENT_REFUSED = "recipient-5xx", "a 5xx to RCPT fails this recipient alone, for good"
    MESSAGE_DEFERRED = (
        "message-4xx",
        "a 4xx to MAIL, DATA or the final dot defers all who were accepted so far",
    )
    MESSAGE_REFUSED = (
        "message-5xx",
        "a 5xx to MAIL, DATA or the final dot fails all who were accepted so far, for good",
    )
    TOO_MANY_RECIPIENTS = (
        "too-many-recipients",
        "the relay takes no more recipients in this transaction: the rest go in the next",
    )
    UNSENDABLE = (
        "unsendable",
        "the relay does not offer what this mail needs, and asking would not change that",
    )
    STAND_IN_UNFIT = (
        "stand-in-unfit",
        "the fallback does not offer what this mail needs: it waits for its own relay",
    )
    RELAY_OVERLOADED = (
        "relay-overloaded",
        "421 to MAIL: the relay has no room, the relay is paused and nothing is charged",
    )
    RELAY_CLOSING = "relay-closing", "421: the relay ends the session; the message waits"
    AUTHENTICATION_REQUIRED = (
        "authentication-required",
        "the relay wants authentication or TLS: our settings are at fault, not the mail",
    )
    RELAY_REPLY = (
        "relay-refusal",
        "a refusal before MAIL is between us and the relay: no mail is charged",
    )
    RELAY_SILENCE = (
        "relay-silence",
        "no usable reply before MAIL is between us and the relay: no mail is charged",
    )
    SILENCE_BEFORE_DOT = (
        "lost-before-dot",
        "the session ended before the final dot: nothing was accepted, so try again",
    )
    SILENCE_AFTER_DOT = (
        "silence-after-dot",
        "the final dot may have been written and no reply came: it may have been accepted",
    )
    MALFORMED = (
        "malformed-reply",
        "what came is not a reply that belongs here: the session cannot be trusted",
    )
    LEASE_EXPIRED = (
        "lease-expired",
        "the worker that held this mail died or stalled: it may have been sent",
    )
    ABANDONED = "abandoned", "we stopped before the final dot: handed back, not charged"
    LOCAL_FAULT = "local-fault", "a fault on this side: the mail waits, and is not charged"
    HOUSEKEEPING = "housekeeping", "RSET or QUIT decide nothing about a mail"

    def __new__(cls, name: str, explanation: str) -> Rule:
        """Keep the sentence beside the stored name."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.explanation = explanation
        return member
