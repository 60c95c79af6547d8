"""What a client sends next, for relays that answer too early."""

_START = ("EHLO", "HELO")
_BETWEEN = ("MAIL", "RSET", "NOOP", "QUIT")

_AFTER_SUCCESS = {
    "CONNECT": _START,
    "TLS": _START,
    "EHLO": ("STARTTLS", "AUTH", "MAIL", "QUIT"),
    "HELO": _BETWEEN,
    "AUTH": _BETWEEN,
    "CREDENTIALS": _BETWEEN,
    "MAIL": ("RCPT",),
    "RCPT": ("RCPT", "DATA"),
    ".": _BETWEEN,
    "RSET": _BETWEEN,
    "NOOP": _BETWEEN,
}
_AFTER_CHALLENGE = {"DATA": (".",), "AUTH": ("CREDENTIALS",), "CREDENTIALS": ("CREDENTIALS",)}
_AFTER_FAILURE = {"EHLO": ("HELO", "QUIT"), "RCPT": ("RCPT", "DATA")}

FORESEEABLE = frozenset(
    verb
    for table in (_AFTER_SUCCESS, _AFTER_CHALLENGE, _AFTER_FAILURE)
    for verbs in table.values()
    for verb in verbs
)


def after(verb: str, code: int | None) -> tuple[str, ...]:
    """Return what may come after `verb` was answered with `code`."""
    if verb == "TLS":
        return _START
    if verb == "BODY":
        return ()
    if code is not None and 200 <= code <= 299:
        return _AFTER_SUCCESS.get(verb, ())
    if code is not None and 300 <= code <= 399:
        return _AFTER_CHALLENGE.get(verb, ())
    return _AFTER_FAILURE.get(verb, _BETWEEN)


def usual_reply(verb: str) -> bytes:
    """Return a reply that suits a command nobody has read yet."""
    return _USUAL.get(verb, b"250 2.0.0 ok\r\n")


_USUAL = {
    "STARTTLS": b"220 2.0.0 ready to start TLS\r\n",
    "AUTH": b"235 2.7.0 authenticated\r\n",
    "CREDENTIALS": b"235 2.7.0 authenticated\r\n",
    "DATA": b"354 end with <CRLF>.<CRLF>\r\n",
    "QUIT": b"221 2.0.0 closing\r\n",
}
