"""A field that meets conditions by its form: what they prescribe, plus a distance times a network.

I. E. Lagaris, A. Likas, D. I. Fotiadis, "Artificial neural networks for solving ordinary and partial
differential equations", IEEE Trans. Neural Netw. 9 (1998).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields.bounds import bounded
from pdeflow.fields.expression_text import expression_text, read_expression
from pdeflow.fields.field import Field, product_points
from pdeflow.problems.compiled_statement import CompiledStatement, MultiIndex
from pdeflow.problems.symbolic import coordinate

NUMBER = "number "
"""Before the names of `HardConditions.numbers` among gradients; no parameter of a network is called so."""


class HardConditions(Field):
    """``lift + distance * network``, component by component, or where one has bounds a map of it within them.

    Parameters
    ----------
    network
        The field that is trained.
    lift, distance
        For each component an expression of the coordinates: one that meets the conditions, and one that
        vanishes where they hold, to the order that they need. Of a component with bounds they are of what
        :mod:`~pdeflow.fields.bounds` maps.
    coordinates
        The symbols, in the order of the columns of points.
    numbers
        Where the expressions have other symbols in them, what gives their values by name, as they are when
        the field is evaluated: numbers that are learned elsewhere, and are no parameters of the field.
    bounds
        For each component between which numbers it stays, infinite for none; no component has any if empty.

    Raises
    ------
    InvalidInput
        If there are not as many expressions or bounds as components, or symbols as coordinates, if there are
        other symbols without numbers, or no number is between two bounds.
    """

    def __init__(
        self,
        network: Field,
        lift: Sequence[sympy.Expr],
        distance: Sequence[sympy.Expr],
        coordinates: Mapping[str, sympy.Symbol],
        bounds: Sequence[tuple[float, float]] = (),
        *,
        numbers: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        super().__init__(
            network.settings,
            lower=network.lower,
            upper=network.upper,
            periodic=network.periodic,
            components=network.out_channels,
        )
        self.bounds = tuple(bounds) or ((-math.inf, math.inf),) * self.out_channels
        for name, given, count in (
            ("lift", lift, self.out_channels),
            ("distance", distance, self.out_channels),
            ("bounds", self.bounds, self.out_channels),
            ("coordinates", coordinates, self.dim),
        ):
            if len(given) != count:
                raise InvalidInput(f"HardConditions.{name}", f"{len(given)} of them", str(count))
        for low, high in self.bounds:
            if not low < high:
                raise InvalidInput("HardConditions.bounds", (low, high), "a lower one and a higher upper one")
        self.network = network
        self.coordinates = dict(coordinates)
        self.lift, self.distance = tuple(lift), tuple(distance)
        axes = list(coordinates.values())
        self._unknowns = [sympy.Function(f"N{k}")(*axes) for k in range(self.out_channels)]
        self._expressions = [
            bounded(a + b * u, *between)
            for a, b, u, between in zip(lift, distance, self._unknowns, self.bounds)
        ]
        free: set[Any] = set().union(*(e.free_symbols for e in (*self.lift, *self.distance)))
        self._symbols = {s.name: s for s in sorted(free - set(axes), key=str)}
        if self._symbols and numbers is None:
            expected = f"formulas of {', '.join(coordinates)}"
            raise InvalidInput("HardConditions.lift", f"one of {', '.join(self._symbols)} too", expected)
        self._numbers = numbers if self._symbols else None
        self._compiled: dict[tuple[MultiIndex, ...], CompiledStatement] = {}

    @property
    def linear_parameters(self) -> tuple[str, ...]:
        """See :attr:`Field.linear_parameters`: the network's; none where a component has bounds."""
        return () if self._is_bounded else tuple(f"network.{name}" for name in self.network.linear_parameters)

    def numbers(self) -> dict[str, Tensor]:
        """Values of the symbols in lift and distance that are no coordinates, as they are now."""
        if self._numbers is None:
            return {}
        values = self._numbers()
        return {name: values[name] for name in self._symbols}

    @property
    def _is_bounded(self) -> bool:
        return any(math.isfinite(bound) for between in self.bounds for bound in between)

    def formulas(self) -> dict[str, list[Any]]:
        """``coordinates``, ``lift`` and ``distance`` as text, for `from_formulas`; numbers as they are now.

        And ``bounds``, where there are any; one that is infinite is None.

        Raises
        ------
        InvalidInput
            If one of them is made of more than elementary functions; see `expression_text`.
        """
        known: dict[Any, Any] = {
            self._symbols[name]: float(value.detach()) for name, value in self.numbers().items()
        }
        parts = {"lift": self.lift, "distance": self.distance}
        texts = {
            name: [expression_text(sympy.sympify(e.subs(known)), self.coordinates) for e in part]
            for name, part in parts.items()
        }
        bounds = [[bound if math.isfinite(bound) else None for bound in between] for between in self.bounds]
        kept: dict[str, list[Any]] = {"bounds": bounds} if self._is_bounded else {}
        return {"coordinates": list(self.coordinates), **texts, **kept}

    @classmethod
    def from_formulas(
        cls,
        network: Field,
        coordinates: Sequence[str],
        lift: Sequence[str],
        distance: Sequence[str],
        bounds: Sequence[Sequence[float | None]] = (),
    ) -> HardConditions:
        """The field whose `formulas` these are; nothing in them is evaluated.

        Raises
        ------
        UnsafeFile
            If one is no formula of the coordinates.
        InvalidInput
            If there are not as many as the network has unknowns or coordinates, or bounds are no two numbers.
        """
        for name in coordinates:
            if not isinstance(name, str) or not name.isidentifier():
                raise InvalidInput("HardConditions.coordinates", name, "the name of a coordinate")
        at = {name: coordinate(name) for name in coordinates}
        read_lift, read_distance = ([read_expression(text, at) for text in part] for part in (lift, distance))
        return cls(network, read_lift, read_distance, at, [_read_bounds(between) for between in bounds])

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`; the product rule is SymPy's."""
        statement = self._statement(wanted)
        return self._met(points, wanted, self.network.derivatives(points, statement.wanted))

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives_on_product`: what the network knows of products is used."""
        inner = self.network.derivatives_on_product(axes, self._statement(wanted).wanted)
        return self._met(product_points(axes), wanted, inner)

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: the network's, with cotangents by the product rule.

        By `numbers` too, (N,) each, under their names after `NUMBER`.
        """
        with torch.no_grad():
            inner = self.network.derivatives(points, self._statement(tuple(cotangents)).wanted)
        within, by_number = self._cotangents(points, cotangents, inner)
        found = self.network.pointwise_gradients(points, within)
        return {**{f"network.{name}": value for name, value in found.items()}, **by_number}

    def pointwise_gradients_on_product(
        self, axes: Sequence[Tensor], cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients_on_product`."""
        with torch.no_grad():
            inner = self.network.derivatives_on_product(axes, self._statement(tuple(cotangents)).wanted)
        within, by_number = self._cotangents(product_points(axes), cotangents, inner)
        found = self.network.pointwise_gradients_on_product(axes, within)
        return {**{f"network.{name}": value for name, value in found.items()}, **by_number}

    def _met(
        self, points: Tensor, wanted: Sequence[MultiIndex], inner: Mapping[MultiIndex, Tensor]
    ) -> dict[MultiIndex, Tensor]:
        """Derivatives at points, from those of the network there."""
        indices = tuple(dict.fromkeys(wanted))
        values = self._statement(indices)(points, inner, self.numbers())
        return dict(zip(indices, torch.split(values, self.out_channels, dim=1)))

    def _cotangents(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor], inner: Mapping[MultiIndex, Tensor]
    ) -> tuple[dict[MultiIndex, Tensor], dict[str, Tensor]]:
        """Cotangents of the network's derivatives, from those of one's own; and gradients by the numbers."""
        with torch.enable_grad():
            leaves = {index: value.detach().requires_grad_() for index, value in inner.items()}
            numbers = {
                NUMBER + name: value.detach().expand(len(points)).requires_grad_()
                for name, value in self.numbers().items()
            }
            known = {name.removeprefix(NUMBER): number for name, number in numbers.items()}
            values = self._statement(tuple(cotangents))(points, leaves, known)
            slopes = torch.autograd.grad(
                values,
                [*leaves.values(), *numbers.values()],
                torch.cat(list(cotangents.values()), dim=1),
                allow_unused=True,
                materialize_grads=True,
            )
        return dict(zip(leaves, slopes)), dict(zip(numbers, slopes[len(leaves) :]))

    def _statement(self, wanted: Sequence[MultiIndex]) -> CompiledStatement:
        indices = tuple(dict.fromkeys(wanted))
        if indices not in self._compiled:
            self._compiled[indices] = self._compile(indices)
        return self._compiled[indices]

    def _compile(self, indices: Sequence[MultiIndex]) -> CompiledStatement:
        axes = list(self.coordinates.values())
        expressions = []
        for index in indices:
            counts = [(axis, order) for axis, order in zip(axes, index) if order]
            expressions += [e.diff(*counts) if counts else e for e in self._expressions]
        return CompiledStatement(expressions, self._unknowns, self.coordinates, self._symbols)


def _read_bounds(between: Any) -> tuple[float, float]:
    """Two bounds as `HardConditions.formulas` has them."""
    numbers = isinstance(between, Sequence) and all(b is None or isinstance(b, (int, float)) for b in between)
    if not numbers or len(between) != 2:
        raise InvalidInput("HardConditions.bounds", between, "two numbers, or None for no bound")
    low, high = between
    return (-math.inf if low is None else float(low)), (math.inf if high is None else float(high))


def box_distance(
    coordinates: Mapping[str, sympy.Symbol],
    sides: Mapping[str, tuple[float, int]],
    lengths: Mapping[str, float],
) -> sympy.Expr:
    """A product that vanishes on sides of a box, and is of order one inside.

    Parameters
    ----------
    coordinates
        Axis to symbol.
    sides
        Side, such as ``"x-"``, to where it lies and to the order in which to vanish.
    lengths
        Of the axes: a factor is measured in them, twice where both of an axis's sides are there.
    """
    result: sympy.Expr = sympy.Integer(1)
    for side, (place, order) in sides.items():
        axis = side[:-1]
        both = f"{axis}-" in sides and f"{axis}+" in sides
        away = coordinates[axis] - place if side[-1] == "-" else place - coordinates[axis]
        result *= (away * (2.0 if both else 1.0) / lengths[axis]) ** order
    return result


def transfinite_lift(
    coordinates: Mapping[str, sympy.Symbol],
    values: Mapping[str, tuple[float, Sequence[sympy.Expr]]],
) -> sympy.Expr:
    """An expression that takes given values on sides of a box, and time derivatives at its start.

    Axis by axis what is still missing on the sides is blended in, linearly where both sides of an axis are
    given (W. J. Gordon, "Blending-function methods of bivariate and multivariate interpolation", SIAM J.
    Numer. Anal. 8, 1971). Where derivatives are given too it is Hermite's interpolation: what one end of an
    axis adds vanishes at the other to the order that is given there. Where the values agree in edges and
    corners, all of them are taken.

    Parameters
    ----------
    coordinates
        Axis to symbol.
    values
        Side to where it lies, and to the values there of the function and of its derivatives along the axis.
    """
    result: sympy.Expr = sympy.Integer(0)
    for axis, x in coordinates.items():
        here = [(side, *values[side]) for side in (f"{axis}-", f"{axis}+") if side in values]
        correction: sympy.Expr = sympy.Integer(0)
        for side, place, given in here:
            blend: sympy.Expr = sympy.Integer(1)
            for name, other, known in here:
                if name != side:
                    blend *= ((x - other) / (place - other)) ** len(known)
            own: sympy.Expr = sympy.Integer(0)
            for order, value in enumerate(given):
                so_far: sympy.Expr = result + own
                missing = value - so_far.diff(x, order).subs(x, place)
                own += blend * missing * (x - place) ** order / math.factorial(order)
            correction += own
        result = sympy.expand(result + correction)
    return result
