"""Equations in time that say what flows through every place."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import D, Names
from pdeflow.problems.cell_evolution import CellEvolution
from pdeflow.problems.evolution import TIME

if TYPE_CHECKING:
    from pdeflow.problems.finite_volumes import CellTrajectory


class ConservationLaw(CellEvolution, abc.ABC):
    """``u_t + f(u)_x = K(u)_xx`` on an interval: derive from it, give ``flux`` f or ``potential`` K, or both.

    The flux of u is ``f(u) - K(u)_x``; K is the integral of the diffusivity, which may vanish or jump (the
    Kirchhoff transform). Solved by finite volumes, so that shocks and fronts are where mass is conserved.

    Unlike other equations in time it may have ends that do not wrap. There ``boundary`` gives the values of
    u; where everything flows out of an end its value does not matter.

    A grid of it consists of cells: its nodes are their centres, so that the first lies half a cell from the
    end of an interval that does not wrap. What is stored at a node is the mean over its cell.
    """

    @classmethod
    def _check_fields(cls) -> None:
        if len(cls.fields) != 1:
            raise InvalidInput(f"{cls.__name__}.fields", cls.fields, "the name of one unknown")

    def flux(self, u: Any, p: Any) -> Any:
        """The convective flux f(u), convex or concave in u, or None where nothing is carried along."""
        return None

    def potential(self, u: Any, p: Any) -> Any:
        """K(u), convex, not falling, its derivative the diffusivity; None where nothing diffuses."""
        return None

    def start(self, at: Any, p: Any) -> Any:
        """u at time 0, a formula of ``at``; by default the parameter ``u0``."""
        return getattr(p, self.initial)

    def boundary(self, at: Any, p: Any) -> Any:
        """u at the ends, a formula of ``at``: of time and of the place of the end."""
        raise InvalidInput(
            f"boundary of {self.name}",
            self.domain,
            "boundary values, or an axis that wraps",
            "Give boundary(self, at, p), or write Box(..., periodic=[...]).",
        )

    def mass(self, t: Any, p: Any) -> Any:
        """The integral of the exact solution over the domain at time t, or None where it is not known."""
        return None

    def rate(self, u: Any, p: Any) -> Any:
        """``K(u)_xx - f(u)_x``."""
        (axis,) = self.domain.axes
        flux, potential = self.flux(u, p), self.potential(u, p)
        if flux is None and potential is None:
            raise InvalidInput(type(self).__name__, "neither flux nor potential", "at least one of them")
        carried = 0.0 if flux is None else -D(flux, axis)
        return carried if potential is None else carried + D(potential, axis, 2)

    @property
    def initial(self) -> str:
        """Name of the parameter that is the initial field, where the law has one."""
        return f"{self.fields[0]}0"

    @property
    def wraps(self) -> bool:
        """Whether the interval has no ends."""
        return self.domain.periodic[0]

    def grid(self, points: Any) -> Grid:
        """The centres of so many equal cells."""
        if self.domain.dim != 1:
            raise InvalidInput(f"domain of {self.name}", self.domain, "an interval, such as Box(x=(0, 1))")
        return super().grid(points)

    def evolve(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-12,
        device: torch.device | str | None = None,
    ) -> CellTrajectory:
        """The solutions from time 0 to ``stop``; see :func:`pdeflow.problems.finite_volumes.evolve`."""
        from pdeflow.problems.finite_volumes import evolve

        return evolve(self, grid, parameters, stop, instants, rtol=rtol, device=device)

    def _formulas(self) -> dict[str, Any]:
        """What holds at the start and at the ends, as SymPy expressions."""
        import sympy

        from pdeflow.problems import symbolic

        at = Names("coordinate", symbolic.coordinates(self))
        p = Names("parameter", symbolic.parameter_symbols(self))
        found = {"start": self.start(at, p)}
        if not self.wraps:
            found["boundary"] = self.boundary(at, p)
        return {name: sympy.sympify(value) for name, value in found.items()}

    def statement(self) -> dict[str, Any]:
        """As of any problem, with the start and the boundary values."""
        import sympy

        return super().statement() | {name: sympy.srepr(value) for name, value in self._formulas().items()}

    def describe(self) -> dict[str, Any]:
        """As of any problem; the conditions say the start and the boundary values."""
        (axis,) = self.domain.axes
        where = {"start": f"at {TIME} = 0", "boundary": f"on {axis}- and {axis}+"}
        values = {k: f"{float(v):g}" if v.is_number else str(v) for k, v in self._formulas().items()}
        said = [f"{self.fields[0]} = {value} {where[key]}" for key, value in values.items()]
        card = super().describe()
        return card | {"conditions": said + card["conditions"]}
