"""Where a session stands: what was agreed so far, and what each reply changes in it."""

from mailqueue.testing.authentication import Exchange
from mailqueue.testing.command import Command
from mailqueue.testing.transaction import Transaction


class Conversation:
    """The state of one session as RFC 5321 section 4.1.4 orders it.

    The state follows the replies that were given, not the commands: a script that says 250 has
    agreed, and one that says 550 has not.
    """

    def __init__(self) -> None:
        self.is_refused = False  # by the greeting
        self.is_greeted = False
        self.is_extended = False  # by EHLO rather than HELO
        self.is_secured = False
        self.user: str | None = None
        self.exchange: Exchange | None = None
        self.mail: Transaction | None = None
        self.transactions = 0  # MAIL commands met

    def heed_greeting(self, code: int | None) -> None:
        """RFC 5321 section 3.1: after a 554 nothing but QUIT is served."""
        self.is_refused = not _is_success(code)

    def heed(self, command: Command, code: int | None) -> None:
        """Change what this command, not AUTH, changes when it is answered with `code`."""
        if _is_success(code):
            self._agree(command)

    def heed_auth(self, code: int | None) -> None:
        """End the AUTH dialogue, unless `code` asks for more."""
        if _is_success(code):
            claim = self.exchange.claim if self.exchange else None
            self.user = claim.user if claim else ""
        if not _is_intermediate(code):
            self.exchange = None

    def begin_transaction(self) -> None:
        """Count one more MAIL command."""
        self.transactions += 1

    def end_transaction(self) -> None:
        """Forget the envelope, as after the final dot, RSET and EHLO."""
        self.mail = None

    def secure(self) -> None:
        """Forget everything said before TLS (RFC 3207 section 4.2)."""
        self.is_greeted = self.is_extended = False
        self.user = None
        self.mail = None
        self.is_secured = True

    def _agree(self, command: Command) -> None:
        match command.verb:
            case "EHLO" | "HELO":
                self.is_greeted = True
                self.is_extended = command.verb == "EHLO"
                self.end_transaction()
            case "MAIL":
                address, parameters = _path_of(command)
                self.mail = Transaction(address, parameters)
            case "RCPT" if self.mail is not None:
                self.mail.add(*_path_of(command))
            case "RSET":
                self.end_transaction()


def _path_of(command: Command) -> tuple[str, tuple[str, ...]]:
    """Return what was asked for, even where only a script would have granted it."""
    if command.path is None:
        return command.argument, ()
    return command.path.address, command.path.parameters


def _is_success(code: int | None) -> bool:
    return code is not None and 200 <= code <= 299


def _is_intermediate(code: int | None) -> bool:
    return code is not None and 300 <= code <= 399
