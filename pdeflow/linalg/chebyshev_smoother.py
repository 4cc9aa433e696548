"""A Chebyshev smoother on a coloured stencil, as array operations."""

from __future__ import annotations

import math

from pdeflow.linalg.array_operations import Magnitudes, Operation, Products, Reciprocal
from pdeflow.linalg.coloured_stencil import ColouredStencil

STEPS = 2  # one costs iterations, three save too few of them
RATIO = 4.0  # of the ends of the interval that is damped, whose upper end is 1


class ChebyshevSmoother:
    """``x += q(S A) S (b - A x)`` such that ``1 - q(t) t`` is the least polynomial on ``[1/RATIO, 1]``.

    With theta the middle and delta the half length of the interval it is
    ``T((theta - t) / delta) / T(theta / delta)`` for the Chebyshev polynomial T of degree ``STEPS``. It is
    applied as a product: for every zero t of it one step ``x += 1/t S (b - A x)``, which needs no inner
    product, no vector for the direction, and no order of the points.

    S is the inverse of the diagonal, divided row by row by ``sum_j |a_ij| / |a_ii|``, so that by Gershgorin's
    theorem the eigenvalues of S A are within (0, 1] for a Hermitian positive definite A, whatever the rows.
    Then the smoother converges and is Hermitian. For another A the sum is the mean of those of the row and of
    the column, so that the smoother of the adjoint is the adjoint smoother. Each step is one product with A,
    where a Gauss-Seidel sweep is one in all, or half of one from a zero guess.

    References: M. Adams, M. Brezina, J. Hu, R. Tuminaro, "Parallel multigrid smoothing: polynomial versus
    Gauss-Seidel", J. Comput. Phys. 188 (2003); A. H. Baker, R. D. Falgout, T. V. Kolev, U. M. Yang,
    "Multigrid smoothers for ultraparallel computing", SIAM J. Sci. Comput. 33 (2011), for S.

    Parameters
    ----------
    stencil
        The arrays to work on; the smoother takes places in the same arena.
    hermitian
        Whether the stencil is Hermitian.
    """

    def __init__(self, stencil: ColouredStencil, hermitian: bool) -> None:
        self._stencil, self._hermitian = stencil, hermitian
        layout = stencil.layout
        theta, delta = (1 + 1 / RATIO) / 2, (1 - 1 / RATIO) / 2
        zeros = [theta - delta * math.cos(math.pi * (k + 0.5) / STEPS) for k in range(STEPS)]
        # The sums of rows and columns together are twice their mean.
        self._weights = [layout.constant((1 if hermitian else 2) / zero) for zero in zeros]
        self._scales = [layout.new() for _ in zeros]
        self._sums, self._residual = layout.new(), layout.new()

    def set_up(self) -> list[Operation]:
        """Work out S, times the weight of each step, from the coefficients and the inverse diagonal."""
        stencil, layout = self._stencil, self._stencil.layout
        n = layout.n
        operations: list[Operation] = []
        for colour in layout.colours:
            row = [layout.colour(values, colour) for values in stencil.coefficients.values()]
            operations.append(Magnitudes(n, layout.colour(self._sums, colour), row))
        if not self._hermitian:
            # An entry adds to the column of the point that it couples to, which may be a ghost.
            for colour in layout.colours:
                for offset, values in stencil.coefficients.items():
                    other, along = layout.neighbour(colour, offset)
                    column = layout.colour(self._sums, other).shifted(layout.shift(along))
                    operations.append(Magnitudes(n, column, [layout.colour(values, colour)], add=True))
            for colour in layout.colours:
                operations += layout.ghosts(layout.colour(self._sums, colour), fold=True)
        diagonal = stencil.coefficients[(0,) * layout.dim]
        for colour in layout.colours:
            inverse = layout.colour(stencil.inverse_diagonal, colour)
            share, own = layout.colour(self._sums, colour), layout.colour(self._residual, colour)
            operations.append(Reciprocal(n, share, share))
            operations.append(Magnitudes(n, own, [layout.colour(diagonal, colour)]))
            operations.append(Products(n, share, [(share, own)], scale=inverse))
            for scales, weight in zip(self._scales, self._weights):
                operations.append(Products(n, layout.colour(scales, colour), [(weight, share)]))
        return operations

    def sweep(self, *, zero_guess: bool = False) -> list[Operation]:
        """All steps, from a zero guess or from the x in place, whose ghosts must be filled."""
        stencil, layout = self._stencil, self._stencil.layout
        n, colours = layout.n, layout.colours
        operations: list[Operation] = []
        for k, scales in enumerate(self._scales):
            first = zero_guess and k == 0
            residual = stencil.b if first else self._residual
            if not first:
                for colour in colours:
                    r, b = layout.colour(residual, colour), layout.colour(stencil.b, colour)
                    operations.append(Products(n, r, stencil.image(colour), init=b, sign=-1))
            for colour in colours:
                x, r, scale = (layout.colour(place, colour) for place in (stencil.x, residual, scales))
                operations.append(Products(n, x, [(scale, r)], init=None if first else x))
                operations += layout.ghosts(x)
        return operations
