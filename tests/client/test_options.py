from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_type_hints

import pytest

from mailqueue import MailqueueError, OnDoubt, OptionError, Outgoing, Priority
from mailqueue.client.options import MAX_KEY_CHARACTERS, options_of
from mailqueue.client.outgoing import Wishes
from mailqueue.config.relays import check_relay_name
from mailqueue.outbox.enqueue import Options
from tests.client.parts import RAW
from tests.support.rows import NOW, SECOND


def options(**wishes: Any) -> Options:
    """Return the options of a message with these wishes."""
    return options_of(Outgoing(RAW, **wishes), now=NOW)


def test_keywords_and_fields_agree() -> None:
    """What `enqueue` takes as keywords is what `Outgoing` has as fields, of the same types."""
    hints = get_type_hints(Wishes)
    of_outgoing = get_type_hints(Outgoing)
    names = [field.name for field in fields(Outgoing) if field.name != "message"]
    assert hints == {name: of_outgoing[name] for name in names}


def test_no_wishes() -> None:
    """Without wishes a message goes at once, at least once, by the default relay."""
    assert options() == Options()


@pytest.mark.parametrize(
    ("send_at", "instant"),
    [
        (datetime(2024, 1, 1, tzinfo=UTC), 1_704_067_200 * SECOND),
        (datetime(2024, 1, 1, 0, 0, 0, 7, tzinfo=UTC), 1_704_067_200 * SECOND + 7),
        (datetime(2024, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 1_704_067_200 * SECOND),
        (datetime(1969, 1, 1, tzinfo=UTC), -365 * 86_400 * SECOND),
    ],
)
def test_send_at(send_at: datetime, instant: int) -> None:
    """send_at is kept to the microsecond, whatever time zone it names."""
    assert options(send_at=send_at).send_at == instant


@pytest.mark.parametrize("send_at", [datetime(2024, 1, 1), datetime.min])  # noqa: DTZ001, DTZ901
def test_send_at_without_time_zone(send_at: datetime) -> None:
    """A time without a time zone means another one elsewhere: an error says what to write."""
    with pytest.raises(OptionError, match=r"has no time zone; use datetime.now\(UTC\)"):
        options(send_at=send_at)


@pytest.mark.parametrize(
    ("wishes", "deadline"),
    [
        ({"expires_in": 90}, NOW + 90 * SECOND),
        ({"expires_in": 0.5}, NOW + SECOND // 2),
        ({"expires_in": timedelta(minutes=2)}, NOW + 120 * SECOND),
        (
            {"expires_in": 90, "send_at": datetime.fromtimestamp(1_700_000_600, UTC)},
            NOW + 690 * SECOND,
        ),
        ({"expires_in": 90, "send_at": datetime(2000, 1, 1, tzinfo=UTC)}, NOW + 90 * SECOND),
    ],
)
def test_expires_in(wishes: Any, deadline: int) -> None:
    """expires_in counts from when the message may first be sent."""
    assert options(**wishes).expires_at == deadline


@pytest.mark.parametrize(
    ("given", "priority"),
    [
        ("high", Priority.HIGH),
        ("low", Priority.LOW),
        (Priority.HIGH, Priority.HIGH),
        (1, Priority.NORMAL),
    ],
)
def test_priority(given: Any, priority: Priority) -> None:
    """A priority is given by name or as the value."""
    assert options(priority=given).priority is priority


@pytest.mark.parametrize("given", ["hold", OnDoubt.HOLD])
def test_on_doubt(given: Any) -> None:
    """What to do in doubt is given by name or as the value."""
    assert options(on_doubt=given).on_doubt is OnDoubt.HOLD


def test_tags_are_copied() -> None:
    """Tags changed afterwards do not change what is stored."""
    tags = {"order": "42"}
    stored = options(tags=tags).tags
    tags["order"] = "43"
    assert stored == {"order": "42"}


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"send_at": 1_700_000_000}, "send_at must be a datetime with a time zone"),
        ({"expires_in": 0}, "more than zero"),
        ({"expires_in": -1}, "more than zero"),
        ({"expires_in": timedelta(0)}, "more than zero"),
        ({"expires_in": float("nan")}, "more than zero"),
        ({"expires_in": float("inf")}, "at most a hundred years"),
        ({"expires_in": 1e12}, "at most a hundred years"),
        ({"expires_in": True}, "a timedelta or seconds"),
        ({"expires_in": "5m"}, "a timedelta or seconds"),
        ({"priority": "urgent"}, "priority must be one of 'high', 'normal', 'low', not 'urgent'"),
        ({"priority": 7}, "priority must be one of"),
        ({"priority": []}, "priority must be one of"),
        ({"on_doubt": "panic"}, "on_doubt must be one of 'retry', 'hold'"),
        ({"relay": ""}, "cannot be the name of a relay"),
        ({"relay": "Bulk"}, "cannot be the name of a relay"),
        ({"relay": "a b"}, "cannot be the name of a relay"),
        ({"relay": "bulk\n"}, "cannot be the name of a relay"),
        ({"relay": "x" * 64}, "cannot be the name of a relay"),
        ({"relay": 5}, "cannot be the name of a relay"),
        ({"tags": ["a"]}, "tags must be a mapping of str to str, not list"),
        ({"tags": {"order": 42}}, "the tag 'order' must be a str, not 42"),
        ({"tags": {42: "order"}}, "the name of a tag must be a str"),
        ({"tags": {"": "x"}}, "the name of a tag must have 1 to 64 characters"),
        ({"tags": {"a": "x" * 257}}, "the tag 'a' must have 0 to 256 characters, not 257"),
        ({"tags": {"a": "x\ny"}}, "the tag 'a' contains the character U\\+000A"),
        ({"tags": {"a": "\ud800"}}, "the tag 'a' contains the character U\\+D800"),
        ({"tags": {str(n): "" for n in range(33)}}, "can have 32 tags, not 33"),
        ({"idempotency_key": ""}, "idempotency_key must have 1 to 200 characters"),
        ({"idempotency_key": "k" * (MAX_KEY_CHARACTERS + 1)}, "1 to 200 characters, not 201"),
        ({"idempotency_key": "k\0"}, "idempotency_key contains the character U\\+0000"),
        ({"idempotency_key": 42}, "idempotency_key must be a str"),
    ],
)
def test_bad_options(wishes: Any, why: str) -> None:
    """An option that cannot be meant is an error that names it and what it may be."""
    with pytest.raises(OptionError, match=why) as error:
        options(**wishes)
    assert isinstance(error.value, MailqueueError)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "bulk",
        "bulk-2",
        "bulk_2",
        "2",
        "x" * 63,
        "",
        "a-",
        "-a",
        "a--b",
        "A",
        "ä",
        "a.b",
        "x" * 64,
    ],
)
def test_relay_names_are_those_of_the_configuration(name: str) -> None:
    """A message can name every relay that can be configured, and no other."""
    try:
        check_relay_name(name)
    except ValueError:
        with pytest.raises(OptionError):
            options(relay=name)
    else:
        assert options(relay=name).relay == name
