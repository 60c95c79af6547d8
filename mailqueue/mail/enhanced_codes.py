"""What each enhanced status code means (RFC 3463; the registry is that of RFC 5248).

The class, the first of the three numbers, says whether it is success, for now or for good;
the meaning is the same in each. Where class and reply code disagree, the reply code decides.
"""

from __future__ import annotations

from mailqueue.mail.reply import EnhancedStatus


def describe(status: EnhancedStatus | str) -> str | None:
    """Return the meaning of ``status``, such as ``5.1.1``, as one sentence.

    A detail that the registry lacks is described by its subject. None for anything that is
    not a class, subject and detail of RFC 3463 section 2.
    """
    parsed = EnhancedStatus.parse(status) if isinstance(status, str) else status
    if parsed is None or str(parsed) != str(status):
        return None
    meaning = MEANINGS.get((parsed.subject, parsed.detail))
    if meaning is not None:
        return meaning
    subject = SUBJECTS.get(parsed.subject)
    if subject is None:
        return None
    return f"Something about {subject}; this detail is not registered, so the text has to say more."


SUBJECTS: dict[int, str] = {
    0: "the mail, with nothing more known",
    1: "an address",
    2: "the recipient's mailbox",
    3: "the receiving mail system",
    4: "the network or the routing",
    5: "the SMTP conversation",
    6: "the content or its format",
    7: "security or policy",
}
"""Subject to what it is about (RFC 3463 section 4)."""

MEANINGS: dict[tuple[int, int], str] = {
    (0, 0): "Nothing is known beyond success or failure.",
    # Addresses: RFC 3463 section 3.2; 1.9 RFC 3886, 1.10 RFC 7505
    (1, 0): "Something about an address is wrong.",
    (1, 1): "The mailbox does not exist: the part before the @ is wrong.",
    (1, 2): "The domain does not exist or takes no mail: the part after the @ is wrong.",
    (1, 3): "The recipient's address is malformed.",
    (1, 4): "The recipient's address fits more than one mailbox.",
    (1, 5): "The recipient's address is valid.",
    (1, 6): "The mailbox has moved and left no new address.",
    (1, 7): "The sender's address is malformed.",
    (1, 8): "The sender's domain does not exist or takes no mail back.",
    (1, 9): "The mail was passed to a system that reports no further.",
    (1, 10): "The recipient's domain says by a null MX that it takes no mail.",
    # Mailbox: RFC 3463 section 3.3
    (2, 0): "The mailbox exists, but something about it is wrong.",
    (2, 1): "The mailbox is disabled and takes no mail.",
    (2, 2): "The mailbox is full.",
    (2, 3): "The mail is bigger than this mailbox allows.",
    (2, 4): "The mailing list could not be expanded.",
    # Mail system: RFC 3463 section 3.4; 3.6 RFC 6710
    (3, 0): "Something about the receiving mail system is wrong.",
    (3, 1): "The mail system is out of storage.",
    (3, 2): "The host takes no mail: overloaded, shutting down, or never meant to.",
    (3, 3): "The mail system lacks a feature that this mail asks for.",
    (3, 4): "The mail is bigger than the mail system allows.",
    (3, 5): "The mail system is not configured to take this mail.",
    (3, 6): "The mail was accepted, but with another priority than was asked for.",
    # Network and routing: RFC 3463 section 3.5
    (4, 0): "Something about the network or the routing is wrong.",
    (4, 1): "The next host did not answer.",
    (4, 2): "The connection to the next host broke or timed out.",
    (4, 3): "A directory server, such as DNS, did not answer.",
    (4, 4): "No route to the recipient's domain was found.",
    (4, 5): "The mail system is congested.",
    (4, 6): "The mail runs in a loop.",
    (4, 7): "The mail has grown too old.",
    # Conversation: RFC 3463 section 3.6; 5.6 RFC 4954
    (5, 0): "Something about the SMTP conversation is wrong.",
    (5, 1): "The command is out of order or not supported.",
    (5, 2): "The command was not understood.",
    (5, 3): "There are too many recipients for one transaction.",
    (5, 4): "The arguments of the command are not valid.",
    (5, 5): "The versions of the protocol do not agree.",
    (5, 6): "A line of the authentication is too long.",
    # Content: RFC 3463 section 3.7; 6.6 RFC 4468, 6.7 to 6.10 RFC 6531
    (6, 0): "Something about the content is wrong.",
    (6, 1): "The kind of content is not supported.",
    (6, 2): "The content would have to be converted, and that is prohibited.",
    (6, 3): "The content would have to be converted, and that is not supported.",
    (6, 4): "The content was converted, and some of it was lost.",
    (6, 5): "The content had to be converted, and that failed.",
    (6, 6): "The content could not be fetched from another server.",
    (6, 7): "An address with characters beyond ASCII is not permitted here.",
    (6, 8): "The answer would need UTF-8, which the client did not permit.",
    (6, 9): "A header in UTF-8 cannot be passed on to one or more recipients.",
    (6, 10): "The answer would need UTF-8, which the client did not permit (old form of 6.8).",
    # Security and policy: RFC 3463 section 3.8
    (7, 0): "Something about security or policy is wrong.",
    (7, 1): "The sender is not authorised to send to this recipient.",
    (7, 2): "The sender is not authorised to write to this mailing list.",
    (7, 3): "The mail would have to change its kind of security, and cannot.",
    (7, 4): "A security feature that is asked for is not supported.",
    (7, 5): "A cryptographic check failed, for example for want of a key.",
    (7, 6): "The cryptographic algorithm is not supported.",
    (7, 7): "The mail was corrupted or altered on its way.",
    # Authentication: 7.8 to 7.12 RFC 4954 (7.10 RFC 5248), 7.13 and 7.14 RFC 5248
    (7, 8): "The user name or the password is wrong.",
    (7, 9): "The authentication mechanism is too weak.",
    (7, 10): "Encryption is needed first.",
    (7, 11): "Encryption is needed for this authentication mechanism.",
    (7, 12): "A password transition is needed.",
    (7, 13): "The user's account is disabled.",
    (7, 14): "The server must first be trusted by another one.",
    # Priority: RFC 6710
    (7, 15): "The priority of the mail is too low just now.",
    (7, 16): "The mail is too big for its priority.",
    # Change of owner: RFC 7293
    (7, 17): "The mailbox has changed its owner.",
    (7, 18): "The domain has changed its owner.",
    (7, 19): "Whether the owner has changed cannot be told.",
    # Sender authentication: RFC 7372; 7.27 RFC 7505, 7.29 RFC 8617
    (7, 20): "No DKIM signature of the mail is valid.",
    (7, 21): "No DKIM signature of the mail is one that is accepted here.",
    (7, 22): "No valid DKIM signature belongs to the author's domain.",
    (7, 23): "SPF does not allow this host to send for the sender's domain.",
    (7, 24): "The SPF record could not be evaluated.",
    (7, 25): "The reverse DNS of the sending host is missing or does not match.",
    (7, 26): "More than one check of the sender (SPF, DKIM, DMARC) failed.",
    (7, 27): "The sender's domain says by a null MX that it takes no mail back.",
    (7, 28): "The mail looks like part of a flood.",
    (7, 29): "The ARC chain of the mail is not valid.",
    # RFC 8689
    (7, 30): "The mail demands REQUIRETLS, and no next server offers it.",
}
"""Subject and detail to meaning, as the registry lists them."""
