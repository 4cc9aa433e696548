"""phi functions against their integral, phi_k(z) = int_0^1 e^{(1 - s) z} s^{k-1} / (k - 1)! ds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pdeflow.problems.phi_functions import phi_functions


@pytest.mark.parametrize(
    "z", [0, 1e-9, -1e-3, 0.5, -0.999, -1.0, 1.0, -1.001, 1j, 0.999j, -2 + 3j, 0.7 - 0.7j, -40, 5, 12j]
)
def test_they_are_their_integrals(z: complex) -> None:
    nodes, masses = np.polynomial.legendre.leggauss(80)
    s = (nodes + 1) / 2
    for k, found in enumerate(phi_functions(torch.tensor([z], dtype=torch.complex128)), start=1):
        expected = np.sum(masses / 2 * np.exp((1 - s) * z) * s ** (k - 1)) / math.factorial(k - 1)
        assert found.item() == pytest.approx(complex(expected), rel=3e-14)
