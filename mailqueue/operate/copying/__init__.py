"""An outbox moved to another database, whole and once: fenced, copied, compared, and let go."""

from mailqueue.operate.copying.comparison import Compared
from mailqueue.operate.copying.course import Copy, Report
from mailqueue.operate.copying.refusals import (
    CopyError,
    DifferenceError,
    NotNowError,
    UnfitRowError,
)
from mailqueue.operate.copying.survey import Survey
from mailqueue.operate.copying.undoing import lift

__all__ = [
    "Compared",
    "Copy",
    "CopyError",
    "DifferenceError",
    "NotNowError",
    "Report",
    "Survey",
    "UnfitRowError",
    "lift",
]
