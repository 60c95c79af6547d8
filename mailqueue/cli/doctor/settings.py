"""The configuration: whether it can be used, and whether its values go together."""

from __future__ import annotations

from collections.abc import Iterator

from mailqueue.cli.doctor.finding import Finding, warning, well, wrong
from mailqueue.cli.output import duration
from mailqueue.config import Config, RelaySettings, load
from mailqueue.errors import ConfigError


def loaded(config_file: str | None) -> tuple[Config | None, list[Finding]]:
    """Return the configuration, None where it cannot be used, and what is to be said of it.

    Passwords that this user may not read are a warning: the daemon may be another user.
    """
    try:
        found = load(config_file)
    except ConfigError as error:
        return _without_secrets(config_file, error)
    warnings = [warning("configuration", text, "see above") for text in found.warnings]
    return found.config, [well("configuration", found.source), *warnings]


def _without_secrets(
    config_file: str | None, error: ConfigError
) -> tuple[Config | None, list[Finding]]:
    try:
        found = load(config_file, with_secrets=False)
    except ConfigError:
        return None, [wrong("configuration", str(error), "correct it; `mailqueue config check`")]
    text = f"{found.source}; but {error}"
    remedy = "run this as the daemon's user, or correct the file"
    return found.config, [warning("configuration", text, remedy)]


def sane(config: Config) -> Iterator[Finding]:
    """Yield the values that are allowed and will be regretted; or that there are none."""
    found = [*_lease(config), *_backoff(config), *_retention(config)]
    for relay in config.relays.values():
        found += _timeouts(relay, config)
    yield from found or [well("settings", "lease, timeouts, backoff and retention go together")]


def _lease(config: Config) -> Iterator[Finding]:
    daemon, busy = config.daemon, config.database.busy_timeout
    if daemon.lease - daemon.heartbeat <= busy:
        yield warning(
            "daemon.lease",
            f"a heartbeat that waits {duration(busy)} for the database comes after the lease of "
            f"{duration(daemon.lease)} has ended, and mail may be sent twice, with doubt on record",
            "lengthen daemon.lease, or shorten database.busy_timeout",
        )


def _backoff(config: Config) -> Iterator[Finding]:
    for name in config.relays:
        policy = config.backoff_for(name)
        if policy.initial < 60:
            yield warning(
                f"backoff of {name}",
                f"the first pause is {duration(policy.initial)}: greylisting takes minutes, and "
                "relays hold hammering against a sender",
                "make initial a minute or more",
            )
        if policy.give_up < 86_400:
            yield warning(
                f"backoff of {name}",
                f"mail is given up after {duration(policy.give_up)}: a server that is down over "
                "night loses it (RFC 5321 section 4.5.4.1 asks for 4 to 5 days)",
                "make give_up a day or more, and use expires_in for mail that is soon stale",
            )


def _retention(config: Config) -> Iterator[Finding]:
    retention = config.retention
    if retention.messages < retention.contents:
        yield warning(
            "retention",
            f"whole messages go after {duration(retention.messages)}, so that contents are not "
            f"kept for {duration(retention.contents)}",
            "make retention.messages the longer one",
        )


def _timeouts(relay: RelaySettings, config: Config) -> Iterator[Finding]:
    last = relay.timeouts.end_of_data
    if last < 600:
        yield warning(
            f"relays.{relay.name}.timeouts",
            f"the reply to the final dot is awaited for {duration(last)} only: a relay that takes "
            "longer has the mail and is sent it again (RFC 5321 section 4.5.3.2.6 asks for 10m)",
            'make end_of_data "10m"',
        )
    if config.daemon.drain < min(last, 300):
        yield warning(
            "daemon.drain",
            f"a shutdown waits {duration(config.daemon.drain)} for replies to final dots, and "
            "leaves doubt on record for those that take longer",
            'make it "5m", and the service manager\'s TimeoutStopSec a little more',
        )
    if relay.connections > config.daemon.deliveries:
        yield warning(
            f"relays.{relay.name}.connections",
            f"{relay.connections} sessions are allowed and {config.daemon.deliveries} deliveries "
            "over all relays, so that they never open",
            "raise daemon.deliveries, or lower connections",
        )
