"""The mail that is measured with: 2 KB of text, one recipient each, none of them twice."""

from __future__ import annotations

from email.message import EmailMessage

SENDER = "bench@example.org"
DATE = "Mon, 06 Jan 2025 08:00:00 +0000"
LINE = "The quick brown fox jumps over the lazy dog, and is on its way.\r\n"
BODY = LINE * 32  # 2,080 octets


def recipient(number: int) -> str:
    """Return the address of the mail of this number."""
    return f"reader-{number}@example.net"


def raw(number: int) -> bytes:
    """Return the mail of this number as prebuilt bytes."""
    return (
        f"From: {SENDER}\r\nTo: {recipient(number)}\r\nSubject: Mail {number}\r\n"
        f"Message-ID: <{number}@bench.example.org>\r\nDate: {DATE}\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{BODY}"
    ).encode()


def message(number: int) -> EmailMessage:
    """Return the mail of this number as an application builds it."""
    built = EmailMessage()
    built["From"] = SENDER
    built["To"] = recipient(number)
    built["Subject"] = f"Mail {number}"
    built["Message-ID"] = f"<{number}@bench.example.org>"
    built["Date"] = DATE
    built.set_content(BODY.replace("\r\n", "\n"))
    return built
