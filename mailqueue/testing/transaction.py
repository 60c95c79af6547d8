"""A transaction as the relay has it so far: what MAIL and RCPT said and were granted."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Transaction:
    """One envelope in the making, from the MAIL that was accepted."""

    sender: str
    mail_parameters: tuple[str, ...] = ()
    recipients: list[str] = field(default_factory=list)
    recipient_parameters: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def is_8bit(self) -> bool:
        """Whether the client announced content with the high bit set (RFC 6152 section 3)."""
        return any(
            parameter.upper() in ("BODY=8BITMIME", "SMTPUTF8") for parameter in self.mail_parameters
        )

    @property
    def is_utf8(self) -> bool:
        """Whether addresses outside ASCII were announced (RFC 6531 section 3.4)."""
        return any(parameter.upper() == "SMTPUTF8" for parameter in self.mail_parameters)

    def add(self, recipient: str, parameters: tuple[str, ...]) -> None:
        """Take one more recipient."""
        self.recipients.append(recipient)
        if parameters:
            self.recipient_parameters[recipient] = parameters
