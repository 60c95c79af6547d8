import pytest

from tests.config.conftest import Load, Refusal

RELAY = '[relays.main]\nhost = "smtp.example.org"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[daemons]", "daemons: is no key; did you mean daemon?"),
        ("[daemon]\nleese = 3", "daemon.leese: is no key; did you mean lease?"),
        (RELAY + "idle-seconds = 3", "relays.main.idle-seconds: is no key; did you mean idle_sec"),
        ("lease = 3", "lease: is no key here; it belongs in [daemon]"),
        (RELAY + "ehlo = 3", "relays.main.ehlo: is no key here; it belongs in [relays.NAME.timeou"),
        ("[log]\nfoo = 3", "log.foo: is no key; remove it, or take one of: level, format"),
        (RELAY + 'name = "x"', "relays.main.name: is not a key: [relays.NAME] names it; remove it"),
        ('[log]\nlevel = "loud"', "log.level = \"loud\": is not known; it must be 'debug', 'info'"),
        (RELAY + "host2 = 1\nport = 99999", "relays.main.port = 99999: is too large; it must be"),
        (RELAY + "port = 0", "relays.main.port = 0: is too small; it must be at least 1"),
        (RELAY + 'port = "25"', 'relays.main.port = "25": is not a whole number; write one, with'),
        (RELAY + "connections = 1.0", "relays.main.connections = 1.0: is not a whole number; wri"),
        (RELAY + "connections = true", "relays.main.connections = true: is not a whole number"),
        (RELAY + "allow_plaintext = 1", "relays.main.allow_plaintext = 1: is not true or false"),
        (RELAY + 'allow_plaintext = "yes"', 'relays.main.allow_plaintext = "yes": is not true'),
        (RELAY + "username = 1", "relays.main.username = 1: is not text; write it in quotes"),
        (RELAY + "ca_file = 1", "relays.main.ca_file = 1: is not a path; write one, in quotes"),
        (RELAY + "fallback = 1", "relays.main.fallback = 1: is not an array of names; write it as"),
        (RELAY + "fallback = [1]", "relays.main.fallback = 1: is not text; write it in quotes"),
        (RELAY + "timeouts = 1", "relays.main.timeouts: is not a table; write it as [relays.main"),
        ("relays = 1", "relays: is not a table; write it as [relays] on a line of its own"),
        ("[relays]", "relays: is empty; give it a value or leave it out"),
        ("[relays.Main]", "relays.Main: cannot be the name of a relay; use small letters"),
        ('[relays."a\\nb"]', 'relays."a\\nb": cannot be the name of a relay'),
        ('[daemon]\ndrain = "5 min"', 'daemon.drain = "5 min": is not a duration; write seconds'),
        ("[daemon]\ndrain = -1", "daemon.drain = -1: is out of range; a duration lies between"),
        ("[daemon]\npoll = 0", "daemon.poll = 0: must be more than 0"),
        ('[limits]\nmessage_size = "25M"', 'limits.message_size = "25M": is not a size; write b'),
        ("[limits]\nmessage_size = 0", "limits.message_size = 0: is too small; it must be at lea"),
        ("[backoff]\nfactor = 0.5", "backoff.factor = 0.5: is too small; it must be at least 1"),
        ("[backoff]\nfactor = inf", "backoff.factor = Infinity: is not a finite number"),
        ("[backoff]\njitter = 2", "backoff.jitter = 2: is too large; it must be at most 1"),
        (
            '[backoff]\ninitial = "5h"',
            "backoff.maximum: 4h is shorter than initial, which is 5h; make it at least",
        ),
        (
            '[backoff]\ninitial = "1h"\nmaximum = "1h"\ngive_up = "30m"',
            'backoff.give_up = "30m": 30m is shorter than initial, which is 1h',
        ),
        (
            RELAY + '[relays.main.breaker]\nmaximum = "1s"',
            'relays.main.breaker.maximum = "1s": 1s is shorter than initial, which is 30s',
        ),
        (
            '[daemon]\nlease = "60s"',
            'daemon.lease = "60s": 1m is not more than three times heartbeat, which is 20s',
        ),
        ("[daemon]\npoll_max = 0.5", "daemon.poll_max = 0.5: 0.5s is shorter than poll, which is"),
        (
            RELAY + 'tls = "none"',
            'relays.main.tls = "none": mail would cross the network readable: smtp.example.org is',
        ),
        (
            RELAY + 'username = "u"\npassword = "p"\ntls = "none"\nallow_plaintext = true',
            'relays.main.username = "u": would cross the network readable: tls is none',
        ),
        (RELAY + 'username = "u"', "relays.main.password_file: is missing, but auth is plain; na"),
        (RELAY + 'auth = "login"', "relays.main.username: is missing, but auth is login; add it"),
        (
            RELAY + 'username = "u"\npassword = "p"\npassword_file = "/p"',
            'relays.main.password_file = "/p": goes with password, but only one can hold; remove',
        ),
        (
            "[relays.a]\n[relays.b]",
            "daemon.default_relay: is not set; choose one of the relays: a, b",
        ),
        (
            RELAY + '[daemon]\ndefault_relay = "mian"',
            'daemon.default_relay = "mian": is not a relay; choose one of: main',
        ),
        (
            '[relays.a]\n[relays.default]\n[daemon]\ndefault_relay = "a"',
            'daemon.default_relay = "a": is not the relay called "default", whose mail would go '
            "there; choose that one, or give it another name",
        ),
        (RELAY + 'fallback = ["b"]', "relays.main.fallback: b is not a relay; choose from: main"),
        (RELAY + 'fallback = ["main"]', "relays.main.fallback: goes in a circle, main to main; t"),
        (
            '[relays.default]\nfallback = ["b"]\n[relays.b]\nfallback = ["default"]',
            "relays.default.fallback: goes in a circle, default to b to default; take one of them",
        ),
        (RELAY + 'source_address = "x"', 'relays.main.source_address = "x": is not an IP address'),
        (RELAY + 'username = "a\\nb"', 'relays.main.username = "a\\nb": holds a line break'),
        (RELAY + 'ca_file = "/a\\u0007"', 'relays.main.ca_file = "/a\\u0007": holds a line break'),
        ('[database]\nurl = "mysql://h/d"', 'database.url = "mysql://h/d": is no database that'),
        ('[database]\nurl = "sqlite://"', 'database.url = "sqlite://": names no file, and an out'),
        ('[database]\nurl = "sqlite:///:memory:"', 'database.url = "sqlite:///:memory:": names no'),
        (RELAY + 'ca_file = "/none/such"', 'relays.main.ca_file = "/none/such": cannot be read ('),
    ],
)
def test_a_problem_names_key_value_and_remedy(refusal: Refusal, text: str, expected: str) -> None:
    """Each mistake is told on a line of its own: the key, what was given, what to do."""
    lines = [line for line in refusal(text).splitlines() if line.startswith(f"  {expected}")]
    assert lines, refusal(text)
    assert ";" in lines[0] or "must be" in lines[0], "the remedy is missing"


