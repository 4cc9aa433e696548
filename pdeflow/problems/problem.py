"""The statement of an equation, and the ways to evaluate it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems import grid_function, point_function
from pdeflow.problems.calculus import Names
from pdeflow.problems.closed_grid import closed_grid
from pdeflow.problems.coefficient import Coefficient
from pdeflow.problems.conditions import Condition
from pdeflow.problems.domain import Box, Domain
from pdeflow.problems.grid_function import GridFunction, constant_function, node_function, residual_values
from pdeflow.problems.natural_conditions import with_conditions
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.unknowns import check_names, stored_names

if TYPE_CHECKING:
    import sympy

    from pdeflow.problems.discretise import System

Formula = Callable[[Any], Any]
"""A function of ``at``, written with the functions of :mod:`pdeflow.problems.calculus`."""


class Problem(abc.ABC):
    """An equation stated once: derive from it, give ``domain``, ``conditions``, parameters and ``residual``.

    Class attributes, or attributes set in ``__init__``:

    ``domain``
        A :class:`Box`; or another `Domain`, where the statement holds at points but is on no grid.
    ``fields``
        The name of the unknown, ``("u",)`` by default. There may be several, which hold at points, and on
        grids if it is an :class:`Evolution`.
    ``coefficients``
        Those of several unknowns that have no equation: functions to be found, a :class:`Coefficient` each.
    ``complex_valued``
        Whether the unknown is a complex function; False by default.
    ``conditions``
        Boundary conditions; every side needs one, but where something flows out that does not diffuse. In
        time `Initial` ones too. Of several unknowns each says which of them it is ``of``.
    ``name``
        By default the class's name in lower case.
    any :class:`Parameter`
        Its attribute's name is the parameter's; the residual reads its value as ``p.NAME``.
    """

    domain: Domain
    fields: tuple[str, ...] = ("u",)
    coefficients: tuple[Coefficient, ...] = ()
    complex_valued: ClassVar[bool] = False
    conditions: tuple[Condition, ...] = ()
    name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__.lower()
        cls._check_fields()

    @classmethod
    def _check_fields(cls) -> None:
        check_names(f"{cls.__name__}.fields", cls.fields)

    @abc.abstractmethod
    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """What vanishes when u solves the equation.

        Written with :func:`~pdeflow.problems.calculus.D`, arithmetic, and the functions of
        :mod:`pdeflow.problems.calculus`; ``at.x`` is a coordinate, ``p.a`` a parameter. Of several unknowns
        it reads them by name, ``w.u`` and ``w.v``, and gives a tuple of as many expressions, one for each of
        :attr:`solved`.
        """

    def exact(self, at: Any, p: Any) -> Any:
        """The solution as a formula of the coordinates and parameters, or None where none is known.

        Of several unknowns a tuple in their order.
        """
        return None

    def reference(self, points: np.ndarray) -> np.ndarray | None:
        """Values (N,) of an accurate numerical solution at points (N, d), or None where there is none.

        Of several unknowns (N, fields).
        Compared with where no `exact` is known; parameters are as they are fixed.
        """
        return None

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters in the order they were stated, class attributes first."""
        found: dict[str, Parameter] = {}
        for namespace in (*(vars(cls) for cls in reversed(type(self).__mro__)), vars(self)):
            found |= {name: value for name, value in namespace.items() if isinstance(value, Parameter)}
        return found

    @property
    def solved(self) -> tuple[str, ...]:
        """The unknowns that have an equation each: all but the ``coefficients``."""
        return tuple(self.fields)[: len(self.fields) - len(self.coefficients)]

    @property
    def coordinates(self) -> tuple[str, ...]:
        """What the unknown depends on: the axes of the domain."""
        return self.domain.axes

    @property
    def stored_fields(self) -> tuple[str, ...]:
        """The unknowns as a file has them: of complex ones the real and the imaginary part."""
        return stored_names(self.fields, self.complex_valued)

    def grid(self, points: int | Sequence[int]) -> Grid:
        """The uniform grid of the domain with this many nodes along each axis, ends included."""
        return self.domain.grid(points)

    def sample(
        self,
        indices: Sequence[int],
        grid: Grid,
        *,
        seed: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> dict[str, Tensor]:
        """Parameter values of the samples with these indices.

        Parameter number k of sample i is drawn from ``SeedSequence(seed, spawn_key=(i, k))`` and depends on
        nothing else: not on the other samples asked for, nor on how many. Where it has the same draw as
        another parameter, k is the number of that one.

        Returns
        -------
        dict
            Parameter name to (n,) for a scalar, (n, *grid.shape) for a field.
        """
        if seed < 0:
            raise InvalidInput("seed", seed, "an integer of at least 0")
        for index in indices:
            if index < 0:
                raise InvalidInput("indices", index, "sample numbers of at least 0")
        streams = self._streams()
        return {
            name: parameter.distribution.sample(
                [np.random.SeedSequence(seed, spawn_key=(int(index), streams[name])) for index in indices],
                grid,
                dtype,
                device,
            )
            for name, parameter in self.parameters.items()
        }

    def _streams(self) -> dict[str, int]:
        """The number of each parameter's random numbers: its own, or that of another."""
        numbers = {name: k for k, name in enumerate(self.parameters)}
        sources = {name: parameter.same_draw_as or name for name, parameter in self.parameters.items()}
        for name, source in sources.items():
            if source not in numbers:
                expected = f"a parameter of {self.name}"
                raise InvalidInput(f"same_draw_as of {name!r}", source, expected, choices=numbers)
        return {name: numbers[source] for name, source in sources.items()}

    def complete_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given parameters, and where they are absent those that are the same for every sample."""
        known = self.parameters
        for name in given:
            if name not in known:
                raise InvalidInput("parameters", name, f"parameters of {self.name}", choices=known)
        values: dict[str, Any] = {}
        for name, parameter in known.items():
            if name in given:
                values[name] = given[name]
            elif (fixed := parameter.distribution.fixed) is not None:
                values[name] = fixed
            else:
                raise InvalidInput(
                    "parameters", sorted(given), f"a value for {name!r} too", "Draw them all with sample()."
                )
        return values

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the domain is a box, and the grid covers it and wraps where that does."""
        domain = self.domain
        if not isinstance(domain, Box):
            hint = "Learn it from its statement: objective PhysicsInformed, data Collocation."
            raise InvalidInput(f"{self.name}.domain", domain, "a Box, to compute on a grid", hint)
        same = (grid.axes, grid.periodic) == (domain.axes, domain.periodic) and np.allclose(
            (grid.lower, grid.upper), (domain.lower, domain.upper), rtol=1e-6, atol=0.0
        )
        if not same:
            raise InvalidInput(
                "grid", grid, f"a grid of {domain}", f"Make it with {type(self).__name__}().grid(points)."
            )

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput where the grid is too coarse for some sample, with the nodes that are needed.

        Here where it does not carry the waves or modes of a parameter; equations add what they need.
        """
        for name, parameter in self.parameters.items():
            fewest = parameter.distribution.fewest_nodes(self.domain)
            for axis, n, needed in zip(grid.axes, grid.points, fewest):
                if n < needed:
                    expected = (
                        f"at least {needed} nodes along {axis}, to carry what parameter {name!r} is drawn as"
                    )
                    hint = "Take a finer grid, or fewer and longer waves."
                    raise InvalidInput("resolution", n, expected, hint)

    def parameters_on_grid(
        self,
        grid: Grid,
        parameters: Mapping[str, Any],
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> dict[str, GridFunction]:
        """Every parameter as a function to compute with on the grid.

        Parameters
        ----------
        parameters
            Name to a number, a tensor (n,) of numbers, a tensor (n, *grid.shape), or a formula of ``at``.
            Those whose distribution is constant may be left out.

        Raises
        ------
        InvalidInput
            If a name is missing or unknown, or a tensor has another shape.
        """
        self.check_grid(grid)
        grid = closed_grid(self, grid)
        at = Names("coordinate", grid_function.coordinate_functions(grid, dtype, device))
        functions: dict[str, GridFunction] = {}
        for name, given in self.complete_parameters(parameters).items():
            value = given(at) if callable(given) else given
            if isinstance(value, GridFunction):
                functions[name] = value
                continue
            if torch.is_tensor(value) and value.is_complex() and not self.complex_valued:
                raise InvalidInput(f"parameter {name!r}", str(value.dtype), "real numbers")
            given_complex = value.is_complex() if torch.is_tensor(value) else isinstance(value, complex)
            kind = dtype.to_complex() if given_complex else dtype
            values = torch.as_tensor(value, dtype=kind, device=device)
            if values.ndim <= 1:
                functions[name] = constant_function(values, grid)
            elif tuple(values.shape[1:]) == grid.shape:
                functions[name] = node_function(values, grid)
            else:
                raise InvalidInput(
                    f"shape of parameter {name!r}", tuple(values.shape), f"(n,) or (n, *{grid.shape})"
                )
        return functions

    def continuation(self, parameters: Mapping[str, GridFunction]) -> Sequence[Mapping[str, GridFunction]]:
        """Parameters of easier equations on the way to these, which come last; by default none.

        Newton's method solves one after the other, each from the solution of the one before. The parameters
        are functions to compute with, as :meth:`parameters_on_grid` gives them.
        """
        return [parameters]

    def evaluate_residual(self, u: GridFunction, parameters: Mapping[str, GridFunction]) -> Tensor:
        """The residual where the grid determines it; see :meth:`residual_on_grid`."""
        return residual_values(self.residual_function(u, parameters))

    def residual_function(self, u: GridFunction, parameters: Mapping[str, GridFunction]) -> GridFunction:
        """The residual as a function on the grid of u.

        Raises
        ------
        InvalidInput
            If it is no expression, or there are several unknowns, or a condition is on another one.
        """
        if len(self.fields) > 1:
            hint = "Learn them from their statement: objective PhysicsInformed, data Collocation."
            raise InvalidInput(f"fields of {self.name}", self.fields, "one unknown, on a grid", hint)
        for condition in self.conditions:
            condition.unknowns(self.fields)
        known = grid_function.coordinate_functions(u.grid, u.values.dtype.to_real(), u.values.device)
        at, p = Names("coordinate", known), Names("parameter", parameters)
        value = self.residual(with_conditions(u, self, at, p), at, p)
        if not isinstance(value, GridFunction):
            raise InvalidInput(
                f"{type(self).__name__}.residual", type(value).__name__, "an expression in u, at or p"
            )
        return value

    def residual_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """The residual by compact second-order finite differences.

        Parameters
        ----------
        u
            (n, *grid.shape), boundary nodes included; complex where the unknown is.
        grid
            Of this problem's domain.
        parameters
            As in :meth:`parameters_on_grid`.

        Returns
        -------
        Tensor
            (n, *interior), in ``u``'s precision: nodes of sides with Dirichlet values are left out, and a
            residual with derivatives above the second loses more. On sides with a Robin or Neumann condition
            it is that of the half cells inside, times their share of a whole one.
        """
        if tuple(u.shape[1:]) != grid.shape:
            raise InvalidInput("shape of u", tuple(u.shape), f"(n, *{grid.shape})")
        functions = self.parameters_on_grid(grid, parameters, u.dtype.to_real(), u.device)
        return self.evaluate_residual(node_function(u, closed_grid(self, grid)), functions)

    def residual_at_points(
        self, u: Callable[[Tensor], Tensor], points: Tensor, parameters: Mapping[str, Any]
    ) -> Tensor:
        """The residual by automatic differentiation, exact for the given function.

        Parameters
        ----------
        u
            Maps points (N, d) to values (N,), each from its own point; a network, for instance. Where there
            are several unknowns, to (N, fields).
        points
            (N, d), columns in the order of :attr:`coordinates`.
        parameters
            Name to a number, a tensor (N,) of values at the points, or a formula of ``at``. A parameter that
            the residual differentiates must be a formula. Constants may be left out.

        Returns
        -------
        Tensor
            Shaped like the values, differentiable with respect to whatever ``u`` depends on unless gradients
            are switched off.
        """
        return point_function.residual_at_points(self, u, points, parameters)

    def discretise(self, grid: Grid, parameters: Mapping[str, Any]) -> System:
        """The linear systems whose solutions make :meth:`residual_on_grid` vanish.

        See :func:`pdeflow.problems.discretise.discretise`.
        """
        from pdeflow.problems.discretise import discretise

        return discretise(self, grid, parameters)

    def latex(self) -> str:
        """The equation in LaTeX, made from the residual itself."""
        from pdeflow.problems import symbolic

        return symbolic.latex(self)

    def linear_part(self) -> sympy.Expr | sympy.Matrix:
        """The derivative of the residual at 0, applied to the unknown, as a SymPy expression.

        Of several unknowns a column, one entry a component of the residual.
        """
        from pdeflow.problems import symbolic

        return symbolic.linear_part(self)

    def symbol(self) -> sympy.Expr | sympy.Matrix:
        """The Fourier symbol of the linear part, coefficients frozen, in ``k_x``, ``k_y``, ...

        Of several unknowns a matrix: a row for each component of the residual, a column for each unknown.
        """
        from pdeflow.problems import symbolic

        return symbolic.symbol(self)

    def statement(self) -> dict[str, Any]:
        """Residual, conditions and domain as plain JSON values that tell any two statements apart.

        Returns
        -------
        dict
            ``residual`` (SymPy's ``srepr``, a list for several unknowns), ``conditions`` (sides, and the
            ``srepr`` of the value and of the coefficient that it has; of `Initial`, `Observed` and
            `Interface` the kind, then what they say), ``domain``.
        """
        from pdeflow.problems import symbolic

        return symbolic.statement(self)

    def describe(self) -> dict[str, Any]:
        """What a data set's card says: plain strings, ready for JSON.

        Returns
        -------
        dict
            ``name``, ``equation`` (LaTeX), ``domain``, ``parameters`` (name to a phrase), ``conditions``.
        """
        from pdeflow.problems import symbolic

        wraps = [axis for axis, periodic in zip(self.domain.axes, self.domain.periodic) if periodic]
        return {
            "name": self.name,
            "equation": self.latex(),
            "domain": str(self.domain),
            "parameters": {name: str(value) for name, value in self.parameters.items()}
            | {coefficient.name: str(coefficient) for coefficient in self.coefficients},
            "conditions": symbolic.conditions(self) + [f"periodic along {axis}" for axis in wraps],
        }
