"""No sample in two sets, none lost, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdeflow.data import split_samples
from pdeflow.errors import InvalidInput


@given(n=st.integers(3, 500), parts=st.tuples(*[st.integers(1, 20)] * 3), seed=st.integers(0, 2**32))
def test_every_sample_is_in_exactly_one_set(n, parts, seed):
    fractions = [part / sum(parts) for part in parts]
    if min(fractions) * n < 1:
        return
    split = split_samples(n, fractions, seed)
    together = np.concatenate([split.train, split.valid, split.test])
    np.testing.assert_array_equal(np.sort(together), np.arange(n))
    for part, share in zip((split.train, split.valid, split.test), fractions):
        assert abs(len(part) - share * n) <= 1
    again = split_samples(n, fractions, seed)
    np.testing.assert_array_equal(split.test, again.test)


def test_sizes_do_not_depend_on_round_off():
    for n in (10, 100, 1000, 12345):
        for fractions in ((0.8, 0.1, 0.1), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)):
            split = split_samples(n, fractions, 0)
            assert len(split.train) + len(split.valid) + len(split.test) == n
    assert [len(p) for p in vars(split_samples(10, (0.7, 0.2, 0.1), 0)).values()] == [7, 2, 1]
    assert [len(p) for p in vars(split_samples(1000, (0.9, 0.1, 0), 0)).values()] == [900, 100, 0]


def test_the_seed_decides():
    one, other = split_samples(50, (0.8, 0.1, 0.1), 0), split_samples(50, (0.8, 0.1, 0.1), 1)
    assert not np.array_equal(one.train, other.train)


@pytest.mark.parametrize(
    ("n", "fractions", "message"),
    [
        (10, (0.8, 0.1), "three shares"),
        (10, (1.2, -0.1, -0.1), "none negative"),
        (10, (0.8, 0.1, 0.2), "add up to 1"),
        (10, (float("nan"), 0.5, 0.5), "three shares"),
        (5, (0.9, 0.05, 0.05), "at least one sample for 'valid'"),
    ],
)
def test_impossible_splits_are_named(n, fractions, message):
    with pytest.raises(InvalidInput, match=message):
        split_samples(n, fractions, 0)
