"""The part that one of several processes has of what one machine can hold.

A relay's limits are not divided here: they are shared in rows, see `mailqueue.daemon.shares`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mailqueue.config import Config, Loaded


@dataclass(frozen=True, slots=True)
class Share:
    """The ``index``-th of ``count`` even parts, counted from 0."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read "2/4", the second of four; raises `ValueError`."""
        number, _, count = text.partition("/")
        share = cls(int(number) - 1, int(count))
        if not 0 <= share.index < share.count:
            raise ValueError(f"{text} is no share: write 1/2 for the first of two")
        return share

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"

    def of(self, total: int) -> int:
        """Return this part of ``total``; all parts together are exactly that."""
        return (total + self.count - 1 - self.index) // self.count

    def applied(self, loaded: Loaded) -> Loaded:
        """Return the configuration with this part of the messages that are claimed at once."""
        return loaded if self.count == 1 else replace(loaded, config=self._cut(loaded.config))

    def _cut(self, config: Config) -> Config:
        deliveries = max(1, self.of(config.daemon.deliveries))
        daemon = config.daemon.model_copy(update={"deliveries": deliveries})
        return config.model_copy(update={"daemon": daemon})
