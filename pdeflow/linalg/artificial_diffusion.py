"""Artificial diffusion for the coarse operators of convection.

The Galerkin product of a convection-diffusion operator has a cell Peclet number that doubles from level to
level, like a central difference on the coarse grid: relaxation diverges there. The least symmetric operator D
with zero row sums that leaves no off-diagonal entry of the wrong sign is added to it, pair by pair::

    d_ij = max(0, a_ij, a_ji)  where a_ij + a_ji <= 0,    |a_ij - a_ji| / 2  elsewhere
    a_ij -= d_ij;   a_ji -= d_ij;   a_ii += d_ij;   a_jj += d_ij

for an A of positive diagonal, and with the signs turned for a negative one. A symmetric pair needs none,
whatever its sign, so that what is only diffusion or only a wave equation stays as it is; and the D of the
adjoint is the same.

Reference: D. Kuzmin, S. Turek, "High-resolution FEM-TVD schemes based on a fully multidimensional flux
limiter", J. Comput. Phys. 198 (2004), where D is called the discrete upwinding of A.
"""

from __future__ import annotations

from collections.abc import Mapping

from pdeflow.linalg.arena import Span
from pdeflow.linalg.array_operations import Operation, Products, Upwind
from pdeflow.linalg.colour_layout import ColourLayout, Offset


def artificial_diffusion(layout: ColourLayout, coarse: Mapping[Offset, Span]) -> list[Operation]:
    """Add D to the stencil of the coarse grid of a layout, offset -> array, in place."""
    n, centre = layout.n, (0,) * layout.dim
    ones, before = layout.constant(1.0), layout.array(layout.new(1))
    spare = [layout.array(layout.new(1)) for _ in range(2)]
    operations: list[Operation] = [Products(n, before, (), init=coarse[centre]), *layout.ghosts(before)]
    for offset, there in coarse.items():
        opposite = tuple(-o for o in offset)
        if offset <= centre or opposite not in coarse:
            continue
        pair = (offset, there), (opposite, coarse[opposite])
        for _, array in pair:
            operations += layout.ghosts(array)
        for d, (along, a), (_, b) in zip(spare, pair, reversed(pair)):
            shift = layout.shift(along)
            operations.append(Upwind(n, d, a, b.shifted(shift), before, before.shifted(shift)))
        for d, (_, a) in zip(spare, pair):
            operations.append(Products(n, a, [(ones, d)], init=a, sign=-1))
            operations.append(Products(n, coarse[centre], [(ones, d)], init=coarse[centre]))
    return operations
