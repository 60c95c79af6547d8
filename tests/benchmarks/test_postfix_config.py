from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.postfix_config import PostfixSettings

LIMITS = {"default_destination_concurrency_limit", "default_process_limit", "in_flow_delay"}


def parameters(settings: PostfixSettings, *, delivers: bool = True) -> dict[str, str]:
    """Return what main.cf sets."""
    settings.write(delivers=delivers)
    lines = (settings.config / "main.cf").read_text().splitlines()
    return dict(line.split(" = ", 1) for line in lines)


def services(settings: PostfixSettings) -> list[list[str]]:
    """Return the lines of master.cf in their fields."""
    return [line.split() for line in (settings.config / "master.cf").read_text().splitlines()]


@pytest.fixture
def settings(tmp_path: Path) -> PostfixSettings:
    """Return the settings of an untuned Postfix."""
    return PostfixSettings(tmp_path, port=2500, relay_port=2525)


def test_everything_it_writes_is_in_its_own_directory(settings: PostfixSettings) -> None:
    """The Postfix of the machine is not touched, and nobody from outside can submit."""
    found = parameters(settings)
    for name in ("queue_directory", "data_directory"):
        assert Path(found[name]).is_relative_to(settings.directory)
    assert found["inet_interfaces"] == "127.0.0.1"
    assert found["relayhost"] == "[127.0.0.1]:2525"
    assert [each[0] for each in services(settings) if each[1] == "inet"] == ["127.0.0.1:2500"]
    assert all(each[4] == "n" for each in services(settings)), "nothing is chrooted"


def test_the_default_sets_no_limit(settings: PostfixSettings) -> None:
    """What is called Postfix's default is Postfix's default."""
    assert not parameters(settings).keys() & LIMITS


def test_other_sessions_change_one_limit_and_tuning_all(tmp_path: Path) -> None:
    """An equal number of sessions is all that an untuned Postfix is given."""
    fifty = parameters(PostfixSettings(tmp_path, 2500, 2525, sessions=50))
    assert fifty.keys() & LIMITS == {"default_destination_concurrency_limit"}
    assert fifty["default_destination_concurrency_limit"] == "50"
    assert parameters(PostfixSettings(tmp_path, 2500, 2525, tuned=True)).keys() >= LIMITS


def test_it_does_not_deliver_while_it_is_filled(settings: PostfixSettings) -> None:
    """Without a queue manager mail is only taken in; afterwards all services are there."""
    assert parameters(settings, delivers=False)["in_flow_delay"] == "0"
    filling = {each[-1] for each in services(settings)}
    parameters(settings)
    assert {each[-1] for each in services(settings)} - filling == {"qmgr", "pickup"}
