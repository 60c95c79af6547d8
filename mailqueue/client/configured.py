"""What the configuration says to those who put mail into the outbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mailqueue.client.limits import Limits

if TYPE_CHECKING:
    from mailqueue.config import Config, DatabaseSettings


def read_configuration(path: Path | str | None) -> tuple[DatabaseSettings, Limits]:
    """Return where the outbox is and what it takes on; no relay's password is looked for.

    The file is found as `mailqueue.config.load` finds it. Raises `ConfigError`.
    """
    # Loaded only here: whoever names a URL never pays for it.
    from mailqueue.config import load  # noqa: PLC0415

    config = load(path, with_secrets=False).config
    return config.database, limits_of(config)


def limits_of(config: Config) -> Limits:
    """Return [limits] of the configuration as those of a producer."""
    return Limits(**config.limits.model_dump())
