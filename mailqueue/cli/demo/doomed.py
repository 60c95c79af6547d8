"""A producer that is killed as soon as `enqueue` has returned.

``python -m mailqueue.cli.demo.doomed URL RECIPIENT`` prints the number of the message, and dies.
"""

from __future__ import annotations

import os
import signal
import sys

from mailqueue import Limits, Outbox
from mailqueue.cli.demo.mails import Mail


def main(url: str, recipient: str) -> None:
    """Enqueue one mail and die: nothing is closed, nothing is flushed, no handler runs."""
    mail = Mail((recipient,))
    receipt = Outbox(url, limits=Limits(free_disk=None)).enqueue(mail.message, relay=mail.relay)
    os.write(sys.stdout.fileno(), b"%d\n" % receipt.id)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
