"""The operator's verbs: what a person decides about mail and relays, on the record."""

from mailqueue.operate.bulk import Bulk, Choice, Moved, Step
from mailqueue.operate.operator import Operator, login_name
from mailqueue.operate.relays import RelayStanding
from mailqueue.outbox.acts import Act
from mailqueue.outbox.bulk import Tally
from mailqueue.outbox.filter import Filter
from mailqueue.outbox.pauses import Pause

__all__ = [
    "Act",
    "Bulk",
    "Choice",
    "Filter",
    "Moved",
    "Operator",
    "Pause",
    "RelayStanding",
    "Step",
    "Tally",
    "login_name",
]
