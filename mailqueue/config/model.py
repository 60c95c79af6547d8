"""The configuration as a whole, and how its sections go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from mailqueue.config.fallback import circles
from mailqueue.config.pacing import BackoffSettings
from mailqueue.config.relays import RelaySettings
from mailqueue.config.section import Clash, Section, refuse
from mailqueue.config.sections import (
    DaemonSettings,
    DatabaseSettings,
    LimitSettings,
    LogSettings,
    RetentionSettings,
)

DEFAULT_RELAY = "default"
"""The relay that is used where several stand in the configuration and none was chosen."""


class Config(Section):
    """Everything that can be configured; the defaults suit a developer's machine.

    Raises pydantic's ValidationError, which `load` turns into a ConfigError.
    """

    database: DatabaseSettings = DatabaseSettings()
    daemon: DaemonSettings = DaemonSettings()
    limits: LimitSettings = LimitSettings()
    retention: RetentionSettings = RetentionSettings()
    log: LogSettings = LogSettings()
    backoff: BackoffSettings = BackoffSettings()
    relays: dict[str, RelaySettings] = Field(
        default_factory=lambda: {DEFAULT_RELAY: RelaySettings(name=DEFAULT_RELAY, tls="none")},
        min_length=1,
    )
    """By name; by default one on this machine, port 25."""

    @property
    def default_relay(self) -> RelaySettings:
        """The relay for messages that name none."""
        return self.relays[self._default_relay_name or DEFAULT_RELAY]

    def backoff_for(self, relay: str) -> BackoffSettings:
        """Return the backoff of the relay named ``relay``: its own, or the global one."""
        return self.relays[relay].backoff or self.backoff

    @model_validator(mode="before")
    @classmethod
    def _complete_relays(cls, given: Any) -> Any:
        """Give each relay its table's name, and its backoff what the global one says."""
        if not isinstance(given, Mapping) or not isinstance(given.get("relays"), Mapping):
            return given
        shared = _valid_backoff(given.get("backoff"))
        relays = {name: _completed(name, table, shared) for name, table in given["relays"].items()}
        return {**given, "relays": relays}

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse([*self._default_relay_clashes(), *self._fallback_clashes()])
        return self

    @property
    def _default_relay_name(self) -> str | None:
        only = next(iter(self.relays)) if len(self.relays) == 1 else None
        return self.daemon.default_relay or only

    def _default_relay_clashes(self) -> Iterator[Clash]:
        known = ", ".join(self.relays)
        chosen = self._default_relay_name
        if chosen is None and DEFAULT_RELAY not in self.relays:
            yield Clash(
                ("daemon", "default_relay"), f"is not set; choose one of the relays: {known}"
            )
        elif chosen is not None and chosen not in self.relays:
            yield Clash(("daemon", "default_relay"), f"is not a relay; choose one of: {known}")
        elif chosen not in (None, DEFAULT_RELAY) and DEFAULT_RELAY in self.relays:
            yield Clash(
                ("daemon", "default_relay"),
                f'is not the relay called "{DEFAULT_RELAY}", whose mail would go there; choose '
                "that one, or give it another name",
            )

    def _fallback_clashes(self) -> Iterator[Clash]:
        fallbacks = {name: relay.fallback for name, relay in self.relays.items()}
        known = ", ".join(self.relays)
        for name, following in fallbacks.items():
            for unknown in sorted(set(following) - set(self.relays)):
                text = f"{unknown} is not a relay; choose from: {known}"
                yield Clash(("relays", name, "fallback"), text)
        for way in circles(fallbacks):
            text = f"goes in a circle, {' to '.join(way)}; take one of them out"
            yield Clash(("relays", way[0], "fallback"), text)


def _valid_backoff(given: object) -> dict[str, object]:
    """Return what the global [backoff] sets; nothing if it is wrong, which is told there, once."""
    if isinstance(given, BackoffSettings):
        return given.model_dump(exclude_unset=True)
    try:
        return BackoffSettings.model_validate(given or {}).model_dump(exclude_unset=True)
    except ValidationError:
        return {}


def _completed(name: str, table: object, shared: Mapping[str, object]) -> object:
    if isinstance(table, RelaySettings) and table.name != name:
        raise ValueError(f"relay {table.name} stands under the name {name}")
    if not isinstance(table, Mapping):
        return table
    if table.get("name", name) != name:
        refuse([Clash(("relays", name, "name"), "is not a key: [relays.NAME] names it; remove it")])
    backoff = table.get("backoff")
    own = {"backoff": {**shared, **backoff}} if isinstance(backoff, Mapping) else {}
    return {**table, **own, "name": name}
