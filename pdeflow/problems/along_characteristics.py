"""A statement in coordinates that move with the solution, which are learned too.

R. Mojgani, M. Balajewicz, P. Hassanzadeh, "Kolmogorov n-width and Lagrangian physics-informed neural
networks: a causality-conforming manifold for convection-dominated problems", Comput. Methods Appl. Mech.
Eng. 404 (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.problems.calculus import D, Names
from pdeflow.problems.initial import TIME
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem

if TYPE_CHECKING:
    from pdeflow.problems.compiled_statement import MultiIndex

DISPLACEMENT = "displacement"
"""The unknown that tells how far a point has moved."""

TOLERANCE = 1e-9
"""Relative, of characteristics that are integrated."""


class AlongCharacteristics(Problem):
    r"""A statement :math:`a\, (u_t + c\, u_x) + f = 0` as one of what moves with the speed c(u, x, t).

    Its unknowns are functions of where a point was at the start, :math:`\xi`, and of the time: u there, and
    the ``displacement`` d, by which it has moved to :math:`X = \xi + d`. They solve

    .. math:: a\, u_t + f = 0, \qquad d_t = c, \qquad \text{with} \quad
              \partial_x = \frac1{1 + d_\xi}\, \partial_\xi

    in f, and X for x in all of them: transport is in the second equation only, and where nothing else happens
    u stays what it was. Where f has slopes of u up to an order n of 2 or more, the first equation is
    multiplied by :math:`(1 + d_\xi)^{2 n - 1}`, which leaves no quotients in it. The coordinates keep their
    names, so that ``x`` is :math:`\xi`. The speed is read off the statement; where it is a number, the field
    `Lagrangian` needs no second unknown.

    The solution at a time is the curve through (``x + displacement``, u), ``np.interp(places, x +
    displacement, u)`` of its points at many x. Once characteristics have met, in a shock, there is none, and
    ``x + displacement`` no longer increases with x: of such a solution there is a warning when training ends
    (:mod:`~pdeflow.training.crossing`). Where they crowd, in a steep front that viscosity keeps
    smooth, :math:`1 + d_\xi` is almost 0, and so is what the first equation asks: take the statement itself.

    Parameters
    ----------
    statement
        Of one unknown on a `Box` of one axis and ``t``, of first order in time. The axis wraps around, or
        nothing moves at its ends, for the values that are given there.

    Raises
    ------
    InvalidInput
        If it is not such a statement.

    Attributes
    ----------
    space
        The axis along which things move.
    """

    def __init__(self, statement: Problem) -> None:
        from pdeflow.problems import symbolic
        from pdeflow.problems.transport_terms import moving_conditions, transport_terms

        terms = transport_terms(statement)
        self.member, self.domain = statement, statement.domain
        self.name = f"{statement.name}_along_characteristics"
        self.fields = (*statement.fields, DISPLACEMENT)
        self.conditions = moving_conditions(statement, terms, DISPLACEMENT)
        unknowns, self.space = symbolic.unknowns(self), terms.space
        self._equations, self._speed = terms.along(unknowns), terms.speed_of(unknowns[0])

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those of the statement."""
        return self.member.parameters

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        """What is left of the equation along characteristics, and ``d_t - c``."""
        axes = self.domain.axes
        parts = [getattr(w, name) for name in self.fields]
        known = {(k, index): _differentiated(parts[k], axes, index) for k, index in self._equations.needs}
        numbers = {name: getattr(p, name) for name in self._equations.scalars}
        return tuple(self._equations.evaluate([getattr(at, axis) for axis in axes], known, numbers))

    def reference(self, points: np.ndarray) -> np.ndarray | None:
        """Where the statement knows its solution: that, at the ends of characteristics that are integrated.

        By the method of order 8 of Dormand and Prince.
        """
        from scipy.integrate import solve_ivp

        fixed = {name: stated.distribution.fixed for name, stated in self.parameters.items()}
        if any(value is None for value in fixed.values()):
            return None
        axes = self.domain.axes
        start, times = points[:, axes.index(self.space)], points[:, axes.index(TIME)]
        if self._solution(start, times, fixed) is None:
            return None
        first = self.domain.lower[axes.index(TIME)]
        since = times - first

        def rate(share: float, place: np.ndarray) -> np.ndarray:
            """Of all points together, each after this share of its own time."""
            now = first + share * since
            u = self._solution(place, now, fixed)
            (speed,) = self._speed.evaluate(self._at(place, now), {(0, (0, 0)): u}, fixed)
            return since * np.broadcast_to(torch.as_tensor(speed).numpy(), since.shape)

        place = solve_ivp(rate, (0.0, 1.0), start, "DOP853", rtol=TOLERANCE, atol=TOLERANCE).y[:, -1]
        u = self._solution(place, times, fixed)
        assert u is not None
        return np.stack([u.numpy(), place - start], axis=1)

    def _at(self, place: np.ndarray, times: np.ndarray) -> list[Tensor]:
        """Coordinates in their order, of the domain even where something has gone around."""
        axes = self.domain.axes
        k = axes.index(self.space)
        low, high = self.domain.lower[k], self.domain.upper[k]
        inside = low + (place - low) % (high - low) if self.domain.periodic[k] else place
        by_name = {self.space: torch.from_numpy(inside), TIME: torch.from_numpy(times)}
        return [by_name[axis] for axis in axes]

    def _solution(self, place: np.ndarray, times: np.ndarray, numbers: Mapping[str, Any]) -> Tensor | None:
        """The exact solution of the statement (N,), where it knows it."""
        here = self._at(place, times)
        at = Names("coordinate", dict(zip(self.domain.axes, here)))
        value = self.member.exact(at, Names("parameter", numbers))
        return None if value is None else torch.as_tensor(value, dtype=here[0].dtype).expand(len(place))


def _differentiated(f: Any, axes: tuple[str, ...], index: MultiIndex) -> Any:
    for axis, order in zip(axes, index):
        f = D(f, axis, order) if order else f
    return f
