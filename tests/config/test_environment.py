from pathlib import Path

import pytest

from mailqueue.config import load
from mailqueue.config.keys import NAME, known_keys
from mailqueue.errors import ConfigError
from tests.config.conftest import Load, Refusal

RELAY = '[relays.ses-eu]\nhost = "smtp.example.org"\n'


def test_every_kind_of_value(load_text: Load, tmp_path: Path) -> None:
    """Numbers, booleans, durations, sizes, paths and arrays can all be written in a variable."""
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    config = load_text(
        "",
        MAILQUEUE_LIMITS__MESSAGE_SIZE="1MiB",
        MAILQUEUE_LIMITS__RECIPIENTS="5",
        MAILQUEUE_BACKOFF__JITTER="0.5",
        MAILQUEUE_BACKOFF__INITIAL="60",
        MAILQUEUE_DAEMON__DEFAULT_RELAY="a",
        MAILQUEUE_RELAYS__A__HOST="10.0.0.1",
        MAILQUEUE_RELAYS__A__TLS="none",
        MAILQUEUE_RELAYS__A__ALLOW_PLAINTEXT="true",
        MAILQUEUE_RELAYS__A__CA_FILE=str(tmp_path / "ca.pem"),
        MAILQUEUE_RELAYS__A__FALLBACK="b, c",
        MAILQUEUE_RELAYS__A__TIMEOUTS__END_OF_DATA="20m",
        MAILQUEUE_RELAYS__B__PORT="2525",
        MAILQUEUE_RELAYS__B__FALLBACK='["c"]',
        MAILQUEUE_RELAYS__C__HOST="localhost",
    ).config
    assert config.limits.message_size == 2**20
    assert config.limits.recipients == 5
    assert config.backoff.jitter == 0.5
    assert config.backoff.initial == 60
    assert config.default_relay.allow_plaintext is True
    assert config.default_relay.ca_file == tmp_path / "ca.pem"
    assert config.default_relay.fallback == ("b", "c")
    assert config.default_relay.timeouts.end_of_data == 1200
    assert config.relays["b"].port == 2525
    assert config.relays["b"].fallback == ("c",)


@pytest.mark.parametrize("password", ["123", "true", "null", '["a"]', '{"a": 1}', "a,b", " p w "])
def test_a_password_is_taken_as_it_is(load_text: Load, password: str) -> None:
    """A password that looks like a number, a word of JSON or an array is still that text."""
    relay = load_text(
        RELAY,
        MAILQUEUE_RELAYS__SES_EU__USERNAME="null",
        MAILQUEUE_RELAYS__SES_EU__PASSWORD=password,
    ).config.default_relay
    assert relay.read_secret() == password
    assert relay.username == "null"


def test_hyphens_are_reached_by_underscores(load_text: Load) -> None:
    """A variable cannot have a hyphen, so SES_EU means the relay ses-eu where there is one."""
    loaded = load_text(RELAY, MAILQUEUE_RELAYS__SES_EU__PORT="2525")
    assert list(loaded.config.relays) == ["ses-eu"]
    assert loaded.config.default_relay.port == 2525
    both = RELAY + '[relays.ses_eu]\nhost = "localhost"\n[daemon]\ndefault_relay = "ses-eu"\n'
    config = load_text(both, MAILQUEUE_RELAYS__SES_EU__PORT="2525").config
    assert (config.relays["ses-eu"].port, config.relays["ses_eu"].port) == (None, 2525)


def test_empty_counts_as_not_set(load_text: Load) -> None:
    """NAME=${NAME} with nothing behind it leaves the file's value."""
    loaded = load_text('[log]\nlevel = "error"', MAILQUEUE_LOG__LEVEL="")
    assert loaded.config.log.level == "error"
    assert "environment" not in loaded.source


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAILQUEUE_DATBASE__URL", "MAILQUEUE_DATABASE__URL"),
        ("MAILQUEUE__DATABASE__URL", "MAILQUEUE_DATABASE__URL"),
        ("MAILQUEUE_RELAYS__MAIN__HOSST", "MAILQUEUE_RELAYS__MAIN__HOST"),
        ("MAILQUEUE_RELAYS__MAIN__TIMEOUTS__CONECT", "MAILQUEUE_RELAYS__MAIN__TIMEOUTS__CONNECT"),
        ("MAILQUEUE_RELAYS__MAIN", "did you mean MAILQUEUE_RELAYS__NAME__"),
        ("MAILQUEUE_X__Y", "mailqueue config example"),
        ("MAILQUEUE___", "mailqueue config example"),
    ],
)
def test_a_misspelt_variable_is_an_error(refusal: Refusal, name: str, meant: str) -> None:
    """A variable that is written like ours and matches no key stops us, set or empty."""
    for value in ("x", ""):
        lines = refusal("", **{name: value}).splitlines()
        assert any(f"{name}: is no key of the configuration; " in line for line in lines)
        assert any(meant in line for line in lines)


def test_variables_of_others_are_left_alone(load_text: Load) -> None:
    """What is not written like a key of ours is nobody's mistake, Kubernetes' least of all."""
    loaded = load_text(
        "",
        MAILQUEUE_PORT="tcp://10.0.0.1:25",
        MAILQUEUE_SERVICE_HOST="10.0.0.1",
        MAILQUEUE_TEST_POSTGRES="postgresql://h/d",
        MAILQUEUE_TEST__ANYTHING="x",
        MAILQUEUEX__Y="z",
        mailqueue_log__level="debug",
    )
    assert loaded.config.log.level == "info"
    assert loaded.warnings == ()


def test_one_underscore_too_few_is_a_warning(load_text: Load) -> None:
    """A variable that is ours but for an underscore is not read, and that is said."""
    loaded = load_text("", MAILQUEUE_DATABASE_URL="sqlite:////x.db")
    assert loaded.config.database.url == "sqlite:///outbox.db"
    [warning] = loaded.warnings
    assert "MAILQUEUE_DATABASE_URL is set and not read" in warning
    assert "MAILQUEUE_DATABASE__URL" in warning


@pytest.mark.parametrize("key", known_keys(), ids=lambda key: ".".join(key.path))
def test_every_key_can_be_set(key: object, tmp_path: Path) -> None:
    """There is no key that the environment cannot reach: nonsense in it is noticed or taken."""
    path = key.path  # type: ignore[attr-defined]
    written = "__".join("default" if part == NAME else part for part in path).upper()
    nonsense = "\x00"
    with pytest.raises(ConfigError, match=r"\.".join(path[-1:])) as caught:
        load(environ={f"MAILQUEUE_{written}": nonsense}, system_file=tmp_path / "none")
    assert f"from MAILQUEUE_{written}" in str(caught.value)
