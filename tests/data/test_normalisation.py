"""Normalisation equals NumPy's mean and deviation, however the samples are cut, and never divides by zero."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pdeflow.data import Normalisation
from pdeflow.errors import InvalidInput


def fitted(values, wanted, cuts):
    parts = zip(np.split(values, cuts), np.split(wanted, cuts))
    return Normalisation.fit(["a", "b"], ["u"], parts)


@pytest.mark.parametrize("cuts", [[], [1], [3, 5, 11]])
def test_fit_is_mean_and_deviation_over_all(cuts):
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (12, 2, 5, 7)).astype("f4")
    # A large offset: sums of squares in float32 would lose every digit of the deviation.
    wanted = (1e4 + rng.normal(0, 0.1, (12, 1, 5, 7))).astype("f4")
    norm = fitted(values, wanted, cuts)
    double = values.astype("f8"), wanted.astype("f8")
    np.testing.assert_allclose(norm.input_mean, double[0].mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(norm.input_std, double[0].std((0, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(norm.target_mean, double[1].mean(), rtol=1e-12)
    np.testing.assert_allclose(norm.target_std, double[1].std(), rtol=1e-8)


def test_a_channel_without_variance_is_only_shifted():
    values = np.full((4, 2, 3), 0.1, "f4")
    values[:, 1] = 0.0
    norm = fitted(values, np.arange(12.0).reshape(4, 1, 3), [2])
    assert norm.input_std == (1.0, 1.0)
    np.testing.assert_allclose(norm.input_mean, (0.1, 0.0), rtol=1e-7)


def test_it_survives_json():
    norm = Normalisation(("a",), ("u",), (1 / 3,), (2 / 7,), (-1e-9,), (1e9,))
    assert Normalisation.from_dict(json.loads(json.dumps(norm.to_dict()))) == norm


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_std": [0.0]}, "positive"),
        ({"target_mean": [float("nan")]}, "finite"),
        ({"input_mean": [1.0, 2.0]}, "one number for each"),
        ({"input_men": [1.0]}, "Nearest: input_mean"),
    ],
)
def test_wrong_contents_are_named(change, message):
    norm = Normalisation(("a",), ("u",), (0.0,), (1.0,), (0.0,), (1.0,))
    with pytest.raises(InvalidInput, match=message):
        Normalisation.from_dict({**norm.to_dict(), **change})


def test_a_missing_key_is_named():
    with pytest.raises(InvalidInput, match="input_std"):
        Normalisation.from_dict({"input_names": ["a"]})
