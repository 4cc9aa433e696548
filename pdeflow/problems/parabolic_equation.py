"""Equations in time on boxes with conditions on their sides, for implicit steps."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Preconditioner, Solver
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.problem import Problem

if TYPE_CHECKING:
    from pdeflow.problems.rosenbrock import ImplicitTrajectory


class ParabolicEquation(Evolution, abc.ABC):
    """``u_t = rate(u, p)`` for one u, on a box whose axes need not wrap; derive from it and give ``rate``.

    Unlike other equations in time it has ``conditions``, of the same kinds as a steady equation; they do not
    depend on time. The rate may be nonlinear, with derivatives of the second order at most. It is evaluated
    by the compact differences of steady equations and stepped by a Rosenbrock method, of order 2 in space and
    in time.
    """

    takes_conditions = True

    @classmethod
    def _check_fields(cls) -> None:
        if len(cls.fields) != 1:
            raise InvalidInput(f"{cls.__name__}.fields", cls.fields, "the name of one unknown")

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the grid covers the domain, and there is an initial field."""
        self._check_initials()
        Problem.check_grid(self, grid)

    def initial_field(self, grid: Grid, functions: Mapping[str, GridFunction]) -> Tensor:
        """(n or 1, *grid.shape) in float64, what it starts from; sides with values are not looked at."""
        (name,) = self.initials
        return functions[name].values

    def evolve(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-4,
        solver: Solver | None = None,
        preconditioner: Preconditioner | None = None,
        device: torch.device | str | None = None,
    ) -> ImplicitTrajectory:
        """The solutions from time 0 to ``stop``; see :func:`pdeflow.problems.rosenbrock.evolve`."""
        from pdeflow.problems.rosenbrock import evolve

        return evolve(
            self,
            grid,
            parameters,
            stop,
            instants,
            rtol=rtol,
            solver=solver,
            preconditioner=preconditioner,
            device=device,
        )

    def rate_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """Refused: the boundary nodes have no rate."""
        raise self._no_steady("rate on a grid", "Use evolve, or residual_at_points.")
