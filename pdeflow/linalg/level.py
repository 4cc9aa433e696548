"""One level of a geometric multigrid hierarchy: its arrays and what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdeflow.linalg.array_program import Arena, Operation, Products, Reciprocal, Span
from pdeflow.linalg.colour_layout import ColourLayout, Offset, Values
from pdeflow.linalg.galerkin import galerkin_product
from pdeflow.linalg.interpolation import Interpolation


class Level:
    """A stencil by colours, with the arrays of one cycle.

    Parameters
    ----------
    offsets
        Of the stencil, all within {-1, 0, 1}^d, the centre among them.
    shape
        Points along each axis; at least 2.
    periodic
        Whether each axis wraps around; such an axis has an even number of points.
    arena
        Where all arrays get their places.
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
        self.layout = layout = ColourLayout(shape, periodic, arena)
        self.offsets = sorted(offsets, key=lambda offset: (any(offset), offset))
        self.coarse_shape = tuple(n // 2 for n in layout.shape)
        self.coefficients = {offset: layout.new() for offset in self.offsets}
        self.inverse_diagonal, self.b, self.x, self.r = (layout.new() for _ in range(4))
        self.restricted, self.correction = (layout.array(layout.new(1)) for _ in range(2))
        self.interpolation = Interpolation(
            layout, self.coefficients, self.inverse_diagonal, interpolation, hermitian
        )
        weights, adjoint = self.interpolation.weights, self.interpolation.adjoint
        self.coarse, self._product = galerkin_product(layout, self.coefficients, weights, adjoint)
        self._plan_couplings()

    def set_up(self, values: Values) -> list[Operation]:
        """Take the coefficients and work out everything that depends on them."""
        layout, operations = self.layout, []
        for offset, (place, strides) in values.items():
            # What leaves a bounded axis is never used, and the sweeps count on the zero that is there.
            box = [
                (max(0, -o), n - max(0, o)) if not wraps else (0, n)
                for o, n, wraps in zip(offset, layout.shape, layout.periodic)
            ]
            operations += layout.rows(self.coefficients[offset], place, strides, box)
        diagonal = self.coefficients[(0,) * layout.dim]
        for colour in layout.colours:
            inverse = layout.colour(self.inverse_diagonal, colour)
            operations.append(Reciprocal(layout.n, inverse, layout.colour(diagonal, colour)))
        return operations + self.interpolation.operations + self._product

    def _plan_couplings(self) -> None:
        """For every colour the products ``a x`` with its neighbours of earlier and of later colours."""
        layout = self.layout
        self._earlier: dict[Offset, list[tuple[Span, Span]]] = {}
        self._later: dict[Offset, list[tuple[Span, Span]]] = {}
        for rank, colour in enumerate(layout.colours):
            self._earlier[colour], self._later[colour] = [], []
            for offset in self.offsets[1:]:
                other, along = layout.neighbour(colour, offset)
                y = layout.colour(self.x, other).shifted(layout.shift(along))
                side = self._earlier if layout.colours.index(other) < rank else self._later
                side[colour].append((layout.colour(self.coefficients[offset], colour), y))
        # After a sweep a colour that is coupled to no later one has no residual.
        self._with_residual = [colour for colour in layout.colours if self._later[colour]]

    def _relax(self, colour: Offset, terms: Sequence[tuple[Span, Span]]) -> list[Operation]:
        layout = self.layout
        x, b, inverse = (layout.colour(t, colour) for t in (self.x, self.b, self.inverse_diagonal))
        relaxed = Products(layout.n, x, terms, init=b, sign=-1, scale=inverse)
        return [relaxed, *layout.ghosts(x)]

    def sweep(self, *, zero_guess: bool = False, reverse: bool = False) -> list[Operation]:
        """One Gauss-Seidel sweep through the colours, ``x += (D + L)^-1 (b - A x)``, or reverse with U."""
        operations: list[Operation] = []
        for colour in reversed(self.layout.colours) if reverse else self.layout.colours:
            later = [] if zero_guess else self._later[colour]
            operations += self._relax(colour, self._earlier[colour] + later)
        return operations

    def restrict(self, *, zero_guess: bool) -> list[Operation]:
        """``restricted = P* (b - A x)`` after a forward sweep, from a zero guess or another."""
        layout, operations = self.layout, []
        for colour in self._with_residual:
            r = layout.colour(self.r, colour)
            if zero_guess:
                # The sweep has made up for the earlier colours and the colour itself.
                operations.append(Products(layout.n, r, self._later[colour], sign=-1))
            else:
                own = layout.colour(self.coefficients[(0,) * layout.dim], colour)
                terms = [*self._earlier[colour], *self._later[colour], (own, layout.colour(self.x, colour))]
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
