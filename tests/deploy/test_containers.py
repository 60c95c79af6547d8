"""docker-compose.yml and Dockerfile: well-formed, and true to the command line; without Docker."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mailqueue import Outbox
from mailqueue.cli.main import cli
from mailqueue.config import load
from mailqueue.config.values import parse_duration

ROOT = Path(__file__).parents[2]
INSTRUCTION = re.compile(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.MULTILINE)


@pytest.fixture
def services() -> dict[str, Any]:
    """Return the services of the compose file."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture
def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile, in order."""
    return INSTRUCTION.findall((ROOT / "Dockerfile").read_text())


def accepts(words: list[str]) -> None:
    """Read ``words`` as the command line does, and run nothing; raises where it would not."""
    root = click.Context(cli, **cli.context_settings)
    command = cli.get_command(root, words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:], root)


def test_daemon_producer_and_mailpit_are_there(services: dict[str, Any]) -> None:
    """One command shows mail going from an application to a mailbox."""
    assert services.keys() == {"daemon", "producer", "mailpit"}
    outboxes = {volume for name in ("daemon", "producer") for volume in services[name]["volumes"]}
    assert "outbox:/var/lib/mailqueue" in outboxes


def test_what_is_mounted_is_in_the_repository(services: dict[str, Any]) -> None:
    """Docker would make an empty directory of a path that is not there."""
    mounts = [volume for each in services.values() for volume in each.get("volumes", [])]
    paths = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert paths
    assert all((ROOT / path).exists() for path in paths)
    script = services["producer"]["entrypoint"][1].replace("/examples", "examples").lstrip("/")
    assert (ROOT / script).is_file()


def test_the_commands_exist(services: dict[str, Any], instructions: list[tuple[str, str]]) -> None:
    """Daemon and health check are called as the command line wants it."""
    accepts(services["daemon"]["command"])
    (command,) = [json.loads(text) for name, text in instructions if name == "CMD"]
    accepts(command)
    (check,) = [text for name, text in instructions if name == "HEALTHCHECK"]
    mailqueue, *words = json.loads(check.partition("CMD ")[2])
    assert mailqueue == "mailqueue"
    accepts(words)


def test_the_configuration_that_is_mounted_can_be_used(services: dict[str, Any]) -> None:
    """It leads to Mailpit's service and port, and to the outbox of the producer."""
    loaded = load(ROOT / "examples/config.toml", environ={})
    assert loaded.config.default_relay.host in services
    assert loaded.config.default_relay.port == 1025
    url = services["producer"]["environment"]["MAILQUEUE_DATABASE__URL"]
    assert loaded.config.database.url == url


def test_docker_waits_longer_than_the_daemon_drains(services: dict[str, Any]) -> None:
    """A stop does not cut off replies to written dots."""
    drain = load(ROOT / "examples/config.toml", environ={}).config.daemon.drain
    assert parse_duration(services["daemon"]["stop_grace_period"]) > drain


def test_the_image_runs_as_a_fixed_user(instructions: list[tuple[str, str]]) -> None:
    """The user is a number and not root, so that a volume has one owner everywhere."""
    users = [text for name, text in instructions if name == "USER"]
    assert users
    user, group = users[-1].split(":")
    assert int(user) > 0
    assert int(group) > 0
    (made,) = [text for name, text in instructions if name == "RUN" and "useradd" in text]
    assert f"--uid {user} --gid {group}" in made


def test_what_the_image_copies_exists_and_is_sent(instructions: list[tuple[str, str]]) -> None:
    """Each source is in the repository, and .dockerignore lets it through."""
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = [shlex.split(text)[:-1] for name, text in instructions if name == "COPY"]
    sources = {word for words in copied if not words[0].startswith("--") for word in words}
    assert sources == sent
    assert all((ROOT / source).exists() for source in sources)


def test_the_mail_of_the_producer_is_taken(tmp_path: Path) -> None:
    """What the example enqueues is mail that an outbox accepts."""
    order = runpy.run_path(str(ROOT / "examples/producer.py"))["order"]
    with Outbox(f"sqlite:///{tmp_path}/outbox.db") as outbox:
        receipt = outbox.enqueue(order(1))
        assert outbox.status(receipt.id) is not None
