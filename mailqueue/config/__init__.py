"""The configuration: a TOML file, the environment over it, and credentials from files."""

from mailqueue.config.describe import describe
from mailqueue.config.loading import Loaded, load
from mailqueue.config.model import Config
from mailqueue.config.pacing import BackoffSettings, BreakerSettings, Timeouts
from mailqueue.config.relays import RelaySettings
from mailqueue.config.sections import (
    DaemonSettings,
    DatabaseSettings,
    LimitSettings,
    LogSettings,
    RetentionSettings,
)

__all__ = [
    "BackoffSettings",
    "BreakerSettings",
    "Config",
    "DaemonSettings",
    "DatabaseSettings",
    "LimitSettings",
    "Loaded",
    "LogSettings",
    "RelaySettings",
    "RetentionSettings",
    "Timeouts",
    "describe",
    "load",
]
