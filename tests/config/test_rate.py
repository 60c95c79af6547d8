"""How many recipients a relay is offered in a time, as it is configured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailqueue.config import Config, RelaySettings, describe
from mailqueue.config.rate import Frequency, parse_rate
from mailqueue.mail.rate import Rate

HERE = {"host": "127.0.0.1", "tls": "none"}


def settings(**keys: Any) -> RelaySettings:
    """Return the settings of a relay on this machine."""
    return Config.model_validate({"relays": {"main": HERE | keys}}).relays["main"]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("14/s", Rate(14, 1.0, 14)),
        ("1000/h", Rate(1000, 3600.0, 1)),
        ("90 / m", Rate(90, 60.0, 2)),
        ("200/d", Rate(200, 86_400.0, 1)),
    ],
)
def test_a_rate_has_the_burst_of_a_second(text: str, rate: Rate) -> None:
    """At least one; another burst is a key of its own."""
    assert settings(rate=text).effective_rate == rate
    assert settings(rate=text, burst=7).effective_rate == Rate(rate.count, rate.seconds, 7)


@pytest.mark.parametrize(
    "wrong", ["", "14", "14/x", "0/s", "-1/s", "1.5/s", "14/s/s", 14, None, "/s"]
)
def test_what_is_no_rate(wrong: object) -> None:
    """It is told how to write one."""
    with pytest.raises(ValueError, match=r'"14/s" or "1000/h"|more than 0'):
        parse_rate(wrong)


def test_no_transaction_has_more_recipients_than_a_burst() -> None:
    """Whatever else is configured."""
    assert settings().most_recipients == 100
    assert settings(rate="14/s").most_recipients == 14
    assert settings(rate="1000/s").most_recipients == 100
    assert settings(rate="14/s", recipients_per_transaction=5).most_recipients == 5


def test_a_burst_without_a_rate_is_a_mistake() -> None:
    """It would have no effect, and somebody thought that it had."""
    with pytest.raises(ValidationError, match="goes with rate"):
        settings(burst=5)


def test_it_is_shown_as_it_is_written(tmp_path: Path) -> None:
    """In what `config show` prints, which can be read again."""
    config = Config.model_validate({"relays": {"main": HERE | {"rate": "14/s"}}})
    assert 'rate = "14/s"' in describe(config)
    assert str(Frequency(1000, "h")) == "1000/h"
