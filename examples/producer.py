"""Puts a mail into the outbox every few seconds, as an application would."""

from __future__ import annotations

import os
import signal
import threading
from email.message import EmailMessage

from mailqueue import Outbox


def order(number: int) -> EmailMessage:
    """Return the mail that confirms an order."""
    message = EmailMessage()
    message["From"] = "Shop <shop@example.org>"
    message["To"] = "ann@example.net"
    message["Subject"] = f"Your order {number}"
    message.set_content("It is on its way.\n")
    return message


def main() -> None:
    """Enqueue until told to stop; $MAILQUEUE_DATABASE__URL says where."""
    outbox = Outbox(os.environ["MAILQUEUE_DATABASE__URL"])
    pause = float(os.environ.get("SECONDS_BETWEEN", "5"))
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    count = 0
    while not stopped.is_set():
        count += 1
        outbox.enqueue(order(count))
        stopped.wait(pause)


if __name__ == "__main__":
    main()