def test_all_problems_at_once(refusal: Refusal) -> None:
    """Mistakes are told together, each once, and the file is named above them."""
    text = refusal('[log]\nlevel = "x"\nformat = "y"\n[backoff]\nfactor = 0\n' + RELAY
                   + "[relays.main.backoff]\ninitial = 1")  # fmt: skip
    head, *lines = text.splitlines()
    assert "config.toml" in head
    assert sorted(line.split(" ")[2] for line in lines) == [
        "backoff.factor", "log.format", "log.level",
    ]  # fmt: skip


def test_a_variable_is_named_where_it_is_at_fault(refusal: Refusal) -> None:
    """A bad value is blamed on the environment variable that brought it, not on the file."""
    text = refusal(RELAY + "port = 25", MAILQUEUE_RELAYS__MAIN__PORT="smtp")
    assert 'relays.main.port = "smtp" (from MAILQUEUE_RELAYS__MAIN__PORT): is not a whole' in text


def test_a_long_value_is_cut(refusal: Refusal) -> None:
    """A value that nobody could read to its end is not shown to its end."""
    for value in (f'"{"9" * 4000}"', "9" * 4000):
        text = refusal(f"[daemon]\npoll = {value}\n[limits]\nrecipients = {value}")
        assert text.count("9" * 99 + "...") + text.count("9" * 100 + "...") > 0
        assert "9" * 101 not in text


def test_several_relays_and_one_called_default(load_text: Load) -> None:
    """Among several relays, the one called "default" is it."""
    relays = "[relays.a]\n[relays.default]\n"
    assert load_text(relays).config.default_relay.name == "default"
    chosen = load_text(relays + '[daemon]\ndefault_relay = "default"').config
    assert chosen.default_relay.name == "default"
    assert load_text("[relays.a]").config.default_relay.name == "a"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[log]\nlevel = info", "line 2"),
        ("a = 1\n\nb = [1,\n", "end of document"),
        ("a = 1\nb = 2 3", "line 2"),
        (f"a = {'9' * 5000}", "shorten it"),
        ("[log]\n[log]", "line 2"),
        ("a = " + "[" * 10_000, "too deeply"),
    ],
)
def test_broken_toml(refusal: Refusal, text: str, expected: str) -> None:
    """What is not TOML is told with the file and the line."""
    told = refusal(text)
    assert "config.toml" in told
    assert expected in told
