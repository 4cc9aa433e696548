"""What is asked where the networks of a field meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sympy

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.fields.subdomains import Jump, subdomains_of
from pdeflow.problems import Problem, symbolic
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.interface import interfaces
from pdeflow.training.statements import statement_name

SAME = 1e-9
"""Planes so near to each other, measured in the box, are one."""


class InterfaceConditions:
    """The conditions that join the networks of `Subdomains`, derived from the equation.

    A solution of an equation whose derivatives across a plane are of order m has continuous ones below that
    order: of the Laplacian, the value and the slope; of transport, the value alone. Where the problem states
    an `Interface`, the flux takes the place of the slope.

    Parameters
    ----------
    problem, residual
        The statement, and what vanishes inside.
    field
        Any: one without parts has no interfaces.

    Raises
    ------
    InvalidInput
        If the problem states an interface where the field is not cut.

    Attributes
    ----------
    places
        Interface, such as ``"x=0.5"``, to the number of its axis and where on it.
    statements
        What is asked of a `Jump`, ``"x=0.5:value"``, ``"x=0.5:slope"``, ``"x=0.5:order 2"``; see
        `statement_name`.
    """

    def __init__(self, problem: Problem, residual: CompiledStatement, field: Field) -> None:
        axes, at, us = problem.domain.axes, symbolic.coordinates(problem), symbolic.unknowns(problem)
        parts = subdomains_of(field)
        planes = () if parts is None else parts.interfaces
        self.places = dict(zip(_names(axes, planes), planes))
        self.statements: dict[str, CompiledStatement] = {}
        self._factors: dict[str, tuple[float, float]] = {}
        fluxes = _fluxes(problem, self.places)
        for plane, (k, _) in self.places.items():
            for number, unknown in enumerate(problem.fields):
                order = max(index[k] for of, index in residual.needs if of == number)
                flux = fluxes.get((plane, unknown))
                for n in range(order if flux is None else max(order, 2)):
                    kind = ("value", "slope")[n] if n < 2 else f"order {n}"
                    name = statement_name(problem, f"{plane}:{kind}", unknown)
                    asked = sympy.Derivative(us[number], (at[axes[k]], n)) if n else us[number]
                    self.statements[name] = CompiledStatement([asked], us, at, {})
                    if n == 1 and flux is not None:
                        self._factors[name] = flux

    def asked_of(self, name: str, field: Field) -> Field:
        """What a statement is about: the jump of a field across its interface, or the field itself."""
        return Jump(field, *self._factors.get(name, (1.0, 1.0))) if name in self.statements else field


def _names(axes: Sequence[str], planes: Sequence[tuple[int, float]]) -> list[str]:
    """What planes are called: short names, or all digits where two would have the same."""
    short = [f"{axes[k]}={place:g}" for k, place in planes]
    return short if len(set(short)) == len(short) else [f"{axes[k]}={place!r}" for k, place in planes]


def _fluxes(
    problem: Problem, places: Mapping[str, tuple[int, float]]
) -> dict[tuple[str, str], tuple[float, float]]:
    """Interface and unknown to what the slopes below and above count in the flux, where that is stated."""
    domain, found = problem.domain, {}
    for stated in interfaces(problem):
        stated.check(domain)
        k = domain.axes.index(stated.axis)
        near = SAME * (domain.upper[k] - domain.lower[k])
        here = [name for name, (axis, x) in places.items() if axis == k and abs(x - stated.place) <= near]
        if not here:
            plane = f"{stated.axis} = {stated.place:g}"
            hint = f"Take Subdomains, and in model.subdomains a list with that place for {stated.axis}."
            got = f"a field that is not cut at {plane}"
            raise InvalidInput("model", got, f"one that is: {problem.name} has an interface there", hint)
        for unknown in stated.unknowns(problem.fields):
            found[here[0], unknown] = stated.below, stated.above
    return found
