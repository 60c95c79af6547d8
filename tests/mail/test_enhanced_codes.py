"""Enhanced status codes are described as the registry has them, or not at all."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailqueue.mail.enhanced_codes import MEANINGS, SUBJECTS, describe
from mailqueue.mail.reply import EnhancedStatus

HIGHEST_DETAIL = {0: 0, 1: 10, 2: 4, 3: 6, 4: 7, 5: 6, 6: 10, 7: 30}
"""By subject, as registered with IANA (RFC 5248); no number below is left out."""


def test_the_table_is_the_registry_without_gaps() -> None:
    """Every registered detail of every subject has a meaning, and no other has."""
    registered = {(s, d) for s, highest in HIGHEST_DETAIL.items() for d in range(highest + 1)}

    assert set(MEANINGS) == registered
    assert set(SUBJECTS) == set(HIGHEST_DETAIL)


@pytest.mark.parametrize("key", MEANINGS, ids=str)
def test_a_meaning_is_one_sentence_of_its_own(key: tuple[int, int]) -> None:
    """Each meaning is one sentence, and no two are the same."""
    assert re.fullmatch(r"[A-Z][^\n]*\.", MEANINGS[key])
    assert list(MEANINGS.values()).count(MEANINGS[key]) == 1


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ("5.1.1", "mailbox does not exist"),
        ("4.2.2", "mailbox is full"),
        ("5.3.4", "bigger than the mail system allows"),
        ("4.4.2", "broke or timed out"),
        ("4.5.3", "too many recipients"),
        ("5.7.1", "not authorised"),
        ("5.7.8", "password is wrong"),
        ("5.7.25", "reverse DNS"),
        ("5.7.30", "REQUIRETLS"),
    ],
)
def test_well_known_codes_say_what_a_postmaster_expects(status: str, word: str) -> None:
    """The codes met most often are described by the fault they stand for."""
    description = describe(status)

    assert description is not None
    assert word in description


@given(st.sampled_from([2, 4, 5]), st.sampled_from(sorted(MEANINGS)))
def test_the_meaning_is_the_same_in_every_class(klass: int, key: tuple[int, int]) -> None:
    """A status is described by subject and detail, as a value or as written."""
    status = EnhancedStatus(klass, *key)

    assert describe(status) == describe(str(status)) == MEANINGS[key]


@given(st.sampled_from([2, 4, 5]), st.sampled_from(sorted(SUBJECTS)), st.integers(31, 999))
def test_an_unregistered_detail_is_described_by_its_subject(
    klass: int, subject: int, detail: int
) -> None:
    """A provider's own detail, such as 5.7.515, still says what it is about."""
    description = describe(f"{klass}.{subject}.{detail}")

    assert description is not None
    assert SUBJECTS[subject] in description
    assert "not registered" in description


@pytest.mark.parametrize(
    "text",
    ["", "5", "5.1", "5.1.1.1", "3.1.1", "6.1.1", "5.8.1", "5.01.1", "5.1.1000", "5.1.1 no", "x"],
)
def test_what_is_no_status_has_no_description(text: str) -> None:
    """Neither another class, nor an unknown subject, nor other text is described."""
    assert describe(text) is None


@given(st.text(max_size=12))
def test_any_text_may_be_asked_about(text: str) -> None:
    """Text of a relay never raises, and only a status in its plain form is described."""
    described = describe(text) is not None

    assert not described or re.fullmatch(r"[245]\.\d{1,3}\.\d{1,3}", text, re.ASCII)
