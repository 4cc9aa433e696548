"""One level of a geometric multigrid hierarchy: its arrays and what is done with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pdeflow.linalg.arena import Arena, Span
from pdeflow.linalg.array_operations import Operation, Products
from pdeflow.linalg.chebyshev_smoother import ChebyshevSmoother
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
    smoother
        ``"gauss_seidel"`` or ``"chebyshev"``.
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
        smoother: str,
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
        self._chebyshev = ChebyshevSmoother(self, hermitian) if smoother == "chebyshev" else None
        # After a Gauss-Seidel sweep a colour that is coupled to no later one has no residual.
        self._with_residual = [colour for colour in layout.colours if self.later[colour] or self._chebyshev]

    def set_up(self, values: Values) -> list[Operation]:
        """Take the coefficients and work out everything that depends on them."""
        operations = [*super().set_up(values), *self.interpolation.operations, *self._product]
        return operations if self._chebyshev is None else [*operations, *self._chebyshev.set_up()]

    def smooth(self, *, zero_guess: bool = False, reverse: bool = False) -> list[Operation]:
        """One application of the smoother; ``reverse`` is its adjoint."""
        if self._chebyshev is None:
            return self.sweep(zero_guess=zero_guess, reverse=reverse)
        return self._chebyshev.sweep(zero_guess=zero_guess)

    def restrict(self, *, zero_guess: bool) -> list[Operation]:
        """``restricted = P* (b - A x)`` after the smoother, from a zero guess or another."""
        layout, operations = self.layout, []
        for colour in self._with_residual:
            r = layout.colour(self.r, colour)
            if zero_guess and self._chebyshev is None:
                # The sweep has made up for the earlier colours and the colour itself.
                operations.append(Products(layout.n, r, self.later[colour], sign=-1))
            else:
                b = layout.colour(self.b, colour)
                operations.append(Products(layout.n, r, self.image(colour), init=b, sign=-1))
            operations += layout.ghosts(r)
        return [*operations, self._to_coarse(self._with_residual)]

    def restrict_right_hand_side(self) -> list[Operation]:
        """``restricted = P* b``."""
        layout, operations = self.layout, []
        for colour in layout.colours:
            r = layout.colour(self.r, colour)
            operations.append(Products(layout.n, r, (), init=layout.colour(self.b, colour)))
            operations += layout.ghosts(r)
        return [*operations, self._to_coarse(layout.colours)]

    def _to_coarse(self, colours: Sequence[Offset]) -> Operation:
        """``restricted = P* r`` for an r that is zero but for these colours, with ghosts filled."""
        layout, terms = self.layout, []
        for (colour, place), weight in self.interpolation.adjoint.items():
            if colour in colours and colour != layout.coarse:
                back = layout.shift(tuple(-p for p in place))
                terms.append((weight.shifted(back), layout.colour(self.r, colour).shifted(back)))
        own = layout.colour(self.r, layout.coarse) if layout.coarse in colours else None
        return Products(layout.n, self.restricted, terms, init=own)

    def prolong(self) -> list[Operation]:
        """``x += P correction``, where the smoother that follows looks at it."""
        layout = self.layout
        operations: list[Operation] = [*layout.ghosts(self.correction)]
        seen: set[int] = set()
        for colour in reversed(layout.colours):
            x = layout.colour(self.x, colour)
            if x.start in seen or self._chebyshev is not None:
                operations.append(Products(layout.n, x, self._from_coarse(colour), init=x))
                operations += layout.ghosts(x)
            for offset in self.offsets[1:]:
                other, _ = layout.neighbour(colour, offset)
                seen.add(layout.colour(self.x, other).start)
        return operations

    def interpolate(self) -> list[Operation]:
        """``x = P correction``."""
        layout = self.layout
        operations: list[Operation] = [*layout.ghosts(self.correction)]
        for colour in layout.colours:
            x = layout.colour(self.x, colour)
            operations += [Products(layout.n, x, self._from_coarse(colour)), *layout.ghosts(x)]
        return operations

    def _from_coarse(self, colour: Offset) -> list[tuple[Span, Span]]:
        """The products whose sum is ``P correction`` at the points of a colour."""
        layout = self.layout
        return [
            (weight, self.correction.shifted(layout.shift(place)))
            for (known, place), weight in self.interpolation.weights.items()
            if known == colour
        ]
