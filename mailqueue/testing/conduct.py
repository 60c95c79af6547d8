"""How a correct, strict relay answers (RFC 5321); what a script does not mention happens so."""

from collections.abc import Callable, Mapping
from functools import lru_cache

from mailqueue.testing.authentication import Exchange, is_known
from mailqueue.testing.command import Command, Path
from mailqueue.testing.conversation import Conversation
from mailqueue.testing.profile import Profile
from mailqueue.testing.reply import spell, spell_multiline, without_enhanced

Answer = Callable[[Profile, Conversation, Command], str]

_BAD_SEQUENCE = "503 5.5.1 bad sequence of commands"
_GREET_FIRST = "503 5.5.1 send EHLO first"
_NO_MAIL = "503 5.5.1 send MAIL first"
_NO_RECIPIENTS = "554 5.5.1 no valid recipients"

_LONGEST_TEXT_LINE = 998  # without CRLF; RFC 5321 section 4.5.3.1.6

# Extension (as in EHLO) to the parameters it allows, for MAIL and RCPT.
_MAIL_PARAMETERS = {
    "SIZE": ("SIZE",),
    "8BITMIME": ("BODY",),
    "SMTPUTF8": ("SMTPUTF8",),
    "DSN": ("RET", "ENVID"),
    "REQUIRETLS": ("REQUIRETLS",),
    "MT-PRIORITY": ("MT-PRIORITY",),
    "DELIVERBY": ("BY",),
    "FUTURERELEASE": ("HOLDFOR", "HOLDUNTIL"),
}
_RCPT_PARAMETERS = {"DSN": ("NOTIFY", "ORCPT")}


def greeting(profile: Profile) -> bytes:
    """Return the 220 that opens a session."""
    return spell(f"220 {profile.hostname} ESMTP ready")


def usual_reply(profile: Profile, conversation: Conversation, command: Command) -> bytes:
    """Return the reply of a correct relay; of the state only an AUTH dialogue is begun."""
    if command.verb == "EHLO":
        return _ehlo(profile, conversation, command)
    return _spell(profile, _decide(profile, conversation, command))


def usual_credentials_reply(profile: Profile, conversation: Conversation, line: str) -> bytes:
    """Return the reply to a line that answers a 334."""
    exchange = conversation.exchange
    return _spell(profile, exchange.respond(line) if exchange else _BAD_SEQUENCE)


def usual_content_reply(
    profile: Profile, conversation: Conversation, content: bytes, *, order: int
) -> bytes:
    """Return the reply to the final dot; `order` numbers the message if it is accepted."""
    fault = _content_fault(profile, conversation, content)
    return _spell(profile, fault or f"250 2.0.0 accepted as {order}")


def _decide(profile: Profile, conversation: Conversation, command: Command) -> str:
    if command.is_too_long:
        return "500 5.5.2 line too long"
    if conversation.is_refused and command.verb != "QUIT":
        return "503 5.5.1 no service here"
    return _ANSWERS.get(command.verb, _unknown)(profile, conversation, command)


def _spell(profile: Profile, answer: str) -> bytes:
    return _spelled(answer, "ENHANCEDSTATUSCODES" in profile.keywords)


@lru_cache(maxsize=256)
def _spelled(answer: str, enhanced: bool) -> bytes:
    return spell(answer if enhanced else without_enhanced(answer))


# One function for each command.


def _ehlo(profile: Profile, conversation: Conversation, command: Command) -> bytes:
    refusal = _hello_fault(conversation, command)
    if refusal:
        return spell(refusal)
    lines = profile.capabilities(secured=conversation.is_secured)
    return spell_multiline(250, [profile.hostname, *lines])


def _helo(profile: Profile, conversation: Conversation, command: Command) -> str:
    return _hello_fault(conversation, command) or f"250 {profile.hostname}"


def _hello_fault(conversation: Conversation, command: Command) -> str:
    """EHLO and HELO carry no enhanced codes (RFC 2034 section 4)."""
    if conversation.is_refused:
        return "503 no service here"
    if command.is_too_long:
        return "500 line too long"
    return "" if command.names_a_host else "501 a domain or an address literal is wanted"


def _starttls(profile: Profile, conversation: Conversation, command: Command) -> str:
    if not profile.offers_starttls(secured=conversation.is_secured):
        return "503 5.5.1 already in TLS" if conversation.is_secured else _unknown()
    if command.argument:
        return "501 5.5.4 STARTTLS takes no argument"
    if not conversation.is_greeted or conversation.mail:
        return _BAD_SEQUENCE
    return "220 2.0.0 ready to start TLS"


def _auth(profile: Profile, conversation: Conversation, command: Command) -> str:
    refusal = _auth_fault(profile, conversation)
    if refusal:
        return refusal
    mechanism, _, initial = command.argument.partition(" ")
    mechanism = mechanism.upper()
    if mechanism not in profile.mechanisms or not is_known(mechanism):
        return "504 5.5.4 mechanism not supported"
    conversation.exchange = Exchange(mechanism, profile.users)
    return conversation.exchange.start(initial)


