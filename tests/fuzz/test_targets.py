"""Every target on arbitrary octets, on every run: new ones each time, and some known ones."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import SEEDS, mutations
from tests.fuzz.targets import TARGETS

FIXED_SEED = 20_261_123
MUTATIONS = 100


def test_every_target_has_seeds() -> None:
    """No fuzzer begins with nothing."""
    assert SEEDS.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=40)
@given(data=st.data())
def test_any_octets(name: str, data: st.DataObject) -> None:
    """Whatever comes from outside stays data: parsed, made harmless or refused, and no more."""
    known = st.sampled_from(SEEDS[name])
    octets = data.draw(
        st.binary(max_size=400) | st.builds(lambda a, b, c: a + b + c, known, st.binary(), known)
    )
    TARGETS[name](octets)


@pytest.mark.parametrize("name", TARGETS)
def test_known_octets_with_faults(name: str) -> None:
    """What is nearly right is where parsers err: the same hundred such inputs each time."""
    for octets in itertools.islice(mutations(name, random.Random(FIXED_SEED)), MUTATIONS):
        TARGETS[name](octets)


def test_one_number_decides_what_is_tried() -> None:
    """A failure can be had again from its seed."""
    first, second = (
        list(itertools.islice(mutations("content", random.Random(7)), 50)) for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 25
