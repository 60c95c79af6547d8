"""The witness: looks at an outbox after every transaction, and notices what may not be."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from typing import Any

from tests.simulation.invariants import Key, Observed, assert_followed, assert_sound

_ROWS = """
SELECT id, state, due_at, finished_at, worker, lease, attempts, doubts
FROM mailqueue_recipients
"""
_RECORD = """
SELECT (SELECT count(*) FROM mailqueue_attempts), (SELECT coalesce(max(id), 0)
       FROM mailqueue_attempts), (SELECT coalesce(max(id), 0) FROM mailqueue_actions)
"""
_ADDED = """
SELECT recipient_id FROM mailqueue_attempts WHERE id > ?
UNION SELECT recipient_id FROM mailqueue_actions WHERE id > ?
"""
_OBSERVED = """
WITH asked(id) AS (SELECT value FROM json_each(?))
SELECT r.id, r.message_id, r.address, r.state, r.due_at, r.finished_at, r.worker, r.lease,
       r.attempts, r.doubts, m.header_message_id, m.on_doubt,
       coalesce(a.tried, 0) AS tried, coalesce(a.charged, 0) AS charged,
       coalesce(a.doubted, 0) AS doubted, coalesce(a.sent, 0) AS sent,
       coalesce(l.verdict, '') AS last_verdict,
       coalesce(c.retried, 0) AS retried, coalesce(c.freed, 0) AS freed
FROM asked
JOIN mailqueue_recipients r ON r.id = asked.id
JOIN mailqueue_messages m ON m.id = r.message_id
LEFT JOIN (SELECT recipient_id, count(*) AS tried, sum(charged) AS charged,
                  sum(verdict = 'in-doubt') AS doubted, sum(verdict = 'sent') AS sent,
                  max(id) AS last
           FROM mailqueue_attempts WHERE recipient_id IN asked
           GROUP BY recipient_id) a ON a.recipient_id = r.id
LEFT JOIN mailqueue_attempts l ON l.id = a.last
LEFT JOIN (SELECT recipient_id, sum(verb = 'retry') AS retried,
                  sum(verb IN ('retry', 'release')) AS freed
           FROM mailqueue_actions WHERE recipient_id IN asked
           GROUP BY recipient_id) c ON c.recipient_id = r.id
"""
_ADDRESS, _HEADER = 2, 10
"""Where the columns of `Key` stand in these rows."""

Row = tuple[Any, ...]


class Witness:
    """Looks at an outbox again and again, and raises `AssertionError` for what may not be.

    ``shell`` is a connection of its own; ``delivered`` counts what relays took, and is read anew
    at each look.
    """

    def __init__(self, shell: sqlite3.Connection, delivered: Mapping[Key, int]) -> None:
        self.seen: dict[int, Observed] = {}
        """All recipients by their number, as they were at the last look."""
        self._shell = shell
        self._delivered = delivered
        self._rows: dict[int, Row] = {}
        self._record: tuple[int, int, int] = (0, 0, 0)

    def look(self, *, closely: bool = False) -> list[Observed]:
        """Return what has changed since the last look, after checking it.

        All recipients are looked at, but only those read with their whole record of whom the
        row, the record or the relays' ledger has changed. ``closely`` reads everybody.
        """
        rows = {row[0]: row for row in self._shell.execute(_ROWS)}
        touched = rows.keys() if closely else self._touched(rows)
        changed = {one.id: one for one in self._observe(touched) if one != self.seen.get(one.id)}
        gone = [one for number, one in self.seen.items() if number not in rows]
        assert_sound(changed.values())
        assert_followed(self.seen, changed, gone)
        for one in gone:
            del self.seen[one.id]
        self._rows = rows
        self.seen |= changed
        return list(changed.values())

    def _touched(self, rows: Mapping[int, Row]) -> Collection[int]:
        before, (count, last, acts) = self._record, self._shell.execute(_RECORD).fetchone()
        self._record = (count, last, acts)
        if last < before[1] or count - before[0] != last - before[1]:
            # Something was taken off the record.
            return rows.keys()
        added = self._shell.execute(_ADDED, before[1:]).fetchall() if before != self._record else ()
        return (
            {number for number, row in rows.items() if self._rows.get(number) != row}
            | {number for (number,) in added if number in rows}
            | {one.id for one in self.seen.values() if self._count(one.key) != one.delivered}
        )

    def _observe(self, numbers: Collection[int]) -> list[Observed]:
        if not numbers:
            return []
        asked = json.dumps(sorted(numbers))
        found: list[Row] = self._shell.execute(_OBSERVED, (asked,)).fetchall()
        return [Observed(*(*row, self._count((row[_HEADER], row[_ADDRESS])))) for row in found]

    def _count(self, key: Key) -> int:
        return self._delivered.get(key, 0)
