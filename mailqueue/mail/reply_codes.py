"""What each SMTP reply code means, what the queue does about it, and what a person can do.

The table is for people (`mailqueue explain 552`). It follows the rules of
`mailqueue.mail.verdict` and decides nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailqueue.mail.stage import Stage


@dataclass(frozen=True, slots=True)
class ReplyCode:
    """One reply code, explained.

    ``stages``: where it is met; for a code that answers a command this queue never sends,
    where it would be acted on all the same. ``action``: what the queue does. ``rfc``: where
    the code is defined, empty if nowhere. ``advice``: what a person can do, empty if nothing.
    """

    code: int
    stages: tuple[Stage, ...]
    meaning: str
    action: str
    rfc: str = ""
    advice: str = ""


def look_up(code: int) -> ReplyCode:
    """Return the entry for ``code``; every number has one, and none raises.

    A code that the table lacks is explained by its first digit (RFC 5321 section 4.2), and
    a number outside 200 to 599 as no SMTP reply code at all.
    """
    known = _BY_CODE.get(code)
    if known is not None:
        return known
    return replace(_BY_FIRST_DIGIT.get(code // 100, _NOT_A_REPLY_CODE), code=code)


def _row(
    code: int, stages: str, rfc: str = "", *, means: str, does: str, advice: str = ""
) -> ReplyCode:
    return ReplyCode(code, tuple(map(Stage, stages.split())), means, does, rfc, advice)


_ANY = "greeting ehlo starttls auth mail rcpt data end-of-data rset quit"
_TRANSACTION = "mail rcpt data end-of-data"

_GOES_ON = "Goes on to the next command."
_ACCEPTS_RECIPIENT = "Accepts the recipient, like 250."
_SUCCEEDS = "Counts as success by its first digit; after the final dot the mail is sent."
_PAUSES = "Pauses the relay, charges no attempt, and probes until the relay is well again."
_DEFERS = (
    "Defers: to RCPT that recipient only, otherwise everyone on the message who has no answer yet."
)
_PAUSES_OR_DEFERS = (
    "Before MAIL it pauses the relay and charges nothing; after that it defers: to RCPT that "
    "recipient only, otherwise everyone on the message who has no answer yet."
)
_FAILS_RECIPIENT = "Fails that recipient only, for good; the others go on."
_FAILS = (
    "Fails for good: to RCPT that recipient only, otherwise everyone on the message who has no "
    "answer yet."
)
_PAUSES_OR_FAILS = (
    "Before MAIL it pauses the relay and charges nothing; after that it fails for good: to RCPT "
    "that recipient only, otherwise everyone on the message who has no answer yet."
)
_TRIES_HELO = " After EHLO it tries HELO instead, and the reply to that decides."
_LEAVES_SIZE_OUT = (
    "To MAIL with SIZE it asks once more without SIZE, and the reply to that decides. "
)
_ENDS_ONLY = " To RSET or QUIT it only ends the session."

# Laid out by hand, to be read as a printed table; the formatter would give each word its line.
# fmt: off
REPLY_CODES: tuple[ReplyCode, ...] = (
    # 2yz: done
    _row(211, "mail rcpt end-of-data", "RFC 5321 section 4.1.1.8",
         means="System status: an answer to HELP, which this queue never sends.",
         does=_SUCCEEDS),
    _row(214, "mail rcpt end-of-data", "RFC 5321 section 4.1.1.8",
         means="A help text: an answer to HELP, which this queue never sends.",
         does=_SUCCEEDS),
    _row(220, "greeting starttls", "RFC 5321 section 4.2, RFC 3207 section 4",
         means="The relay is ready: for a session at the greeting, for TLS at STARTTLS.",
         does=_GOES_ON),
    _row(221, "quit", "RFC 5321 section 4.1.1.10",
         means="The relay is closing the connection, as it was asked to.",
         does="Ends the session; every mail on it was decided before."),
    _row(235, "auth", "RFC 4954 section 6",
         means="Authentication succeeded.",
         does=_GOES_ON),
    _row(250, "ehlo mail rcpt end-of-data rset", "RFC 5321 section 4.2.5",
         means="Done; after the final dot, the relay has taken responsibility for the mail.",
         does="Goes on; after the final dot the mail is sent for everyone accepted at RCPT.",
         advice="Sent is not yet delivered: what fails later comes back to the envelope sender."),
    _row(251, "rcpt", "RFC 5321 section 3.4",
         means="The recipient has moved elsewhere, and the relay will forward the mail.",
         does=_ACCEPTS_RECIPIENT,
         advice="If the text names the new address, use it from now on."),
    _row(252, "rcpt", "RFC 5321 section 3.5.3",
         means="The relay cannot verify the recipient, but takes the mail and will try.",
         does=_ACCEPTS_RECIPIENT),
    _row(253, "mail rcpt end-of-data", "RFC 1985",
         means="Waiting mail is on its way: an answer to ETRN, which this queue never sends.",
         does=_SUCCEEDS),

    # 3yz: go on
    _row(334, "auth", "RFC 4954 section 4",
         means="The relay asks for the next step of the authentication.",
         does="Sends that step; as an answer to anything but AUTH it drops the session."),
    _row(354, "data", "RFC 5321 section 4.1.1.4",
         means="The relay is ready for the content.",
         does="Sends the content and the final dot; "
              "as an answer to anything but DATA it drops the session."),

    # 4yz: not now
    _row(421, _ANY, "RFC 5321 section 3.8",
         means="The relay is closing the connection: a shutdown, too much load, or a rate limit.",
         does="Drops the session and defers everyone who has no answer yet; "
              "before RCPT it also pauses the relay and charges nothing.",
         advice="If it keeps coming, allow fewer sessions at once or a lower rate, and look in "
                "the text for a limit or a complaint about reputation."),
    _row(422, "auth rcpt end-of-data", "RFC 5248",
         means="By the registry a password transition at AUTH; "
               "in practice a full mailbox or greylisting.",
         does=_PAUSES_OR_DEFERS),
    _row(430, "rcpt end-of-data", "RFC 5248",
         means="In practice the relay or the recipient is over a limit; a rare code.",
         does=_DEFERS),
    _row(431, "rcpt end-of-data",
         means="A server is short of disk space or memory; not a standard code.",
         does=_DEFERS,
         advice="If it lasts, tell the operator of the relay."),
    _row(432, "auth rcpt", "RFC 4954 section 6",
         means="At AUTH, a password transition is needed; "
               "at RCPT, the recipient's mail queue is stopped (Exchange).",
         does=_PAUSES_OR_DEFERS,
         advice="At AUTH: authenticate once with PLAIN over TLS, or have the password set anew."),
    _row(441, "rcpt end-of-data",
         means="The recipient's server does not answer; not a standard code, mostly in bounces.",
         does=_DEFERS),
    _row(442, "rcpt end-of-data",
         means="The connection to the next server broke; not a standard code, mostly in bounces.",
         does=_DEFERS),
    _row(446, "rcpt end-of-data",
         means="Too many hops, perhaps a loop; not a standard code, mostly in bounces.",
         does=_DEFERS,
         advice="Look for two servers that forward this address to each other."),
    _row(447, "rcpt end-of-data",
         means="The mail grew too old on its way; not a standard code, mostly in bounces.",
         does=_DEFERS),
    _row(449, "rcpt end-of-data",
         means="The relay finds no route to the recipient; not a standard code, mostly in bounces.",
         does=_DEFERS,
         advice="If it lasts, tell the operator of the relay."),
    _row(450, _TRANSACTION, "RFC 5321 section 4.2.3",
         means="The mailbox cannot be used just now: busy, or held back by policy "
               "such as greylisting.",
         does=_DEFERS,
         advice="Greylisting ends by itself; where the text says that the user is unknown, "
                "correct the address."),
    _row(451, _TRANSACTION, "RFC 5321 section 4.2.3",
         means="The relay met an error of its own, or a check of its failed for now, "
               "such as a DNS look-up.",
         does=_DEFERS,
         advice="If it lasts, ask the operator of the relay to look in its log."),
    _row(452, _TRANSACTION, "RFC 5321 section 4.5.3.1.10",
         means="Out of storage for now, or too many recipients for one transaction.",
         does="To RCPT, meaning too many recipients, puts that recipient off to the next "
              "transaction, at once and uncharged if anyone was accepted; otherwise defers that "
              "recipient, or at other stages everyone who has no answer yet."),
    _row(453, "mail rcpt end-of-data", "RFC 2645",
         means="There is no mail to fetch: an answer to ATRN, which this queue never sends.",
         does=_DEFERS),
    _row(454, "starttls auth rcpt", "RFC 3207 section 4, RFC 4954 section 6",
         means="TLS or authentication does not work for now; at RCPT, relaying is refused for now.",
         does=_PAUSES_OR_DEFERS,
         advice="At RCPT with 4.7.1 (Postfix): the relay does not relay for you; "
                "authenticate, or have your address allowed."),
    _row(455, "mail rcpt", "RFC 5321 section 4.1.1.11",
         means="The relay cannot honour a parameter of MAIL or RCPT just now.",
         does=_LEAVES_SIZE_OUT + _DEFERS),
    _row(456, "mail rcpt end-of-data",
         means="Asks for another try over IPv4; from an expired draft, never standardised.",
         does=_DEFERS,
         advice="Reach the relay over IPv4."),
    _row(458, "mail rcpt end-of-data", "RFC 1985",
         means="Mail for a host cannot be queued: an answer to ETRN, which this queue never sends.",
         does=_DEFERS),
    _row(459, "mail rcpt end-of-data", "RFC 1985",
         means="A host is not allowed to fetch: an answer to ETRN, which this queue never sends.",
         does=_DEFERS),
    _row(471, _TRANSACTION,
         means="A filter on the sending side held the mail back; not a standard code.",
         does=_DEFERS,
         advice="Look in the log of the spam or virus filter between this queue and the relay."),

    # 5yz: no
    _row(500, _ANY, "RFC 5321 section 4.3.2",
         means="The relay does not know the command, or a line was too long.",
         does=_PAUSES_OR_FAILS + _TRIES_HELO + _ENDS_ONLY,
         advice="Look for a firewall that rewrites SMTP; after the final dot, "
                "for lines of more than 998 characters."),
    _row(501, _ANY, "RFC 5321 section 4.3.2",
         means="A parameter is malformed: our name at EHLO, the sender at MAIL, "
               "the address at RCPT.",
         does=_PAUSES_OR_FAILS + _ENDS_ONLY,
         advice="At EHLO: give this machine a full host name. Later: correct the address."),
    _row(502, _ANY, "RFC 5321 section 4.2.4",
         means="The relay knows the command but does not implement it.",
         does=_PAUSES_OR_FAILS + _TRIES_HELO + _ENDS_ONLY,
         advice="Check that the configured host and port are a mail relay."),
    _row(503, _ANY, "RFC 5321 section 4.1.4",
         means="A command out of order: no recipient was accepted, or authentication is missing.",
         does="Ignored at DATA when every recipient was refused, for it is a consequence; before "
              "MAIL, or asking for authentication, it pauses the relay and charges nothing; "
              "otherwise it fails the recipient at RCPT, else everyone who has no answer yet."
              + _ENDS_ONLY,
         advice="Where the text asks for AUTH: configure the relay's user name and password."),
    _row(504, "ehlo auth mail rcpt", "RFC 5321 section 4.2.3, RFC 4954 section 4",
         means="A parameter is not implemented; at AUTH, the mechanism.",
         does=_LEAVES_SIZE_OUT + _PAUSES_OR_FAILS + _TRIES_HELO,
         advice="At AUTH: choose a mechanism that the relay offers."),
    _row(505, "rcpt",
         means="The recipient's account is suspended; not a standard code.",
         does=_FAILS_RECIPIENT),
    _row(510, "rcpt",
         means="The recipient's address is bad; not a standard code.",
         does=_FAILS_RECIPIENT,
         advice="Correct the address."),
    _row(511, "rcpt",
         means="The recipient's address is bad; not a standard code.",
         does=_FAILS_RECIPIENT,
         advice="Correct the address."),
    _row(512, "rcpt",
         means="DNS knows no mail server for the recipient's domain; not a standard code.",
         does=_FAILS_RECIPIENT,
         advice="Correct the part after the @."),
    _row(513, "rcpt",
         means="The recipient's address is of a wrong kind; not a standard code.",
         does=_FAILS_RECIPIENT,
         advice="Correct the address."),
    _row(520, "ehlo mail rcpt data end-of-data",
         means="A refusal that only its text explains; from an expired draft, never standardised.",
         does=_PAUSES_OR_FAILS),
    _row(521, "greeting ehlo mail rcpt data", "RFC 7504",
         means="This host never takes mail; some relays say it of a blocklisted client.",
         does=_PAUSES_OR_FAILS,
         advice="At the greeting: check the relay's name, and whether it blocks your address."),
    _row(523, "auth mail end-of-data", "RFC 5248",
         means="Encryption is needed first; from some servers, the mail is too big.",
         does=_PAUSES_OR_FAILS,
         advice="Turn on TLS for the relay, or send a smaller mail: the text says which."),
    _row(524, "auth", "RFC 5248",
         means="Encryption is needed for this authentication mechanism.",
         does=_PAUSES,
         advice="Turn on TLS for the relay."),
    _row(525, "auth rcpt", "RFC 5248",
         means="The account is disabled: ours at AUTH, the recipient's at RCPT.",
         does=_PAUSES_OR_FAILS,
         advice="At AUTH: ask the operator of the relay to enable the account."),
    _row(530, "auth mail rcpt data", "RFC 4954 section 6, RFC 3207 section 4",
         means="Authentication or STARTTLS has to come first.",
         does=_PAUSES,
         advice="Configure the relay's user name and password, and TLS."),
    _row(533, "auth mail rcpt", "RFC 5248",
         means="We are not authorised to send this.",
         does=_PAUSES_OR_FAILS,
         advice="Use a sender that the account may use, or have the account allowed to send."),
    _row(534, "auth mail", "RFC 4954 section 6",
         means="The mechanism is too weak, or the provider wants a login in the browser first.",
         does=_PAUSES,
         advice="Choose a stronger mechanism, or use an application password."),
    _row(535, "auth mail", "RFC 4954 section 6",
         means="The user name or the password is wrong.",
         does=_PAUSES,
         advice="Correct the credentials and resume the relay; the mails wait until then."),
    _row(538, "auth mail", "RFC 4954 section 6",
         means="This mechanism may only be used over TLS.",
         does=_PAUSES,
         advice="Turn on TLS for the relay."),
    _row(540, "rcpt",
         means="The mailbox is inactive or blocked (Rambler); not a standard code.",
         does=_FAILS_RECIPIENT),
    _row(541, "rcpt end-of-data",
         means="The recipient's side takes the mail for spam; not a standard code.",
         does=_FAILS,
         advice="Look at content, SPF, DKIM and reputation before sending the like again."),
    _row(543, "rcpt end-of-data",
         means="The mail cannot be routed; not a standard code, mostly in bounces.",
         does=_FAILS),
    _row(546, "rcpt end-of-data",
         means="The mail runs in a loop; not a standard code, mostly in bounces.",
         does=_FAILS,
         advice="Look for two servers that forward this address to each other."),
    _row(547, "rcpt end-of-data",
         means="The mail grew too old on its way; not a standard code, mostly in bounces.",
         does=_FAILS),
    _row(550, "greeting ehlo mail rcpt data end-of-data", "RFC 5321 section 4.2.3",
         means="There is no such mailbox, or policy refuses: an unknown user, a blocklist, "
               "a rate limit, a failed SPF, DKIM or DMARC.",
         does=_PAUSES_OR_FAILS,
         advice="The enhanced code says which: x.1.1 asks for another address, "
                "x.7.z for a look at the sender, the content and your reputation."),
    _row(551, "rcpt", "RFC 5321 section 3.4",
         means="The recipient is not here; the text may name another address.",
         does=_FAILS_RECIPIENT,
         advice="Check the address named and use it yourself: the queue never follows it."),
    _row(552, "mail rcpt data end-of-data", "RFC 5321 section 4.5.3.1.10, RFC 1870 section 6.1",
         means="The mailbox is full, the mail is too big, its content is refused, "
               "or there are too many recipients.",
         does="To RCPT, meaning too many recipients, puts that recipient off to the next "
              "transaction, at once and uncharged if anyone was accepted; otherwise fails that "
              "recipient, or at other stages everyone who has no answer yet.",
         advice="The enhanced code says which: x.2.2 is a full mailbox, x.3.4 a mail too big, "
                "x.5.3 too many recipients."),
    _row(553, "mail rcpt", "RFC 5321 section 4.2.3",
         means="The address is not allowed: malformed, or not one that we may use.",
         does=_FAILS,
         advice="At MAIL: use a sender that the account may use. At RCPT: correct the address."),
    _row(554, "greeting ehlo mail rcpt data end-of-data", "RFC 5321 section 4.2.3",
         means="No mail service here, no valid recipients, or the mail is refused "
               "for its content or by policy.",
         does="Ignored at DATA when every recipient was refused, for it is a consequence; before "
              "MAIL it pauses the relay and charges nothing; otherwise it fails the recipient "
              "at RCPT, else everyone who has no answer yet.",
         advice="At the greeting: ask the operator of the relay why it refuses you. "
                "After the final dot: look at the content and your reputation."),
    _row(555, "mail rcpt", "RFC 5321 section 4.1.1.11",
         means="The relay does not know a parameter of MAIL or RCPT.",
         does=_LEAVES_SIZE_OUT + _FAILS,
         advice="Check what the relay offers in its answer to EHLO."),
    _row(556, "rcpt", "RFC 7504",
         means="The recipient's domain takes no mail at all.",
         does=_FAILS_RECIPIENT,
         advice="Correct the part after the @."),
    _row(557, _TRANSACTION,
         means="Too many copies of one mail, or refused by policy; not a standard code.",
         does=_FAILS),
    _row(571, _TRANSACTION,
         means="Not authorised, or taken for spam: 5.7.1 shortened; not a standard code.",
         does=_FAILS,
         advice="Look at the sender, the content and your reputation."),
    _row(572, _TRANSACTION,
         means="Not allowed to write to this list: 5.7.2 shortened; not a standard code.",
         does=_FAILS),
    _row(585, _TRANSACTION,
         means="A refusal that only its text explains; not a standard code.",
         does=_FAILS),
)

_BY_CODE = {entry.code: entry for entry in REPLY_CODES}

_BY_FIRST_DIGIT = {
    2: _row(200, _ANY, "RFC 5321 section 4.2",
            means="A code nobody has heard of: the first digit decides, and 2 says done.",
            does=_SUCCEEDS + " To DATA, where only a 3yz fits, it drops the session and defers."),
    3: _row(300, _ANY, "RFC 5321 section 4.2",
            means="A code nobody has heard of: the first digit decides, and 3 asks for more.",
            does="Goes on at AUTH or DATA; elsewhere it drops the session and defers, before MAIL "
                 "it pauses the relay, and after the final dot the mail is in doubt."),
    4: _row(400, _ANY, "RFC 5321 section 4.2",
            means="A code nobody has heard of: the first digit decides, and 4 says not now.",
            does=_PAUSES_OR_DEFERS + _ENDS_ONLY),
    5: _row(500, _ANY, "RFC 5321 section 4.2",
            means="A code nobody has heard of: the first digit decides, and 5 says no.",
            does=_PAUSES_OR_FAILS + _ENDS_ONLY),
}

_NOT_A_REPLY_CODE = _row(0, _ANY, "RFC 5321 section 4.2",
    means="Not an SMTP reply code: those begin with 2, 3, 4 or 5 and have three digits.",
    does="Drops the session and defers; before MAIL it pauses the relay and charges nothing, "
         "and after the final dot the mail is in doubt.",
    advice="Check that the configured host and port are a mail relay.")
# fmt: on
