r"""One implicit step of degenerate diffusion, :math:`u_t = K(u)_{xx}`, on cell averages.

K is the Kirchhoff transform of the diffusivity, K' = k >= 0: differences of K are the exact mean of k times
differences of u, so that nothing has to be averaged to a face, fronts do not lock where k vanishes, and a
jump of k (Stefan's problem) makes no oscillations; for Stefan's problem this is the enthalpy method (A. B.
Crowley, Int. J. Heat Mass Transfer 21, 1978). Backward Euler is monotone with steps of any length.

Newton's method converges from any start where K is convex, the linearised K(u) growing with every iteration
(L. Brugnano, V. Casulli, "Iterative solution of piecewise linear systems", SIAM J. Sci. Comput. 30, 2008, for
k that jumps): the Jacobians are M-matrices, diagonally dominant by columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.linalg import solve_tridiagonal
from pdeflow.problems.muscl import Pointwise, extended, value_and_slope

MOST_ITERATIONS = 60
"""Of Newton's method, after which a step counts as not solved."""

LOOK = 2
"""Iterations between two looks at whether all samples have converged."""


def newton_step(
    potential: Pointwise, u: Tensor, guess: Tensor, left: Tensor, right: Tensor, ratio: Tensor, periodic: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Residual, correction and face differences of K for a guess at the new cell averages.

    Returns
    -------
    residual, correction
        (n, cells).
    differences
        (n, cells + 1), of K over the faces: minus the flux times the width of a cell.
    """
    value, slope = value_and_slope(potential, extended(guess, left, right, periodic))
    weight = torch.ones_like(value[:, 1:])
    if not periodic:
        weight[:, 0] = weight[:, -1] = 2.0  # a boundary value is half a cell away
    differences = weight * value.diff(dim=1)
    residual = guess - u - ratio * differences.diff(dim=1)
    weight = ratio * weight
    diagonal = 1 + (weight[:, 1:] + weight[:, :-1]) * slope[:, 1:-1]
    lower, upper = -weight[:, :-1] * slope[:, :-2], -weight[:, 1:] * slope[:, 2:]
    return residual, solve_tridiagonal(lower, diagonal, upper, -residual, periodic=periodic), differences


def backward_euler(
    potential: Pointwise,
    u: Tensor,
    left: Tensor,
    right: Tensor,
    ratio: Tensor,
    *,
    periodic: bool = False,
    rtol: float = 1e-12,
) -> tuple[Tensor, Tensor, Tensor]:
    """The cell averages after a step, the differences of K that moved them, and whether it was solved.

    The averages are ``u + ratio (differences of the differences)`` exactly, so that no mass is lost however
    far Newton's method went.

    Parameters
    ----------
    potential
        K, convex; extended to where u must not be.
    u
        (n, cells), float64.
    left, right
        (n, 1), boundary values at the end of the step.
    ratio
        (n, 1), the length of the step over the square of a cell's width.
    periodic
        Whether the first cell and the last are neighbours.
    rtol
        Largest residual of a cell, relative to the largest of the averages and boundary values.

    Returns
    -------
    averages
        (n, cells).
    differences
        (n, cells + 1), as of :func:`newton_step`.
    solved
        (n, 1), bool.
    """
    edge = torch.zeros_like(left) if periodic else torch.maximum(left.abs(), right.abs())
    size = torch.maximum(u.abs().amax(dim=1, keepdim=True), edge)
    # Rounding of K is multiplied by the length of the step.
    enough = rtol * size + 16 * torch.finfo(u.dtype).eps * ratio * potential(size).abs()
    guess, iteration = u, 0
    while True:
        residual, correction, differences = newton_step(potential, u, guess, left, right, ratio, periodic)
        left_over = residual.abs().amax(dim=1, keepdim=True)
        solved = left_over <= enough
        if iteration >= MOST_ITERATIONS:
            break
        if iteration % LOOK == 0 and bool((solved | ~torch.isfinite(left_over)).all()):
            break
        guess = torch.where(solved, guess, guess + correction)
        iteration += 1
    return u + ratio * differences.diff(dim=1), differences, solved
