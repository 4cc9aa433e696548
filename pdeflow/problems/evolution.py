"""Equations that say how periodic fields change in time."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import D, Names
from pdeflow.problems.discretise import System
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.problem import Problem
from pdeflow.problems.spectral_function import SpectralFunction, coefficients_of, values_of
from pdeflow.problems.unknowns import components, joined, named, parted

if TYPE_CHECKING:
    from pdeflow.problems.trajectory import Trajectory

TIME = "t"


class Evolution(Problem):
    """``u_t = rate(u, p)`` on a box that wraps along every axis; derive from it and give ``rate``.

    The rate does not depend on time or position but through its parameters, fields among them. The parameter
    named after the unknown with a 0, ``u0``, is the initial field.

    There may be several unknowns, ``fields = ("u", "v")``. The rate then reads them by name, ``w.u`` and
    ``w.v``, and gives a tuple in their order; each has its initial field, ``u0`` and ``v0``. Tensors have an
    axis for the unknowns behind those of the samples and the instants.
    """

    takes_conditions: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.conditions and not cls.takes_conditions:
            raise InvalidInput(
                f"{cls.__name__}.conditions", cls.conditions, "no conditions: every axis of the box wraps"
            )

    @abc.abstractmethod
    def rate(self, u: Any, p: Any) -> Any:
        """What ``u_t`` is, written with :func:`~pdeflow.problems.calculus.D` like a residual.

        Of several unknowns a tuple, one expression each.
        """

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - rate``, of several unknowns a tuple."""
        rate = self.rate(u, p)
        if len(self.fields) == 1:
            return D(u, TIME) - rate
        rates = components(self.fields, rate, f"{type(self).__name__}.rate")
        return tuple(D(getattr(u, name), TIME) - part for name, part in zip(self.fields, rates))

    @property
    def coordinates(self) -> tuple[str, ...]:
        """The axes of the box, then time."""
        return (*self.domain.axes, TIME)

    @property
    def initials(self) -> tuple[str, ...]:
        """Names of the parameters that are the initial fields, one an unknown."""
        return tuple(f"{name}0" for name in self.fields)

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the grid covers the domain, and that wraps along every axis."""
        if not all(self.domain.periodic):
            raise InvalidInput(
                f"domain of {self.name}",
                self.domain,
                "a box that wraps along every axis",
                f"Write Box(..., periodic={list(self.domain.axes)}).",
            )
        self._check_initials()
        super().check_grid(grid)

    def _check_initials(self) -> None:
        """Raise InvalidInput unless each unknown has its initial field among the parameters."""
        for field, initial in zip(self.fields, self.initials):
            if initial not in self.parameters:
                raise InvalidInput(
                    f"parameters of {self.name}",
                    list(self.parameters),
                    f"{initial!r} too, the initial field of {field!r}",
                )

    def rate_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """The rate at the nodes, by Fourier series.

        Parameters
        ----------
        u
            (n, *grid.shape), of several unknowns (n, fields, *grid.shape).
        grid
            Of this problem's domain.
        parameters
            As in :meth:`Problem.parameters_on_grid`; the initial fields may be left out.

        Returns
        -------
        Tensor
            Shaped like ``u``, exact for what the grid resolves, products free of aliasing.
        """
        inner = grid.shape if len(self.fields) == 1 else (len(self.fields), *grid.shape)
        if tuple(u.shape[1:]) != inner:
            raise InvalidInput("shape of u", tuple(u.shape), f"(n, *{inner})")
        p = self.spectral_parameters(grid, {**dict.fromkeys(self.initials, 0.0), **parameters}, u.device)
        v = coefficients_of(u.to(torch.float64), grid)
        return values_of(self.evaluate_rate(v, grid, p), grid)

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

    def evaluate_rate(self, v: Tensor, grid: Grid, p: Mapping[str, SpectralFunction]) -> Tensor:
        """The Fourier coefficients of the rate, from those of the unknowns.

        Both are (n, *modes), of several unknowns (n, fields, *modes), complex128.
        """
        u = [SpectralFunction(part, grid) for part in parted(self.fields, v)]
        method = f"{type(self).__name__}.rate"
        rates = components(self.fields, self.rate(named(self.fields, u), Names("parameter", p)), method)
        parts = []
        for known, rate in zip(u, rates):
            if not isinstance(rate, SpectralFunction):
                raise InvalidInput(method, type(rate).__name__, "an expression in u or p")
            parts.append(rate.varying().coefficients.expand_as(known.coefficients))
        return joined(parts)

    def evolve(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-8,
        fewest: int = 1,
        device: torch.device | str | None = None,
    ) -> Trajectory:
        """The solutions from time 0 to ``stop``; see :func:`pdeflow.problems.etdrk4.evolve`."""
        from pdeflow.problems.etdrk4 import evolve

        return evolve(self, grid, parameters, stop, instants, rtol=rtol, fewest=fewest, device=device)

    def fewest_steps(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        stop: float,
        instants: int = 2,
        *,
        rtol: float = 1e-8,
        device: torch.device | str | None = None,
    ) -> int:
        """What ``fewest`` of `evolve` may be; see :func:`pdeflow.problems.etdrk4.fewest_steps`."""
        from pdeflow.problems.etdrk4 import fewest_steps

        return fewest_steps(self, grid, parameters, stop, instants, rtol=rtol, device=device)

    def evaluate_residual(self, u: GridFunction, parameters: Mapping[str, GridFunction]) -> Tensor:
        """Refused: one instant does not determine the residual."""
        raise self._no_steady("residual on a grid", "Use rate_on_grid, or residual_at_points.")

    def residual_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """Refused: one instant does not determine the residual."""
        raise self._no_steady("residual on a grid", "Use rate_on_grid, or residual_at_points.")

    def discretise(self, grid: Grid, parameters: Mapping[str, Any]) -> System:
        """Refused: there is no one system to solve."""
        raise self._no_steady("discretisation", "Use evolve.")

    def _no_steady(self, what: str, hint: str) -> InvalidInput:
        return InvalidInput(f"{what} of {self.name}", "an equation in time", "a steady equation", hint)
