"""An application that submits to Postfix now and then, over one SMTP session that stays open.

``python -m benchmarks.submitter PORT FIRST MAILS``
"""

from __future__ import annotations

import smtplib
import sys
import time

from benchmarks import mails
from benchmarks.producer import PAUSE
from benchmarks.program import await_go, tell


def main() -> None:
    """Submit the mails, and tell when each `sendmail` was called."""
    port, first, count = map(int, sys.argv[1:])
    began = {}
    with smtplib.SMTP("127.0.0.1", port) as session:
        session.ehlo()
        await_go()
        for number in range(first, first + count):
            time.sleep(PAUSE)
            raw, to = mails.raw(number), mails.recipient(number)
            began[to] = time.monotonic()
            session.sendmail(mails.SENDER, [to], raw)
    tell({"event": "done", "times": began})


if __name__ == "__main__":
    main()
