"""Which recipients a filter selects."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from mailqueue.errors import FilterError
from mailqueue.mail.lifecycle import State
from mailqueue.outbox.filter import Filter, condition
from mailqueue.outbox.tables import recipients
from tests.support.rows import NOW, SECOND, add_message, add_relay

HOUR = 3600 * SECOND


def selected(connection: Connection, wanted: Filter, default: str | None = None) -> list[str]:
    """Return the addresses that ``wanted`` selects, in the order of their ids."""
    where = condition(wanted, now=NOW, default_relay=default)
    statement = select(recipients.c.address).where(where).order_by(recipients.c.id)
    return [*connection.scalars(statement)]


@pytest.fixture
def people(connection: Connection) -> Connection:
    """An outbox with ann, Bob, cee and dan, who differ in everything that can be asked for."""
    add_message(
        connection,
        "ann@example.net",
        sender="shop@example.org",
        relay="bulk",
        tags='{"order": "42"}',
        enqueued_at=NOW - 3 * HOUR,
        recipient={"state": State.DEFERRED, "last_code": 451, "last_enhanced": "4.7.1"},
    )
    add_message(
        connection,
        "Bob@sub.example.net",
        sender="Shop+9@example.org",
        tags='{"order": "43", "kind": "50%_off"}',
        enqueued_at=NOW - 2 * HOUR,
        recipient={"state": State.FAILED, "last_code": 550, "last_enhanced": "5.7.1"},
    )
    add_message(
        connection,
        "cee_x@example.com",
        sender="",
        tags="no JSON",
        enqueued_at=NOW - HOUR,
        recipient={"state": State.FAILED, "last_code": 553, "last_enhanced": "5.1.10"},
    )
    add_message(connection, "dan@example.com", relay="main", tags='["order"]', enqueued_at=NOW)
    return connection


ANN, BOB, CEE, DAN = (
    "ann@example.net",
    "Bob@sub.example.net",
    "cee_x@example.com",
    "dan@example.com",
)


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, [ANN, BOB, CEE, DAN]),
        ({"state": "failed"}, [BOB, CEE]),
        ({"state": ["queued", "deferred"]}, [ANN, DAN]),
        ({"state": State.QUEUED}, [DAN]),
        ({"message": 1}, [ANN]),
        ({"message": [1, 3, -1, 2**70]}, [ANN, CEE]),
        ({"relay": "bulk"}, [ANN]),
        ({"relay": "main"}, [DAN]),
        ({"relay": ["main", "bulk"]}, [ANN, DAN]),
        ({"relay": "default"}, [BOB, CEE]),
        ({"sender": "shop@example.org"}, [ANN]),
        ({"sender": "SHOP@Example.org"}, [ANN]),
        ({"sender": "shop*@example.org"}, [ANN, BOB]),
        ({"sender": "<>"}, [CEE]),
        ({"sender": ""}, [CEE]),
        ({"recipient": "BOB@SUB.example.net"}, [BOB]),
        ({"recipient": "*@example.com"}, [CEE, DAN]),
        ({"recipient": "cee_*"}, [CEE]),
        ({"recipient": "c_e*"}, []),
        ({"recipient": "%@example.com"}, []),
        ({"domain": "example.net"}, [ANN]),
        ({"domain": "*.example.net"}, [BOB]),
        ({"domain": "*example.net"}, [ANN, BOB]),
        ({"domain": ["EXAMPLE.COM", "example.net"]}, [ANN, CEE, DAN]),
        ({"domain": "ample.com"}, []),
        ({"code": 550}, [BOB]),
        ({"code": "550"}, [BOB]),
        ({"code": "55x"}, [BOB, CEE]),
        ({"code": "4XX"}, [ANN]),
        ({"code": ["4xx", "553"]}, [ANN, CEE]),
        ({"enhanced": "5.7.1"}, [BOB]),
        ({"enhanced": "5.1.1"}, []),
        ({"enhanced": "5.*"}, [BOB, CEE]),
        ({"enhanced": "5.1.*"}, [CEE]),
        ({"tag": "order=42"}, [ANN]),
        ({"tag": ["order=42", "order=43"]}, [ANN, BOB]),
        ({"tag": "kind=50%_off"}, [BOB]),
        ({"tag": "order="}, []),
        ({"tag": '"=x'}, []),
        ({"older": timedelta(hours=2)}, [ANN, BOB]),
        ({"newer": timedelta(hours=1)}, [CEE, DAN]),
        ({"older": timedelta(hours=1), "newer": timedelta(hours=2)}, [BOB, CEE]),
        ({"state": "failed", "code": "5xx", "domain": "example.com"}, [CEE]),
    ],
    ids=str,
)
def test_who_is_selected(people: Connection, fields: dict[str, Any], found: list[str]) -> None:
    """Different fields narrow one another, and of several values one must fit."""
    assert selected(people, Filter(**fields)) == found


@pytest.mark.parametrize(("default", "found"), [("main", [BOB, CEE, DAN]), ("bulk", [DAN])])
def test_the_default_relay_takes_mail_that_names_none(
    people: Connection, default: str, found: list[str]
) -> None:
    """Asked for by its name, it has its own mail and that of nobody else's."""
    assert selected(people, Filter(relay="main"), default) == found


