import os
import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mailqueue.config import DatabaseSettings, RelaySettings, describe, load
from mailqueue.config.keys import known_keys
from mailqueue.config.url import redact_url
from mailqueue.errors import ConfigError
from tests.config.conftest import Load

CANARY = "c4n4ry-9917"
RELAY = '[relays.main]\nhost = "smtp.example.org"\nusername = "u"\n'


@pytest.mark.parametrize(
    "text",
    [
        RELAY + f'passwrod = "{CANARY}"',
        RELAY + f'secret = "{CANARY}"',
        RELAY + f'password = ["{CANARY}"]',
        RELAY + f'password = {{value = "{CANARY}"}}',
        RELAY + f'password = "{CANARY}\\u0000"',
        RELAY + f'password = "{CANARY}\\nmore"',
        RELAY + f'password = "{CANARY}"\npassword_file = "/p"',
        RELAY + f'password = "{CANARY}"\nport = "x"',
        RELAY + f'password = "{CANARY}"\ntls = "none"',
        RELAY + f'password = "{CANARY}"\nfallback = ["x"]',
        RELAY + f'password_file = "{CANARY}"',
        RELAY + f'password_file = "some/{CANARY}"',
        RELAY + f'password_file = ["{CANARY}"]',
        RELAY + f'tls = {{password = "{CANARY}"}}',
        RELAY + f'timeouts = "{CANARY}"',
        RELAY + f'[relays.main.timeouts]\npassword = "{CANARY}"',
        f'password = "{CANARY}"',
        f'relays = "{CANARY}"',
        f'[relays]\nmain = "{CANARY}"',
        f'[relays]\npassword = "{CANARY}"',
        f'[relays.main]\npassword = "{CANARY}"',
        f'[relays.main]\nhost = "smtp://u:{CANARY}@example.org"',
        f'[relays.main]\nhost = "u:{CANARY}@example.org"',
        f'database = "postgresql://u:{CANARY}@h/d"',
        f'[database]\nurl = "mysql://u:{CANARY}@h/d"',
        f'[database]\nurl = "mysql://u:@{CANARY}@h/d"',
        f'[database]\nurl = "mysql://u://{CANARY}@h/d"',
        f'[database]\nurl = "mysql://h/d?user=u&password={CANARY}"',
        f'[database]\nurl = "postgresql://u:{CANARY}@h/d\\n"',
        f'[database]\nurl = ["postgresql://u:{CANARY}@h/d"]',
        f"[relays.main]\npassword = {CANARY}",
        f'[relays.main]\npassword = "{CANARY}',
        f'[relays.main]\npassword = "{CANARY}\\x"',
    ],
)
def test_no_error_shows_a_secret(load_text: Load, text: str) -> None:
    """Wherever a password was put by mistake, the error and its traceback do not repeat it."""
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert CANARY not in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_number_for_a_password_is_not_shown(load_text: Load) -> None:
    """A password without its quotes is told as a wrong type, and not shown either."""
    with pytest.raises(
        ConfigError, match=r"relays\.main\.password: is not text; write it in quo"
    ) as e:
        load_text(RELAY + "password = 99174711")
    assert "99174711" not in str(e.value)


@pytest.mark.parametrize(
    "name",
    [
        "MAILQUEUE_RELAYS__MAIN__PASSWROD",
        "MAILQUEUE_RELAYS__MAIN__PASSWORD__X",
        "MAILQUEUE_PASSWORD__X",
        "MAILQUEUE_RELAYS__MAIN__PASSWORD_FILE",
    ],
)
def test_no_error_shows_a_variables_value(load_text: Load, name: str) -> None:
    """A secret in a misspelt variable is not repeated."""
    with pytest.raises(ConfigError) as caught:
        load_text(RELAY, **{name: CANARY})
    assert name in str(caught.value) or "password_file" in str(caught.value)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_what_is_shown_of_a_good_configuration(load_text: Load) -> None:
    """Neither description nor repr, sentence, warning or JSON holds a secret."""
    loaded = load_text(
        RELAY + f'password = "{CANARY}"\n[database]\nurl = "postgresql://u:{CANARY}@h/d"',
    )
    config = loaded.config
    shown = [describe(config), repr(loaded), str(config), config.model_dump_json()]
    shown += [str(config.relays), str(config.database), str(config.model_dump(mode="json"))]
    assert not [text for text in shown if CANARY in text]
    assert config.default_relay.read_secret() == CANARY
    assert CANARY in config.database.url
    assert "postgresql://u:********@h/d" in describe(config)


def test_a_model_made_by_hand_shows_no_secret_either() -> None:
    """The models keep secrets out of pydantic's own errors too."""
    wrong: list[dict[str, Any]] = [
        {"passwrod": CANARY},
        {"password": [CANARY]},
        {"password": f"{CANARY}\n"},
        {"username": "u", "password": CANARY, "auth": "none"},
    ]
    for given in wrong:
        with pytest.raises(ValidationError) as caught:
            RelaySettings(name="main", **given)
        assert CANARY not in str(caught.value) + repr(caught.value)
    with pytest.raises(ValidationError) as caught:
        DatabaseSettings(url=f"mysql://u:{CANARY}@h/d")
    assert CANARY not in str(caught.value) + repr(caught.value)


