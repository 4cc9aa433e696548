"""A network in coordinates that move with the flow: along characteristics, transport changes nothing.

R. Mojgani, M. Balajewicz, P. Hassanzadeh, "Kolmogorov n-width and Lagrangian physics-informed neural
networks: a causality-conforming manifold for convection-dominated problems", Comput. Methods Appl. Mech.
Eng. 404 (2023).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sympy
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.fields.mlp import MLP
from pdeflow.fields.scaled_coordinates import ScaledCoordinates
from pdeflow.problems import symbolic
from pdeflow.problems.calculus import Names
from pdeflow.problems.compiled_statement import MultiIndex
from pdeflow.problems.initial import TIME

if TYPE_CHECKING:
    from pdeflow.problems import Problem


class Lagrangian(Field):
    r"""An MLP of where a point was at the start, and of the time, which is the last coordinate:

    .. math:: u(x, t) = N(x - c (t - t_0), t), \qquad
              \partial_t = \partial_\tau - c \cdot \nabla_\xi, \quad \nabla_x = \nabla_\xi.

    The characteristics of :math:`u_t + c \cdot \nabla u = \dots` are straight, for c is constant: the change
    of coordinates is known and exact, and what is left to learn changes along them only by the other terms of
    the equation, diffusion or reaction. In the paper characteristics that are not known are learned by a
    second network; here they are not.

    Parameters
    ----------
    lower, upper, components, periodic, widths, activation
        As of `MLP`. Along an axis that does not wrap around, the network's box holds all that moves through.
    velocity
        c, a number for each axis but time. By default that of the equation, which `PhysicsInformed` reads.

    Raises
    ------
    InvalidInput
        As `MLP`, and if there is no axis beside time, time wraps around, or the velocity has not as many
        finite numbers as there are such axes. When asked for values, if there is no velocity yet.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0, 0.0),
        upper: Sequence[float] = (1.0, 1.0),
        components: int = 1,
        periodic: Sequence[bool] = (),
        velocity: Sequence[float] | None = None,
        widths: Sequence[int] = (20, 20),
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "velocity": None,
            "widths": list(widths),
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if self.dim < 2:
            expected = "numbers for an axis of space and for time, the last"
            raise InvalidInput("model.lower", list(lower), expected)
        if self.periodic[-1]:
            expected = "a last coordinate, time, that does not wrap around"
            raise InvalidInput("model.periodic", list(periodic), expected)
        self.network = MLP(self.lower, self.upper, components, self.periodic, widths, activation)
        self.velocity: tuple[float, ...] | None = None
        if velocity is not None:
            self.follow(velocity)

    def follow(self, velocity: Sequence[float]) -> None:
        """Move with this velocity, a number for each axis but time.

        Raises
        ------
        InvalidInput
            If there are not as many numbers, or one is not finite.
        """
        if len(velocity) != self.dim - 1 or not all(map(math.isfinite, velocity)):
            expected = f"{self.dim - 1} finite numbers, one for each axis but time"
            raise InvalidInput("model.velocity", list(velocity), expected)
        self.velocity = tuple(map(float, velocity))
        self.settings["velocity"] = list(self.velocity)
        duration = self.upper[-1] - self.lower[-1]
        ways = [0.0 if wraps else c * duration for c, wraps in zip(self.velocity, self.periodic)]
        lower = [low - max(way, 0.0) for low, way in zip(self.lower, ways)]
        upper = [high - min(way, 0.0) for high, way in zip(self.upper, ways)]
        self.network.seen = ScaledCoordinates(
            [*lower, self.lower[-1]], [*upper, self.upper[-1]], self.periodic
        )

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        parts = {index: self._parts(index) for index in wanted}
        needed = list(dict.fromkeys(inner for part in parts.values() for inner in part))
        known = self.network.derivatives(self._moved(points), needed)
        return {
            index: torch.stack([factor * known[inner] for inner, factor in part.items()]).sum(0)
            for index, part in parts.items()
        }

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: the network's, with cotangents by the chain rule."""
        self.check_points(points)
        within: dict[MultiIndex, Tensor] = {}
        for index, cotangent in cotangents.items():
            for inner, factor in self._parts(index).items():
                term = factor * cotangent
                within[inner] = within[inner] + term if inner in within else term
        found = self.network.pointwise_gradients(self._moved(points), within)
        return {f"network.{name}": slope for name, slope in found.items()}

    def _known_velocity(self) -> tuple[float, ...]:
        if self.velocity is None:
            hint = "Give it, or train with PhysicsInformed, which takes it from the equation."
            raise InvalidInput("model.velocity", None, "a number for each axis but time", hint)
        return self.velocity

    def _moved(self, points: Tensor) -> Tensor:
        """Where points (N, d) were at the start, and their times."""
        way = points.new_tensor([*self._known_velocity(), 0.0])
        return points - (points[:, -1:] - self.lower[-1]) * way

    def _parts(self, index: MultiIndex) -> dict[MultiIndex, float]:
        r"""The network's derivatives in one of the field, and how often each: :math:`(d_t - c \nabla)^m`."""
        velocity, order = self._known_velocity(), index[-1]
        found = {}
        for counts in itertools.product(range(order + 1), repeat=len(velocity)):
            rest = order - sum(counts)
            factor = math.prod((-c) ** n for c, n in zip(velocity, counts))
            if rest < 0 or factor == 0.0:
                continue
            ways = math.factorial(order) // math.prod(map(math.factorial, (*counts, rest)))
            inner = (*(a + n for a, n in zip(index, counts)), rest)
            found[inner] = ways * factor
        return found


