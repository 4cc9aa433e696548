"""Learning a solution from its statement: residual and conditions at points.

M. Raissi, P. Perdikaris, G. E. Karniadakis, "Physics-informed neural networks", J. Comput. Phys. 378 (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import sympy
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, HardConditions
from pdeflow.fields.hard_conditions import box_distance, transfinite_lift
from pdeflow.fields.inverse_distance import factor, inverse_distance_lift
from pdeflow.problems import Dirichlet, MeshProblem, Problem, Robin, symbolic
from pdeflow.problems.calculus import Names
from pdeflow.problems.compiled_statement import CompiledStatement, compile_residual
from pdeflow.problems.conditions import Condition, check_numbers
from pdeflow.problems.corners import contradictions
from pdeflow.problems.cylinder import Cylinder
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME, Initial
from pdeflow.problems.observed import observations
from pdeflow.training.objective import Objective

INSIDE = "inside"
NORMAL, VALUE = "normal along ", "value"
"""Names of scalars that change from point to point; no parameter is called so."""


class PhysicsInformed(Objective):
    r"""Mean squares of the residual inside and of the conditions on the sides.

    .. math:: \frac1N \sum_i |R(u)(x_i)|^2 + \text{weight} \sum_{\text{sides}} \frac1M \sum_j |B(u)(y_j)|^2.

    Parameters
    ----------
    problem
        The statement. Its parameters are numbers or fixed fields.
    hard
        Whether values that are given on sides are met by the form of the field
        (:class:`~pdeflow.fields.HardConditions`) rather than learned. Conditions on derivatives across a side
        are learned in any case.
    weight
        Of the conditions that are learned.
    unknown
        Names of parameters that are to be found too, with the numbers to start from; logged as
        ``valid/<name>``.
    wanted_residual
        Training ends once the root of the loss at the points that are held back is this small; by default it
        ends with the epochs.

    Raises
    ------
    InvalidInput
        If the statement is not one that points can be asked of, leaves out an unknown, names a coordinate
        that there is not, needs a parameter that has no one value, or gives values on two sides that
        contradict each other where these meet (where ``hard``; else a warning), which is looked for on boxes.
    """

    monitor: ClassVar[str] = "valid/loss"

    def __init__(
        self,
        problem: Problem | None = None,
        hard: bool = True,
        weight: float = 10.0,
        unknown: dict[str, float] | None = None,
        wanted_residual: float | None = None,
    ) -> None:
        super().__init__()
        if problem is None:
            hint = "Give the key problem: {class_path: NAME}."
            raise InvalidInput("objective.problem", None, "the statement of an equation", hint)
        if not weight > 0:
            raise InvalidInput("objective.weight", weight, "a positive number")
        if wanted_residual is not None and not wanted_residual > 0:
            raise InvalidInput("objective.wanted_residual", wanted_residual, "a positive number, or null")
        self.problem, self.hard, self.weight = problem, hard, weight
        self.wanted_residual = wanted_residual
        check_statement(problem, unknown or {})
        self.unknown = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(float(value))) for name, value in (unknown or {}).items()}
        )
        symbols = {name: sympy.Symbol(name, real=True) for name in self.unknown}
        known = {
            name: symbols.get(name, value)
            for name, value in problem.complete_parameters(dict.fromkeys(self.unknown, 0.0)).items()
        }
        self.statements: dict[str, CompiledStatement] = {INSIDE: compile_residual(problem, known)}
        self.conditions = condition_statements(problem, known)
        for name, observed in observations(problem):
            observed.check(problem.domain)
            self.conditions[f"{name}:value"] = observed_statement(problem)
        given = given_values(problem)
        self._check_corners(given)
        self._held = given if hard else {}
        for name, statement in self.conditions.items():
            if name.partition(":")[0] not in self._held or name.endswith(":slope"):
                self.statements[name] = statement

    def _check_corners(self, given: Mapping[str, tuple[float, list[sympy.Expr]]]) -> None:
        """Values on sides of a box that meet have to agree there: say where they do not."""
        if not isinstance(self.problem.domain, Box):
            return
        found = list(contradictions(self.problem.domain, symbolic.coordinates(self.problem), given))
        if not found:
            return
        key = f"conditions of {self.problem.name}"
        if self.hard:
            hint = "Give values that agree, or learn them: objective.init_args.hard: false."
            raise InvalidInput(key, "; ".join(found[:2]), "values that agree where sides meet", hint)
        rank_zero_warn(f"{key}: {'; '.join(found[:2])}. No smooth solution meets both.")

    def satisfied(self, loss: float) -> bool:
        """Whether the validation loss is as small as is wanted."""
        return self.wanted_residual is not None and math.sqrt(loss) <= self.wanted_residual

    def found(self) -> dict[str, Tensor]:
        """The unknown parameters, as they are now."""
        return {name: value.detach() for name, value in self.unknown.items()}

    def constrain(self, network: Field) -> Field:
        """The field that meets the values which are given, where ``hard``."""
        if not self._held:
            return network
        at, domain = symbolic.coordinates(self.problem), self.problem.domain
        if not isinstance(domain, Box):
            held = {side: values for side, (_, values) in self._held.items()}
            lift, distance = inverse_distance_lift(domain, at, held), factor(domain, at, held)
            return HardConditions(network, [lift], [distance], at)
        lengths = {axis: high - low for axis, low, high in zip(domain.axes, domain.lower, domain.upper)}
        lift = transfinite_lift(at, self._held)
        distance = box_distance(at, {side: (p, len(v)) for side, (p, v) in self._held.items()}, lengths)
        return HardConditions(network, [lift], [distance], at)

    def piecewise(self, field: Field, points: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Residuals (N, parts) of each statement at its points, ``{"inside": (N, d), "x-": ...}``."""
        return {name: self._evaluate(field, name, points[name.partition(":")[0]]) for name in self.statements}

    def residual(self, field: Field, points: Tensor) -> Tensor:
        """The equation's residual (N, equations) at points (N, d)."""
        return self._evaluate(field, INSIDE, points)

    def condition_residuals(self, field: Field, points: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `piecewise`, of all conditions, those that the form of the field meets included."""
        return {
            name: self._state(field, statement, points[name.partition(":")[0]])
            for name, statement in self.conditions.items()
        }

    def _evaluate(self, field: Field, name: str, points: Tensor) -> Tensor:
        return self._state(field, self.statements[name], points)

    def _state(self, field: Field, statement: CompiledStatement, points: Tensor) -> Tensor:
        """A statement (N, parts) at points; columns after the coordinates are values or normals."""
        places = points[:, : field.dim]
        scalars = self._scalars(statement, points, dict(self.unknown))
        return statement(places, field.derivatives(places, statement.wanted), scalars)

    def _scalars(
        self, statement: CompiledStatement, points: Tensor, unknown: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What a statement takes beside derivatives: parameters, and what points carry in further columns."""
        axes = self.problem.coordinates
        names = [VALUE] if VALUE in statement.scalars else [NORMAL + axis for axis in axes]
        return {**unknown, **dict(zip(names, points[:, len(axes) :].unbind(1)))}

    def _share(self, name: str, points: Tensor) -> float:
        """The factor that makes squares of residuals add up to the loss."""
        return math.sqrt((1.0 if name == INSIDE else self.weight) / len(points))

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Tensor:
        """Weighted residuals (M,) at the points of a batch; of one on a grid, the values of the field."""
        if "points" not in batch:
            return step(batch["input"])
        field: Any = getattr(step, "model")  # noqa: B009, a TrainingTask
        return self.weighted(field, batch)

    def weighted(self, field: Field, batch: dict[str, Any]) -> Tensor:
        """Residuals (M,) of all statements, such that their squares add up to the loss."""
        parts = self.piecewise(field, batch["points"])
        return torch.cat([(part * self._share(name, part)).flatten() for name, part in parts.items()])

    def counts(self, batch: dict[str, Any]) -> int:
        """Points of a batch; none of one on a grid, which has no loss."""
        return len(batch["points"][INSIDE]) if "points" in batch else 0

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """The sum of squares of weighted residuals."""
        return prediction.square().sum() if "points" in batch else prediction.new_zeros(())

    def linearised(
        self, field: Field, parameters: Mapping[str, Tensor], batch: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """Weighted residuals (M,) and their Jacobian (M, P), point by point.

        Parameters
        ----------
        field
            The model.
        parameters
            In the order of the Jacobian's columns, as ``field.NAME`` and ``objective.unknown.NAME``.
        batch
            With ``points``.
        """
        residuals, rows = [], []
        for name, statement in self.statements.items():
            points = batch["points"][name.partition(":")[0]]
            share = self._share(name, points)
            values, slopes = self._slopes(field, statement, points)
            if missing := [key for key in parameters if key not in slopes]:
                expected = "gradients by all parameters from pointwise_gradients, each under its own name"
                raise InvalidInput(f"model {type(field).__name__}", f"none by {', '.join(missing)}", expected)
            flat = [slopes[key].flatten(2) for key in parameters]
            rows.append(share * torch.cat(flat, dim=2).flatten(0, 1))
            residuals.append((share * values).flatten())
        return torch.cat(residuals), torch.cat(rows)

    def _slopes(
        self, field: Field, statement: CompiledStatement, points: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A statement (N, parts) at points, and its gradients (N, parts, *shape) by the parameters.

        The statement is a function of derivatives of the field, whose slopes are the cotangents that the
        field is given.
        """
        places = points[:, : field.dim]
        with torch.no_grad():
            known = field.derivatives(places, statement.wanted)
        with torch.enable_grad():
            leaves = {index: value.detach().requires_grad_() for index, value in known.items()}
            unknown = {
                name: p.detach().expand(len(points)).requires_grad_() for name, p in self.unknown.items()
            }
            values = statement(places, leaves, self._scalars(statement, points, unknown))
        found: dict[str, list[Tensor]] = {}
        for part in values.unbind(1):
            ends = torch.autograd.grad(
                part.sum(),
                [*leaves.values(), *unknown.values()],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            by_name = field.pointwise_gradients(places, dict(zip(leaves, ends)))
            for name, slope in by_name.items():
                found.setdefault(f"field.{name}", []).append(slope)
            for name, slope in zip(unknown, ends[len(leaves) :]):
                found.setdefault(f"objective.unknown.{name}", []).append(slope[:, None])
        return values.detach(), {name: torch.stack(parts, dim=1) for name, parts in found.items()}


class BatchSquares:
    """The residuals of a batch, as optimisers of second order see them.

    Parameters
    ----------
    objective, model
        `PhysicsInformed` and its field.
    parameters
        Those of the optimiser, in its order.
    batch
        With ``points``.
    """

    def __init__(
        self, objective: Objective, model: nn.Module, parameters: Sequence[Tensor], batch: Any
    ) -> None:
        if not isinstance(objective, PhysicsInformed) or not isinstance(model, Field):
            name, hint = type(objective).__name__, "Take AdamW, or another optimiser of torch.optim."
            raise InvalidInput("objective", name, "PhysicsInformed: the optimiser needs residuals", hint)
        self.objective, self.field, self.batch = objective, model, batch
        modules: dict[str, nn.Module] = {"objective": objective, "field": model}
        named = {id(p): f"{part}.{name}" for part, m in modules.items() for name, p in m.named_parameters()}
        self.parameters = {named[id(p)]: p for p in parameters}

    @torch.no_grad()
    def residuals(self) -> Tensor:
        """See `LeastSquares`."""
        return self.objective.weighted(self.field, self.batch)

    def linearised(self) -> tuple[Tensor, Tensor]:
        """See `LeastSquares`."""
        detached = {name: p.detach() for name, p in self.parameters.items()}
        with torch.enable_grad():
            return self.objective.linearised(self.field, detached, self.batch)


def check_statement(problem: Problem, unknown: Mapping[str, float]) -> None:
    """Raise InvalidInput unless a problem can be asked of points; see `PhysicsInformed`.

    The names of axes are those that differentiation at a point knows: symbols would take another one for a
    function that does not depend on it.
    """
    name = problem.name
    if isinstance(problem, MeshProblem) or problem.coordinates != problem.domain.axes:
        hint = "State it on a Box or Cylinder with time as an axis t, Initial conditions, and a residual."
        raise InvalidInput("problem", name, "an equation on a domain of all coordinates", hint)
    if problem.complex_valued:
        raise InvalidInput("problem", name, "an equation for a real unknown")
    for parameter, start in unknown.items():
        known = problem.parameters
        if parameter not in known:
            raise InvalidInput("objective.unknown", parameter, f"a parameter of {name}", choices=known)
        distribution = known[parameter].distribution
        low, high = distribution.bounds
        if distribution.fixed is None and not low <= start <= high:
            bounds = f"a start from {low:g} to {high:g}, the bounds of {parameter}"
            raise InvalidInput(f"objective.unknown.{parameter}", start, bounds)
    for parameter, stated in problem.parameters.items():
        if parameter not in unknown and stated.distribution.fixed is None:
            hint = (
                f"Give problem.init_args.{parameter} a Constant, or a start in objective.init_args.unknown."
            )
            raise InvalidInput(f"parameter {parameter!r} of {name}", stated.distribution, "one number", hint)
    for condition in problem.conditions:
        check_numbers(condition)
    domain = problem.domain
    middle = torch.tensor([[0.4 * low + 0.6 * high for low, high in zip(domain.lower, domain.upper)]])
    problem.residual_at_points(lambda x: x.sum(1).sin(), middle, dict(unknown))


def given_values(problem: Problem) -> dict[str, tuple[float, list[sympy.Expr]]]:
    """Sides where values are given: where they lie, and what is given there, lower orders first."""
    found: dict[str, tuple[float, list[sympy.Expr]]] = {}
    for side, condition in in_order(problem):
        if isinstance(condition, (Dirichlet, Initial)):
            place, held = found.get(side, (side_place(problem, side), []))
            value = symbolic_value(problem, condition.value)
            if isinstance(problem.domain, Box) or (
                isinstance(problem.domain, Cylinder) and side == f"{TIME}-"
            ):
                value = value.subs(symbolic.coordinate(side[:-1]), place)  # a formula may hold elsewhere too
            order = condition.order if isinstance(condition, Initial) else 0
            if order > len(held):
                hint = "Give Initial(value) before Initial(slope, order=1)."
                raise InvalidInput(
                    f"conditions of {problem.name}", str(condition), "one on u itself too", hint
                )
            found[side] = place, [*held[:order], value]
    return found


def in_order(problem: Problem) -> list[tuple[str, Condition]]:
    """Each side with a condition that holds on it; of several on one side all, initial ones by order."""
    pairs = [(side, c) for c in problem.conditions for side in c.sides(problem.domain)]
    last = {(side, getattr(c, "order", 0)): c for side, c in pairs}
    return [(side, c) for (side, _), c in sorted(last.items(), key=lambda item: item[0])]


def side_place(problem: Problem, side: str) -> float:
    """Where a side of a box, or the start, lies along its axis; NaN where a side is no such plane."""
    if not isinstance(problem.domain, Box) and side != f"{TIME}-":
        return math.nan
    k = problem.domain.axes.index(side[:-1])
    return problem.domain.lower[k] if side[-1] == "-" else problem.domain.upper[k]


def symbolic_value(problem: Problem, value: Any) -> sympy.Expr:
    """A number or a formula of ``at`` as an expression."""
    at = Names("coordinate", symbolic.coordinates(problem))
    expression: Any = sympy.sympify(value(at) if callable(value) else value)
    return expression


def condition_statements(problem: Problem, parameters: Mapping[str, Any]) -> dict[str, CompiledStatement]:
    """What vanishes on each side, by ``"x-:value"``, ``"x-:slope"`` or ``"t-:rate"``.

    Slopes on sides of what is no box are stated with the normals as scalars.
    """
    at = symbolic.coordinates(problem)
    (u,) = symbolic.unknowns(problem)
    here = Names("coordinate", at)
    p = Names("parameter", {n: v(here) if callable(v) else v for n, v in parameters.items()})
    scalars = {name: v for name, v in parameters.items() if isinstance(v, sympy.Symbol)}
    found = {}
    for side, condition in in_order(problem):
        if isinstance(condition, Robin):
            if isinstance(problem.domain, Box):
                outwards = sympy.Derivative(u, at[side[:-1]]) * (1 if side[-1] == "+" else -1)
            else:
                normals = {NORMAL + axis: sympy.Dummy(f"n_{axis}", real=True) for axis in at}
                outwards = sum(sympy.Derivative(u, at[axis]) * normals[NORMAL + axis] for axis in at)
                scalars = scalars | normals
            c, g = (f(here, p) if callable(f) else f for f in (condition.coefficient, condition.value))
            name, expression = f"{side}:slope", outwards + c * u - g
        else:
            assert isinstance(condition, (Dirichlet, Initial))
            order = condition.order if isinstance(condition, Initial) else 0
            value = symbolic_value(problem, condition.value)
            left = sympy.Derivative(u, at[TIME]) if order else u
            name, expression = f"{side}:{'rate' if order else 'value'}", left - value
        found[name] = CompiledStatement([expression], [u], at, scalars)
    return found


def observed_statement(problem: Problem) -> CompiledStatement:
    """What vanishes where values are known: the unknown less the value, which is a scalar."""
    at, (u,) = symbolic.coordinates(problem), symbolic.unknowns(problem)
    value = sympy.Dummy("value", real=True)
    return CompiledStatement([u - value], [u], at, {VALUE: value})