def test_the_password_is_known_to_be_secret() -> None:
    """The key that holds a password is recognised by its type, through any wrapping of it."""
    assert [key.path for key in known_keys() if key.is_secret] == [("relays", "NAME", "password")]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/lib/x.db", "sqlite:////var/lib/x.db"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h:5432/d", "postgresql://h:5432/d"),
        ("postgresql://u:p@h:5432/d", "postgresql://u:********@h:5432/d"),
        ("postgresql://u:p@q@h/d", "postgresql://u:********@h/d"),
        ("postgresql+psycopg://u:p/q@h/d", "postgresql+psycopg://u:********@h/d"),
        ("postgresql://h/d?password=p&x=1", "postgresql://h/d?password=********&x=1"),
        ("postgresql://h/d?x=1&sslPassword=p", "postgresql://h/d?x=1&sslPassword=********"),
    ],
)
def test_redacted_urls(url: str, expected: str) -> None:
    """An address loses its password and nothing else."""
    assert redact_url(url) == expected


def secret_of(file: Path | str) -> RelaySettings:
    """Return a relay whose password is in ``file``."""
    return RelaySettings(name="main", username="u", password_file=file)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_line_break_at_the_end_is_no_part_of_a_password(tmp_path: Path, ending: bytes) -> None:
    """Editors end a file with a line break; passwords do not, though they may end with spaces."""
    (tmp_path / "p").write_bytes("pä ss ".encode() + ending)
    assert secret_of(tmp_path / "p").read_secret() == "pä ss "


def test_the_file_is_read_anew(tmp_path: Path) -> None:
    """A token that was refreshed in its file is the one that the next connection uses."""
    file = tmp_path / "token"
    file.write_text("first")
    relay = secret_of(file)
    assert relay.read_secret() == "first"
    file.write_text("second")
    assert relay.read_secret() == "second"


def test_credentials_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bare name is a credential in $CREDENTIALS_DIRECTORY, of the process or as given."""
    (tmp_path / "smtp").write_text("s3cret\n")
    relay = secret_of("smtp")
    assert relay.read_secret({"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "s3cret"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert relay.read_secret() == "s3cret"


def test_credentials_are_checked_when_loading(load_text: Load, tmp_path: Path) -> None:
    """A credential is looked for in the environment that the configuration is loaded with."""
    (tmp_path / "smtp").write_text("s3cret\n")
    (tmp_path / "smtp").chmod(0o400)
    loaded = load_text(RELAY + 'password_file = "smtp"', CREDENTIALS_DIRECTORY=str(tmp_path))
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty; it must hold the password"),
        (b"\n", "is empty; it must hold the password"),
        (b"a\nb\n", "holds a control character or a second line"),
        (b"a\n\n", "holds a control character or a second line"),
        (b"a\x00", "holds a control character or a second line"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"x" * 65_537, "holds more than 64 KiB"),
    ],
)
def test_what_a_password_file_may_not_hold(
    load_text: Load, tmp_path: Path, content: bytes, expected: str
) -> None:
    """A password file holds one line of text; what else is in it is told, and not repeated."""
    file = tmp_path / "p"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_text(RELAY + f'password_file = "{file}"')
    assert f'relays.main.password_file = "{file}": {expected}' in str(caught.value)
    with pytest.raises(ConfigError, match=expected) as caught:
        secret_of(file).read_secret()
    assert "relays.main.password_file" in str(caught.value)


def test_a_password_file_that_is_none(load_text: Load, tmp_path: Path) -> None:
    """What is missing, a directory or a pipe is refused at once, and a pipe is not waited for."""
    os.mkfifo(tmp_path / "pipe")
    expected = {
        tmp_path / "none": "cannot be read (",
        tmp_path / "pipe": "is no regular file (",
        tmp_path: "cannot be read (",
    }
    for file, text in expected.items():
        with pytest.raises(ConfigError) as caught:
            load_text(RELAY + f'password_file = "{file}"')
        assert f'password_file = "{file}": {text}' in str(caught.value)


def test_what_is_wrong_with_a_credential(load_text: Load, tmp_path: Path) -> None:
    """A credential that is not found is told with the names that are there."""
    text = RELAY + 'password_file = "smtp"'
    with pytest.raises(ConfigError, match=r"\$CREDENTIALS_DIRECTORY is not set; write an absolut"):
        load_text(text)
    directory = tmp_path / "credentials"
    directory.mkdir()
    with pytest.raises(ConfigError, match="nothing is there: add LoadCredential= to the unit"):
        load_text(text, CREDENTIALS_DIRECTORY=str(directory))
    (directory / "smpt").write_text("p")
    with pytest.raises(ConfigError, match="there are: smpt"):
        load_text(text, CREDENTIALS_DIRECTORY=str(directory))
    for relative in ("./p/q", "./p", "p/", "../p", "..", "."):
        with pytest.raises(ConfigError, match="is a relative path; write an absolute one"):
            load_text(RELAY + f'password_file = "{relative}"')


def test_a_relay_without_a_secret_says_so() -> None:
    """Asking for a secret that was never configured is an error with a remedy."""
    with pytest.raises(ConfigError, match=r"relays\.main\.password_file is not set"):
        RelaySettings(name="main").read_secret()


def test_files_that_everybody_may_read_are_a_warning(load_text: Load, tmp_path: Path) -> None:
    """A password that every user can read works, and is told."""
    file = tmp_path / "p"
    file.write_text("p")
    file.chmod(0o644)
    [warning] = load_text(RELAY + f'password_file = "{file}"').warnings
    assert f"{file} can be read by every user" in warning
    file.chmod(0o640)
    assert load_text(RELAY + f'password_file = "{file}"').warnings == ()


def test_a_password_in_a_configuration_that_everybody_may_read(
    load_text: Load, tmp_path: Path
) -> None:
    """The same holds for the configuration itself, if a password is in it."""
    file = tmp_path / "config.toml"
    assert load_text(RELAY + 'password = "p"').warnings == ()
    file.chmod(0o644)
    [warning] = load(file, environ={}).warnings
    assert f"{file} can be read by every user" in warning