def test_it_selects_for_any_statement(people: Connection) -> None:
    """A condition on the message holds for each row, also in a statement that changes them."""
    where = condition(Filter(sender="shop@*", tag="order=42"), now=NOW)
    done = people.execute(recipients.update().where(where).values(doubts=7))
    assert done.rowcount == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "waiting"}, "use one of queued, deferred"),
        ({"code": "5"}, "such as 5xx"),
        ({"code": "5x0"}, "such as 5xx"),
        ({"code": 999}, "such as 550"),
        ({"enhanced": "5"}, "such as 5.7.1"),
        ({"enhanced": "3.1.1"}, "such as 5.7.1"),
        ({"enhanced": "%.1.1"}, "such as 5.7.1"),
        ({"tag": "order"}, "key=value"),
        ({"tag": "=42"}, "key=value"),
        ({"domain": "ann@example.net"}, "after the @"),
        ({"domain": ""}, "after the @"),
        ({"recipient": "ann"}, "an address"),
        ({"sender": "shop"}, "an address"),
    ],
    ids=str,
)
def test_what_can_fit_nobody_is_an_error(fields: dict[str, Any], words: str) -> None:
    """A misprint is told at once, with the form that was meant, and selects nobody in silence."""
    with pytest.raises(FilterError, match=words) as error:
        Filter(**fields)
    assert error.value.field in fields


def test_a_filter_can_be_asked_twice(people: Connection) -> None:
    """What was given as a generator is kept."""
    wanted = Filter(domain=(one for one in ["example.net"]))
    assert selected(people, wanted) == selected(people, wanted) == [ANN]


def test_only_a_filter_without_fields_is_empty() -> None:
    """Whoever wants everybody has to say so."""
    assert Filter().is_empty
    assert not Filter(state="queued").is_empty
    assert not Filter(older=timedelta()).is_empty


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12))
def test_an_address_finds_itself_and_nothing_is_sql(shared: Engine, local: str) -> None:
    """Whatever stands in it, a value is compared and never carried out."""
    with shared.connect() as connection:
        address = f"{local}@example.net"
        add_message(connection, address, tags="{}", sender=address)
        add_message(connection, "other@example.com", sender="other@example.com")
        for wanted in (Filter(recipient=address), Filter(sender=address)):
            assert selected(connection, wanted)[0] == address
        assert selected(connection, Filter(tag=f"x{local}={local}")) == []


def test_rows_of_other_relays_do_not_matter(people: Connection) -> None:
    """Which relays there are changes nothing: the names stand in the recipients' rows."""
    add_relay(people, "bulk")
    assert selected(people, Filter(relay="bulk")) == [ANN]