def transport_velocity(problem: Problem, parameters: Mapping[str, Any]) -> list[float]:
    r"""The constant c of an equation :math:`a (u_t + c \cdot \nabla u) + \dots = 0`, read off its statement.

    Of several unknowns each is looked at in the equation of its number, and all have to move together. Other
    terms may be anything that does not have first derivatives.

    Parameters
    ----------
    problem
        With time as its last coordinate.
    parameters
        All of the problem's by name: numbers, or formulas of ``at``.

    Raises
    ------
    InvalidInput
        If time is not the last coordinate, or there is no such c: the speed depends on the place or on the
        solution, or differs from unknown to unknown.
    """
    at, us = symbolic.coordinates(problem), symbolic.unknowns(problem)
    axes, key = list(at), f"velocity of {problem.name}"
    hint = "Say model.init_args.velocity, that of coordinates to move in, or take another field."
    if axes[-1] != TIME:
        raise InvalidInput(f"coordinates of {problem.name}", ", ".join(axes), f"{TIME} as the last")
    here = Names("coordinate", at)
    values = {name: value(here) if callable(value) else value for name, value in parameters.items()}
    found: list[list[float]] = []
    for u, part in zip(us, symbolic.residuals(problem, us, at, values)):
        expanded = part.doit()
        slopes = {atom: sympy.Dummy() for atom in expanded.atoms(sympy.Derivative)}
        stated: Any = expanded.xreplace(slopes)
        rates = [
            sympy.simplify(stated.diff(slopes[slope])) if slope in slopes else sympy.Integer(0)
            for slope in (sympy.Derivative(u, axis) for axis in at.values())
        ]
        if rates[-1] == 0:
            raise InvalidInput(key, f"no first derivative of {u.func} by {TIME}", "one", hint)
        speeds = [sympy.simplify(rate / rates[-1]) for rate in rates[:-1]]
        if not all(speed.is_number and speed.is_finite for speed in speeds):
            got = ", ".join(sympy.sstr(speed.xreplace({d: a for a, d in slopes.items()})) for speed in speeds)
            raise InvalidInput(key, got, "numbers", hint)
        found.append([float(speed) for speed in speeds])
    if any(speeds != found[0] for speeds in found):
        raise InvalidInput(key, found, "the same for all unknowns", hint)
    return found[0]