def _auth_fault(profile: Profile, conversation: Conversation) -> str:
    if not conversation.is_extended:
        return _GREET_FIRST
    if conversation.user is not None or conversation.mail:
        return _BAD_SEQUENCE
    if profile.offers_auth(secured=conversation.is_secured):
        return ""
    if profile.users:
        return "538 5.7.11 encryption required for this mechanism"
    return _unknown()


def _mail(profile: Profile, conversation: Conversation, command: Command) -> str:
    if not conversation.is_greeted:
        return _GREET_FIRST
    if profile.require_tls and not conversation.is_secured:
        return "530 5.7.0 must issue a STARTTLS command first"
    if profile.require_auth and conversation.user is None:
        return "530 5.7.0 authentication required"
    if conversation.mail:
        return "503 5.5.1 nested MAIL command"
    if command.path is None:
        return "501 5.1.7 bad sender address syntax"
    return _mail_fault(profile, conversation, command.path) or "250 2.1.0 sender ok"


def _mail_fault(profile: Profile, conversation: Conversation, path: Path) -> str:
    allowed = _allowed(profile, conversation, _MAIL_PARAMETERS)
    if profile.users:
        allowed |= {"AUTH"}
    given = _given(path)
    if not given.keys() <= allowed:
        return "555 5.5.4 parameter not recognised"
    size = given.get("SIZE", "0")
    if not (size.isascii() and size.isdecimal()):
        return "501 5.5.4 SIZE is a number"
    if given.get("BODY", "7BIT").upper() not in ("7BIT", "8BITMIME"):
        return "501 5.5.4 BODY is 7BIT or 8BITMIME"
    if int(size) > profile.size_limit:
        return "552 5.3.4 message too big"
    if not path.address.isascii() and "SMTPUTF8" not in given:
        return "553 5.6.7 address needs SMTPUTF8"
    return ""


def _rcpt(profile: Profile, conversation: Conversation, command: Command) -> str:
    mail, path = conversation.mail, command.path
    if mail is None:
        return _NO_MAIL
    if path is None:
        return "501 5.1.3 bad recipient address syntax"
    if not _given(path).keys() <= _allowed(profile, conversation, _RCPT_PARAMETERS):
        return "555 5.5.4 parameter not recognised"
    if not path.address.isascii() and not mail.is_utf8:
        return "553 5.6.7 address needs SMTPUTF8"
    if len(mail.recipients) >= profile.max_recipients:
        return "452 4.5.3 too many recipients"
    return "250 2.1.5 recipient ok"


def _data(_profile: Profile, conversation: Conversation, command: Command) -> str:
    if command.argument:
        return "501 5.5.4 DATA takes no argument"
    if conversation.mail is None:
        return _NO_MAIL
    return "354 end with <CRLF>.<CRLF>" if conversation.mail.recipients else _NO_RECIPIENTS


def _rset(_profile: Profile, _conversation: Conversation, command: Command) -> str:
    return "501 5.5.4 RSET takes no argument" if command.argument else "250 2.0.0 forgotten"


def _noop(_profile: Profile, _conversation: Conversation, _command: Command) -> str:
    return "250 2.0.0 ok"


def _vrfy(_profile: Profile, _conversation: Conversation, _command: Command) -> str:
    return "252 2.5.2 cannot verify, but will take the message"


def _quit(profile: Profile, _conversation: Conversation, _command: Command) -> str:
    return f"221 2.0.0 {profile.hostname} closing"


def _unknown(*_: object) -> str:
    return "500 5.5.2 command not recognised"


_ANSWERS: Mapping[str, Answer] = {
    "HELO": _helo,
    "STARTTLS": _starttls,
    "AUTH": _auth,
    "MAIL": _mail,
    "RCPT": _rcpt,
    "DATA": _data,
    "RSET": _rset,
    "NOOP": _noop,
    "VRFY": _vrfy,
    "QUIT": _quit,
}


def _given(path: Path) -> dict[str, str]:
    split = (parameter.partition("=") for parameter in path.parameters)
    return {keyword.upper(): value for keyword, _, value in split}


def _allowed(
    profile: Profile, conversation: Conversation, parameters: Mapping[str, tuple[str, ...]]
) -> set[str]:
    if not conversation.is_extended:
        return set()
    offered = profile.keywords & parameters.keys()
    return {keyword for extension in offered for keyword in parameters[extension]}


def _content_fault(profile: Profile, conversation: Conversation, content: bytes) -> str:
    """What a strict relay finds wrong with the message itself; "" if nothing."""
    mail = conversation.mail
    if mail is None or not mail.recipients:
        return _NO_RECIPIENTS
    if len(content) > profile.size_limit:
        return "552 5.3.4 message too big"
    if not (content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r")):
        return "550 5.6.0 bare CR or LF in the message"
    if len(max(content.split(b"\r\n"), key=len)) > _LONGEST_TEXT_LINE:
        return "500 5.5.2 text line too long"
    if not mail.is_8bit and not content.isascii():
        return "554 5.6.1 8-bit content without BODY=8BITMIME"
    return ""
