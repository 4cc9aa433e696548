"""Equations that say how a periodic field changes in time."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import D, Names
from pdeflow.problems.discretise import System
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.problem import Problem
from pdeflow.problems.spectral_function import SpectralFunction

if TYPE_CHECKING:
    from pdeflow.problems.etdrk4 import Trajectory

TIME = "t"


class Evolution(Problem):
    """``u_t = rate(u, p)`` on a box that wraps along every axis; derive from it and give ``rate``.

    The rate does not depend on time or position but through its parameters, fields among them. The parameter
    named after the unknown with a 0, ``u0``, is the initial field.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.conditions:
            raise InvalidInput(
                f"{cls.__name__}.conditions", cls.conditions, "no conditions: every axis of the box wraps"
            )

    @abc.abstractmethod
    def rate(self, u: Any, p: Any) -> Any:
        """What ``u_t`` is, written with :func:`~pdeflow.problems.calculus.D` like a residual."""

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - rate``."""
        return D(u, TIME) - self.rate(u, p)

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The axes of the box, then time."""
        return (*self.domain.axes, TIME)

    @property
    def initial(self) -> str:
        """Name of the parameter that is the initial field."""
        return f"{self.fields[0]}0"

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the grid covers the domain, and that wraps along every axis."""
        if not all(self.domain.periodic):
            raise InvalidInput(
                f"domain of {self.name}",
                self.domain,
                "a box that wraps along every axis",
                f"Write Box(..., periodic={list(self.domain.axes)}).",
            )
        if self.initial not in self.parameters:
            raise InvalidInput(
                f"parameters of {self.name}", list(self.parameters), f"{self.initial!r}, the initial field"
            )
        super().check_grid(grid)

    def rate_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """The rate at the nodes, by Fourier series.

        Parameters
        ----------
        u
            (n, *grid.shape).
        grid
            Of this problem's domain.
        parameters
            As in :meth:`Problem.parameters_on_grid`; the initial field may be left out.

        Returns
        -------
        Tensor
            (n, *grid.shape), exact for what the grid resolves, products free of aliasing.
        """
        if tuple(u.shape[1:]) != grid.shape:
            raise InvalidInput("shape of u", tuple(u.shape), f"(n, *{grid.shape})")
        p = self.spectral_parameters(grid, {self.initial: 0.0, **parameters}, u.device)
        value = self.evaluate_rate(SpectralFunction.of(u.to(torch.float64), grid), p)
        return value.values.expand(len(u), *grid.shape)

    def spectral_parameters(
        self, grid: Grid, parameters: Mapping[str, Any], device: torch.device | str | None
    ) -> dict[str, SpectralFunction]:
        """Every parameter, in float64, as a function to compute with."""
        result = {}
        for name, function in self.parameters_on_grid(grid, parameters, torch.float64, device).items():
            values = function.values
            one_number = values.shape[1:] == (1,) * grid.dim
            values = values.flatten() if one_number else values.expand(-1, *grid.shape)
            result[name] = SpectralFunction.of(values, grid)
        return result

    def evaluate_rate(self, u: SpectralFunction, p: Mapping[str, SpectralFunction]) -> SpectralFunction:
        """The rate of functions that are Fourier series."""
        value = self.rate(u, Names("parameter", p))
        if not isinstance(value, SpectralFunction):
            raise InvalidInput(f"{type(self).__name__}.rate", type(value).__name__, "an expression in u or p")
        return value

    def evolve(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-8,
        device: torch.device | str | None = None,
    ) -> Trajectory:
        """The solutions from time 0 to ``stop``; see :func:`pdeflow.problems.etdrk4.evolve`."""
        from pdeflow.problems.etdrk4 import evolve

        return evolve(self, grid, parameters, stop, instants, rtol=rtol, device=device)

    def evaluate_residual(self, u: GridFunction, parameters: Mapping[str, GridFunction]) -> Tensor:
        """Refused: one instant does not determine the residual."""
        raise self._no_steady("residual on a grid", "Use rate_on_grid, or residual_at_points.")

    def discretise(self, grid: Grid, parameters: Mapping[str, Any]) -> System:
        """Refused: there is no one system to solve."""
        raise self._no_steady("discretisation", "Use evolve.")

    def _no_steady(self, what: str, hint: str) -> InvalidInput:
        return InvalidInput(f"{what} of {self.name}", "an equation in time", "a steady equation", hint)
