"""A stencil by colours, and Gauss-Seidel sweeps through them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arena import Arena, Span
from pdeflow.linalg.array_operations import Operation, Products, Reciprocal
from pdeflow.linalg.colour_layout import ColourLayout, Offset, Values
from pdeflow.linalg.stencil import StencilOperator


def check_compact(A: StencilOperator) -> None:
    """Raise InvalidInput unless the stencil can be coloured: offsets within {-1, 0, 1}^d and a centre."""
    wide = [offset for offset in A.offsets if any(abs(step) > 1 for step in offset)]
    if wide:
        raise InvalidInput("offsets", wide, "entries -1, 0 and 1", "Use Jacobi() for wider stencils.")
    if (0,) * len(A.shape) not in A.offsets:
        raise InvalidInput("offsets", A.offsets, "an entry on the diagonal")


class ColouredStencil:
    """The arrays of a stencil, a right-hand side b and an x.

    Parameters
    ----------
    offsets
        Of the stencil, all within {-1, 0, 1}^d, the centre among them.
    shape
        Points along each axis.
    periodic
        Whether each axis wraps around; such an axis has an even number of points.
    arena
        Where all arrays get their places.
    """

    def __init__(
        self, offsets: Iterable[Offset], shape: Sequence[int], periodic: Sequence[bool], arena: Arena
    ) -> None:
        self.layout = layout = ColourLayout(shape, periodic, arena)
        self.offsets = sorted(offsets, key=lambda offset: (any(offset), offset))
        self.coefficients = {offset: layout.new() for offset in self.offsets}
        self.inverse_diagonal, self.b, self.x = (layout.new() for _ in range(3))
        self._plan_couplings()

    def set_up(self, values: Values) -> list[Operation]:
        """Take the coefficients and invert the diagonal."""
        layout = self.layout
        operations: list[Operation] = []
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
        return operations

    def _plan_couplings(self) -> None:
        """For every colour the products ``a x`` with its neighbours of earlier and of later colours."""
        layout = self.layout
        self.earlier: dict[Offset, list[tuple[Span, Span]]] = {}
        self.later: dict[Offset, list[tuple[Span, Span]]] = {}
        for rank, colour in enumerate(layout.colours):
            self.earlier[colour], self.later[colour] = [], []
            for offset in self.offsets[1:]:
                other, along = layout.neighbour(colour, offset)
                y = layout.colour(self.x, other).shifted(layout.shift(along))
                side = self.earlier if layout.colours.index(other) < rank else self.later
                side[colour].append((layout.colour(self.coefficients[offset], colour), y))

    def image(self, colour: Offset) -> list[tuple[Span, Span]]:
        """The products whose sum is ``A x`` at the points of a colour; ghosts of x must be filled."""
        layout = self.layout
        own = layout.colour(self.coefficients[(0,) * layout.dim], colour), layout.colour(self.x, colour)
        return [*self.earlier[colour], *self.later[colour], own]

    def _relax(self, colour: Offset, terms: Sequence[tuple[Span, Span]]) -> list[Operation]:
        layout = self.layout
        x, b, inverse = (layout.colour(t, colour) for t in (self.x, self.b, self.inverse_diagonal))
        relaxed = Products(layout.n, x, terms, init=b, sign=-1, scale=inverse)
        return [relaxed, *layout.ghosts(x)]

    def sweep(self, *, zero_guess: bool = False, reverse: bool = False) -> list[Operation]:
        """One Gauss-Seidel sweep through the colours, ``x += (D + L)^-1 (b - A x)``, or reverse with U."""
        operations: list[Operation] = []
        for colour in reversed(self.layout.colours) if reverse else self.layout.colours:
            later = [] if zero_guess else self.later[colour]
            operations += self._relax(colour, self.earlier[colour] + later)
        return operations
