"""Events to the log: as text for people and Postfix's readers, or as JSON lines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

from mailqueue import events
from mailqueue.events.wording import level_of, word

LOGGER = logging.getLogger("mailqueue")
_PRIORITIES = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}


def write(event: events.Event) -> None:
    """Log ``event``; a recipient's answer costs next to nothing where its level is off."""
    if isinstance(event, events.RecipientAnswered) and not LOGGER.isEnabledFor(level_of(event)):
        return
    line = word(event)
    if LOGGER.isEnabledFor(line.level):
        error = event.error if isinstance(event, events.PartFailed) else None
        exc_info = None if error is None else (type(error), error, error.__traceback__)
        extra = {"event": _name(event), "fields": line.fields}
        LOGGER.log(line.level, "%s", line.text, extra=extra, exc_info=exc_info)


def _name(event: events.Event) -> str:
    return type(event).__name__


def configure(
    level: str, form: Literal["text", "json"], *, journal: bool = False, to: TextIO | None = None
) -> None:
    """Send the log to ``to`` (standard error by default).

    ``journal``: the reader is systemd's journal, which knows the time itself and reads the
    priority from the front of the line (sd-daemon(3)). Replaces an earlier set-up.
    """
    handler = logging.StreamHandler(to or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter(journal=journal))
    for old in list(LOGGER.handlers):
        LOGGER.removeHandler(old)
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


class _TextFormatter(logging.Formatter):
    def __init__(self, *, journal: bool) -> None:
        super().__init__("%(message)s" if journal else "%(asctime)s %(levelname)s %(message)s")
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._journal:
            return text
        # Every line of a traceback needs its own mark, or the journal files it as a notice.
        mark = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(mark + line for line in text.split("\n"))


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", record.name),
            "text": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)
