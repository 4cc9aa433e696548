"""One level of a geometric multigrid hierarchy: its arrays and what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdeflow.linalg.arena import Arena
from pdeflow.linalg.array_operations import Operation, Products
from pdeflow.linalg.colour_layout import Offset, Values
from pdeflow.linalg.coloured_stencil import ColouredStencil
from pdeflow.linalg.galerkin import galerkin_product
from pdeflow.linalg.interpolation import Interpolation


class Level(ColouredStencil):
    """A stencil with what leads to the coarse grid and back.

    Parameters
    ----------
    offsets, shape, periodic, arena
        As for :class:`ColouredStencil`, with at least 2 points along each axis.
    interpolation
        ``"operator"`` or ``"linear"``.
    hermitian
        Whether the stencil is Hermitian.

    Attributes
    ----------
    coarse
        The stencil of the coarse grid, offset -> array; worked out by the operations of :meth:`set_up`.
    coarse_shape
        Its points along each axis.
    """

    def __init__(
        self,
        offsets: Iterable[Offset],
        shape: Sequence[int],
        periodic: Sequence[bool],
        arena: Arena,
        interpolation: str,
        hermitian: bool,
    ) -> None:
        super().__init__(offsets, shape, periodic, arena)
        layout = self.layout
        self.coarse_shape = tuple(n // 2 for n in layout.shape)
        self.r = layout.new()
        self.restricted, self.correction = (layout.array(layout.new(1)) for _ in range(2))
        self.interpolation = Interpolation(
            layout, self.coefficients, self.inverse_diagonal, interpolation, hermitian
        )
        weights, adjoint = self.interpolation.weights, self.interpolation.adjoint
        self.coarse, self._product = galerkin_product(layout, self.coefficients, weights, adjoint)
        # After a sweep a colour that is coupled to no later one has no residual.
        self._with_residual = [colour for colour in layout.colours if self.later[colour]]

    def set_up(self, values: Values) -> list[Operation]:
        """Take the coefficients and work out everything that depends on them."""
        return [*super().set_up(values), *self.interpolation.operations, *self._product]

    def restrict(self, *, zero_guess: bool) -> list[Operation]:
        """``restricted = P* (b - A x)`` after a forward sweep, from a zero guess or another."""
        layout, operations = self.layout, []
        for colour in self._with_residual:
            r = layout.colour(self.r, colour)
            if zero_guess:
                # The sweep has made up for the earlier colours and the colour itself.
                operations.append(Products(layout.n, r, self.later[colour], sign=-1))
            else:
                own = layout.colour(self.coefficients[(0,) * layout.dim], colour)
                terms = [*self.earlier[colour], *self.later[colour], (own, layout.colour(self.x, colour))]
                b = layout.colour(self.b, colour)
                operations.append(Products(layout.n, r, terms, init=b, sign=-1))
            operations += layout.ghosts(r)
        terms = []
        for (colour, place), weight in self.interpolation.adjoint.items():
            if colour in self._with_residual and colour != layout.coarse:
                back = layout.shift(tuple(-p for p in place))
                terms.append((weight.shifted(back), layout.colour(self.r, colour).shifted(back)))
        own = layout.colour(self.r, layout.coarse) if layout.coarse in self._with_residual else None
        operations.append(Products(layout.n, self.restricted, terms, init=own))
        return operations

    def prolong(self) -> list[Operation]:
        """``x += P correction``, where the reverse sweep that follows looks at it."""
        layout = self.layout
        operations: list[Operation] = [*layout.ghosts(self.correction)]
        seen: set[int] = set()
        for colour in reversed(layout.colours):
            x = layout.colour(self.x, colour)
            if x.start in seen:
                terms = [
                    (weight, self.correction.shifted(layout.shift(place)))
                    for (known, place), weight in self.interpolation.weights.items()
                    if known == colour
                ]
                operations.append(Products(layout.n, x, terms, init=x))
                operations += layout.ghosts(x)
            for offset in self.offsets[1:]:
                other, _ = layout.neighbour(colour, offset)
                seen.add(layout.colour(self.x, other).start)
        return operations
