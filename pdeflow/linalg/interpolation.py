"""Interpolation from a coarse grid, as weights on the colours of the fine one.

A fine point that lies between coarse points along the axes of a set S (its even indices) takes a weighted sum
of the 2^|S| coarse points around it.

- ``"linear"``: every weight is 2^-|S|.
- ``"operator"``: the weights let the equation hold as well as they can, so that the interpolated function
  kinks where the coefficient jumps (R. E. Alcouffe, A. Brandt, J. E. Dendy, J. W. Painter, "The multi-grid
  method for the diffusion equation with strongly discontinuous coefficients", SIAM J. Sci. Stat. Comput. 2
  (1981); J. E. Dendy, "Black box multigrid", J. Comput. Phys. 48 (1982)). The stencil is summed over the axes
  outside of S, which leaves a stencil L on S, and its equation is solved for the point::

      u_i = -1/c sum_{o in {-1,0,1}^S, o != 0} L_o u_{i+o}

  where the neighbours are coarse points or have been interpolated before. If S is all axes, c is the
  diagonal. Otherwise c = -sum L_o, so that constants are kept whatever the point loses through the other
  axes; where a neighbour along S is outside of the grid, c is the sum of the diagonal and of what couples
  along the other axes.

  Of an operator that is not Hermitian, its Hermitian part decides the weights, so that the adjoint has the
  same ones. If it is complex, the diagonal h of that part may be small beside its couplings, as of
  ``-Laplace u - k^2 u`` with damping. Then, for S all axes, 1/c is ``h / (h^2 + |s|^2)`` with s the sum of
  its row: that is 1/h where constants are kept, and stays bounded elsewhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping

import torch

from pdeflow.linalg.arena import CONSTANT, Span
from pdeflow.linalg.array_operations import Conjugate, Operation, Products, Reciprocal
from pdeflow.linalg.colour_layout import ColourLayout, Offset

Weights = dict[tuple[Offset, Offset], Span]
"""(colour, how far along the coarse point is) -> the weights of the points of that colour."""


class Interpolation:
    """The weights of one level, and the operations that work them out from its coefficients.

    Parameters
    ----------
    layout
        Of the fine grid.
    coefficients
        Places of the stencil; those that leave a bounded axis are zero.
    inverse_diagonal
        Place of one over the diagonal.
    kind
        ``"linear"`` or ``"operator"``.
    hermitian
        Whether the stencil is Hermitian.
    """

    def __init__(
        self,
        layout: ColourLayout,
        coefficients: Mapping[Offset, Span],
        inverse_diagonal: Span,
        kind: str,
        hermitian: bool,
    ) -> None:
        self._layout, self._coefficients, self._inverse = layout, coefficients, inverse_diagonal
        # A real diagonal is that of the Hermitian part as well.
        self._diagonal_decides = hermitian or not layout.arena.dtype.is_complex
        self.ones = layout.constant(1.0)
        self.weights: Weights = {(layout.coarse, (0,) * layout.dim): self.ones}
        self.operations: list[Operation] = []
        between = sorted((c for c in layout.colours if c != layout.coarse), key=lambda c: -sum(c))
        if kind == "linear":
            for colour in between:
                share = 0.5 ** (layout.dim - sum(colour))
                between_axes = [axis for axis, parity in enumerate(colour) if parity == 0]
                for place in places(colour):
                    sides = [(axis, place[axis]) for axis in between_axes]
                    self.weights[colour, place] = layout.constant(share * (1 - self._outside(sides)))
        else:
            stencil = self._hermitian_part(hermitian)
            for colour in between:
                self._follow_operator(colour, stencil)
        self.adjoint = self._conjugate()

    def _follow_operator(self, colour: Offset, stencil: Callable[[Offset, Offset], list]) -> None:
        layout, n = self._layout, self._layout.n
        between = [axis for axis, parity in enumerate(colour) if parity == 0]
        summed: dict[Offset, list[tuple[Span, Span]]] = {}
        for offset in self._coefficients:
            kept = tuple(o if axis in between else 0 for axis, o in enumerate(offset))
            summed.setdefault(kept, []).extend(stencil(colour, offset))
        centre = (0,) * layout.dim
        lumps: dict[Offset, Span] = {}
        for kept, terms in summed.items():
            lumps[kept] = layout.array(layout.new(1))
            self.operations.append(Products(n, lumps[kept], terms))
        if len(between) == layout.dim and self._diagonal_decides:
            inverse = layout.colour(self._inverse, colour)
        elif len(between) == layout.dim:
            inverse = self._bounded_inverse(lumps[centre], lumps.values())
        else:
            mask = self._outside((axis, side) for axis in between for side in (-1, 0))
            edge, others = layout.constant(mask), layout.constant(mask - 1)
            terms = [(edge, lumps[centre])] + [(others, lumps[o]) for o in lumps if o != centre]
            inverse = layout.array(layout.new(1))
            self.operations += [Products(n, inverse, terms), Reciprocal(n, inverse, inverse)]
        sums: dict[Offset, list[tuple[Span, Span]]] = {}
        for offset, lump in lumps.items():
            if offset == centre:
                continue
            other, along = layout.neighbour(colour, offset)
            for (known, place), weight in list(self.weights.items()):
                if known == other:
                    target = tuple(s + p for s, p in zip(along, place))
                    sums.setdefault(target, []).append((lump, weight.shifted(layout.shift(along))))
        for place, terms in sums.items():
            weight = layout.array(layout.new(1))
            self.weights[colour, place] = weight
            self.operations.append(Products(n, weight, terms, sign=-1, scale=inverse))
            self.operations += layout.ghosts(weight)

    def _bounded_inverse(self, diagonal: Span, row: Iterable[Span]) -> Span:
        """``h / (h^2 + |s|^2)`` for a real diagonal h and the sum s of its row."""
        n, array = self._layout.n, lambda: self._layout.array(self._layout.new(1))
        total, conjugate, inverse = array(), array(), array()
        self.operations += [
            Products(n, total, [(self.ones, entry) for entry in row]),
            Conjugate(n, conjugate, total),
            Products(n, inverse, [(diagonal, diagonal), (total, conjugate)]),
            Reciprocal(n, inverse, inverse),
            Products(n, inverse, [(diagonal, inverse)]),
        ]
        return inverse

    def _hermitian_part(self, hermitian: bool) -> Callable[[Offset, Offset], list[tuple[Span, Span]]]:
        """For a colour and an offset the terms whose sum is the coefficient of (A + A*) / 2."""
        layout, coefficients = self._layout, self._coefficients
        if hermitian:
            return lambda colour, offset: [(self.ones, layout.colour(coefficients[offset], colour))]
        half = layout.constant(0.5)
        # The transposed entry is read at the neighbour, hence from copies with ghosts: the Galerkin product
        # counts on zeros in the ghosts of the coefficients themselves.
        turned = {}
        for offset, place in coefficients.items():
            turned[offset] = layout.new()
            for colour in layout.colours:
                array, values = layout.colour(turned[offset], colour), layout.colour(place, colour)
                if layout.arena.dtype.is_complex:
                    self.operations.append(Conjugate(layout.n, array, values))
                else:
                    self.operations.append(Products(layout.n, array, (), init=values))
                self.operations += layout.ghosts(array)

        def terms(colour: Offset, offset: Offset) -> list[tuple[Span, Span]]:
            made = [(half, layout.colour(coefficients[offset], colour))]
            mirrored = tuple(-o for o in offset)
            if mirrored in turned:
                other, along = layout.neighbour(colour, offset)
                made.append((half, layout.colour(turned[mirrored], other).shifted(layout.shift(along))))
            return made

        return terms

    def _outside(self, sides: Iterable[tuple[int, int]]) -> torch.Tensor:
        """``(*half)``: 1 where a point lacks a neighbour on one of these sides (axis, -1 or 0), else 0."""
        layout = self._layout
        mask = torch.zeros(layout.half, dtype=torch.float64, device="cpu")
        for axis, side in sides:
            if layout.periodic[axis]:
                continue
            if side < 0:
                mask.select(axis, 0).fill_(1)
            elif layout.shape[axis] % 2:
                mask.select(axis, layout.half[axis] - 1).fill_(1)
        return mask

    def _conjugate(self) -> Weights:
        """The weights of the restriction: the conjugates."""
        if not self._layout.arena.dtype.is_complex:
            return self.weights
        conjugate: Weights = {}
        for key, weight in self.weights.items():
            conjugate[key] = weight
            if weight.slot != CONSTANT:
                conjugate[key] = self._layout.array(self._layout.new(1))
                self.operations.append(Conjugate(self._layout.n, conjugate[key], weight))
                self.operations += self._layout.ghosts(conjugate[key])
        return conjugate


def places(colour: Offset) -> list[Offset]:
    """How far along, in the arrays, the coarse points around a point of that colour are."""
    return list(itertools.product(*((0,) if parity else (-1, 0) for parity in colour)))
