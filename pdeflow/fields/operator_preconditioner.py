r"""Factors for plane waves that precondition training from a statement, from the symbol of its operator.

Near its end gradient descent on a statement is a linear iteration with the matrix :math:`A_{ij} = \langle D
\phi_i, D \phi_j \rangle_\Omega + \lambda \langle \phi_i, \phi_j \rangle_{\partial\Omega}` of the slopes
:math:`\phi_i = \partial u / \partial \theta_i`. On plane waves the Hermitian square :math:`D^* D` is the
squared modulus of the symbol of D: divided by the modulus, they are as orthogonal as before and of one size.

T. De Ryck, F. Bonnet, S. Mishra, E. de Bezenac, "An operator preconditioning perspective on training in
physics-informed machine learning", ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import sympy

from pdeflow.errors import InvalidInput
from pdeflow.problems import symbolic
from pdeflow.problems.calculus import Names
from pdeflow.problems.space_filling import space_filling

if TYPE_CHECKING:
    from pdeflow.problems import Problem

VANISHED = 1e-10
"""A symbol this small beside the sizes of its own terms, which cancel, is 0."""

RESONANT = 20.0
"""The factor of waves whose symbol is 0, where the largest other one is 1; the paper's."""

AVERAGED = 256
"""Points over which the square of a symbol that depends on the place is averaged."""


def symbol_preconditioner(
    problem: Problem, wave_vectors: Sequence[Sequence[float]], parameters: Mapping[str, Any]
) -> list[float]:
    r"""For each wave :math:`p \sim 1 / |\sigma(\omega)|`, with the symbol sigma of the linear part.

    That is 1 / k^2 for Poisson's equation, :math:`1 / |\omega_t + \beta \omega_x|` for convection, and
    :math:`1 / |\omega^2 - k^2|` for that of Helmholtz, each over the largest of them. The constant, whose
    mean square is twice that of another wave, is divided by the root of 2 too. Waves with :math:`\sigma = 0`
    are seen by the conditions alone; their factor is `RESONANT`. Where the symbol depends on the place, the
    root of the mean of its square is taken.

    Parameters
    ----------
    problem
        Of one unknown.
    wave_vectors
        Each omega, in the order of the coordinates.
    parameters
        All of the problem's by name: numbers, or formulas of ``at``.

    Raises
    ------
    InvalidInput
        If there are several unknowns, the symbol is 0 for all of the waves, not finite for one of them, or no
        formula of coordinates.
    """
    key, at = f"symbol of {problem.name}", symbolic.coordinates(problem)
    if len(problem.fields) > 1:
        got, hint = f"a matrix, for {', '.join(problem.fields)}", "Leave out objective.precondition."
        raise InvalidInput(key, got, "a number a wave, of one unknown", hint)
    here = Names("coordinate", at)
    values = {
        sympy.Symbol(name, real=True): sympy.sympify(value(here) if callable(value) else value)
        for name, value in parameters.items()
    }
    symbol: Any = sympy.sympify(symbolic.symbol(problem)).xreplace(values)
    waves = [sympy.Symbol(f"k_{axis}", real=True) for axis in at]
    if strange := symbol.free_symbols - {*waves, *at.values()}:
        got, expected = ", ".join(sorted(map(str, strange))), "a formula of wave numbers and coordinates"
        raise InvalidInput(key, got, expected)
    terms = sympy.Add.make_args(sympy.expand(symbol))
    evaluate = sympy.lambdify([*waves, *at.values()], [symbol, *terms], modules=["scipy", "numpy"])
    vectors = np.asarray(wave_vectors, dtype=np.float64)
    places = problem.domain.inside(AVERAGED, _centres)
    with np.errstate(all="ignore"):  # what is not finite is told of below
        found = evaluate(*vectors.T[:, :, None], *places.T[:, None, :])
    whole, *parts = (np.broadcast_to(np.abs(one), (len(vectors), len(places))) for one in found)
    # The mean square of a constant is twice that of any other wave.
    sizes = np.sqrt((whole**2).mean(axis=1) * np.where(vectors.any(axis=1), 1.0, 2.0))
    if not np.isfinite(sizes).all():
        expected = "numbers for all of the waves"
        raise InvalidInput(key, str(symbol), expected, "Leave out objective.precondition.")
    # Of a wave's own terms: the smallest wave of a fourth derivative is far below the largest, and not 0.
    resonant = sizes <= VANISHED * np.sqrt((np.sum(parts, axis=0) ** 2).mean(axis=1))
    if resonant.all():
        raise InvalidInput(key, "0 for all of the waves", "an equation with a linear part")
    return np.where(resonant, RESONANT, sizes[~resonant].min() / np.where(resonant, 1.0, sizes)).tolist()


def _centres(n: int, dim: int) -> np.ndarray:
    return space_filling("grid", n, dim, np.random.SeedSequence(0))
