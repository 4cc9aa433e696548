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
from pdeflow.problems import Problem, symbolic
from pdeflow.problems.compiled_statement import CompiledStatement, compile_residual
from pdeflow.problems.corners import contradictions
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME
from pdeflow.problems.observed import observations
from pdeflow.training.bounded_numbers import BoundedNumbers
from pdeflow.training.loss_balancing import LossBalance
from pdeflow.training.objective import Objective
from pdeflow.training.statement_terms import StatementTerms
from pdeflow.training.statements import (
    NORMAL,
    VALUE,
    bounds_of,
    check_statement,
    condition_statements,
    given_values,
    observed_statement,
)
from pdeflow.training.time_course import TimeCourse
from pdeflow.training.time_marching import TimeMarching

INSIDE = "inside"


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
        ``valid/<name>``. They stay within the bounds of their distributions.
    wanted_residual
        Training ends once the root of the loss at the points that are held back is this small; by default it
        ends with the epochs.
    balance
        How the terms of the loss weigh against each other while training; as above by default.
    time_course
        How training goes through time: `CausalWeights`, `GrowingTime`, `TimeMarching`; by default all of it
        counts at once. Validation goes by the loss above in any case.

    Raises
    ------
    InvalidInput
        If the statement is not one that points can be asked of, leaves out an unknown, names a coordinate
        that there is not, needs a parameter that has no one value, or gives values on two sides that
        contradict each other where these meet (where ``hard``; else a warning). If there is nothing to
        balance, or no time.
    """

    monitor: ClassVar[str] = "valid/loss"

    def __init__(
        self,
        problem: Problem | None = None,
        hard: bool = True,
        weight: float = 10.0,
        unknown: dict[str, float] | None = None,
        wanted_residual: float | None = None,
        balance: LossBalance | None = None,
        time_course: TimeCourse | None = None,
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
        unknown = unknown or {}
        check_statement(problem, unknown)
        self.unknown = BoundedNumbers(unknown, {name: bounds_of(problem, name) for name in unknown})
        symbols = {name: sympy.Symbol(name, real=True) for name in unknown}
        known = {
            name: symbols.get(name, value)
            for name, value in problem.complete_parameters(dict.fromkeys(unknown, 0.0)).items()
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
        self._begin_balance(balance)
        self._begin_course(time_course)

    def _begin_balance(self, balance: LossBalance | None) -> None:
        self.balance, self._due = balance, None
        if balance is None:
            return
        if len(self.statements) == 1:
            expected = f"none, for {self.problem.name} leaves no conditions to learn"
            hint = "Leave the key out, or learn the conditions: objective.init_args.hard: false."
            raise InvalidInput("objective.balance", type(balance).__name__, expected, hint)
        balance.begin(len(self.statements))

    def _begin_course(self, course: TimeCourse | None) -> None:
        self.time_course, domain = course, self.problem.domain
        if course is None:
            return
        if TIME not in domain.axes:
            expected = f"none, for {self.problem.name} has no axis {TIME}"
            raise InvalidInput("objective.time_course", type(course).__name__, expected)
        self._time = domain.axes.index(TIME)
        course.begin(domain.lower[self._time], domain.upper[self._time])

    def _check_corners(self, given: Mapping[str, tuple[float, list[sympy.Expr]]]) -> None:
        """Values on sides that meet have to agree there: say where they do not."""
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
        return {name: value.detach() for name, value in self.unknown.values().items()}

    def begin_step(self, model: nn.Module, step: int) -> None:
        """See `Objective.begin_step`: the first evaluation of the step adapts weights."""
        self._due = step
        if self.time_course is not None:
            self.time_course.begin_step(step)
            if isinstance(self.time_course, TimeMarching):
                assert isinstance(model, Field)
                self.time_course.choose(model)

    def advance(self, step: int) -> bool:
        """See `Objective.advance`."""
        return self.time_course is not None and self.time_course.advance(step)

    def ended(self) -> None:
        """Say what of the time has not been trained, and which unknown parameters are at a bound."""
        if self.time_course is not None:
            self.time_course.tell()
        self.unknown.tell()

    def progress(self) -> dict[str, Tensor]:
        """Weights of the terms, and how far training has come in time."""
        found = {} if self.time_course is None else self.time_course.progress()
        if self.balance is not None:
            found |= {f"weight of {name}": w for name, w in zip(self.statements, self.balance.weights)}
        return found

    def constrain(self, network: Field) -> Field:
        """The field that meets the values which are given, where ``hard``."""
        if isinstance(self.time_course, TimeMarching):
            residual, unknown = self.statements[INSIDE], tuple(self.unknown.start)
            self.time_course.check(self.problem, residual, unknown, network)
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
        scalars = self._scalars(statement, points, self.unknown.values())
        return statement(places, field.derivatives(places, statement.wanted), scalars)

    def _scalars(
        self, statement: CompiledStatement, points: Tensor, unknown: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """What a statement takes beside derivatives: parameters, and what points carry in further columns."""
        axes = self.problem.coordinates
        names = [VALUE] if VALUE in statement.scalars else [NORMAL + axis for axis in axes]
        return {**unknown, **dict(zip(names, points[:, len(axes) :].unbind(1)))}

    def share(self, name: str, points: Tensor, balanced: bool = True) -> Tensor:
        """Factors (N, 1) that make squares of residuals add up to the loss; in training as the weights are.

        Those are of squares: their roots come here.

        Parameters
        ----------
        name
            Of a statement.
        points
            (N, d), or with further columns.
        balanced
            Whether with the weight of the balance.
        """
        share = points.new_full(
            (len(points), 1), math.sqrt((1.0 if name == INSIDE else self.weight) / len(points))
        )
        if self.training and name == INSIDE and self.time_course is not None:
            share = share * self.time_course.weigh(points[:, self._time]).sqrt()[:, None]
        if self.training and balanced and self.balance is not None:
            share = share * self.balance.weights[list(self.statements).index(name)].sqrt()
        return share

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Tensor:
        """Weighted residuals (M,) at the points of a batch; of one on a grid, the values of the field."""
        if "points" not in batch:
            return step(batch["input"])
        field: Any = getattr(step, "model")  # noqa: B009, a TrainingTask
        return self.weighted(field, batch)

    def weighted(self, field: Field, batch: dict[str, Any]) -> Tensor:
        """Residuals (M,) of all statements, such that their squares add up to the loss."""
        points = self.placed(batch["points"])
        parts = self.piecewise(field, points)
        if self.training and self._due is not None:
            self._adapt(field, points, parts, self._due)
            self._due = None
        shares = {name: self.share(name, points[name.partition(":")[0]]) for name in parts}
        return torch.cat([(part * shares[name]).flatten() for name, part in parts.items()])

    def placed(self, points: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Points of a batch, in training where in time its course wants them."""
        if not self.training or self.time_course is None:
            return points
        fixed = {f"{TIME}-", f"{TIME}+", *(name for name, _ in observations(self.problem))}
        found = dict(points)
        for name in points.keys() - fixed:
            found[name] = points[name].clone()
            found[name][:, self._time] = self.time_course.place(points[name][:, self._time])
        return found

    def _adapt(
        self, field: Field, points: Mapping[str, Tensor], parts: Mapping[str, Tensor], step: int
    ) -> None:
        """Let weights follow the model; those of times first, for what is balanced has them."""
        if self.time_course is not None:
            initial = [part for name, part in parts.items() if name.startswith(f"{TIME}-:")]
            squares = [self.weight * part.detach().square().sum(1).mean() for part in initial]
            first, residual = points[INSIDE], parts[INSIDE].detach().square().sum(1)
            total = torch.stack([residual.new_zeros(()), *squares]).sum()
            self.time_course.adapt(first[:, self._time], residual, total)
        if self.balance is not None and step % self.balance.every == 0:
            self.balance.adapt(StatementTerms(self, field, points, parts), step)

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
            In the order of the Jacobian's columns, as ``field.NAME`` and ``objective.unknown.free.NAME``.
        batch
            With ``points``.
        """
        residuals, rows = [], []
        placed = self.placed(batch["points"])
        for name, statement in self.statements.items():
            points = placed[name.partition(":")[0]]
            share = self.share(name, points)
            values, slopes = self.slopes(field, statement, points)
            if missing := [key for key in parameters if key not in slopes]:
                expected = "gradients by all parameters from pointwise_gradients, each under its own name"
                raise InvalidInput(f"model {type(field).__name__}", f"none by {', '.join(missing)}", expected)
            flat = [slopes[key].flatten(2) for key in parameters]
            rows.append((share[:, :, None] * torch.cat(flat, dim=2)).flatten(0, 1))
            residuals.append((share * values).flatten())
        return torch.cat(residuals), torch.cat(rows)

    def slopes(
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
                name: p.detach().expand(len(points)).requires_grad_() for name, p in self.unknown.free.items()
            }
            numbers = {name: self.unknown.value(name, free) for name, free in unknown.items()}
            values = statement(places, leaves, self._scalars(statement, points, numbers))
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
                found.setdefault(f"objective.unknown.free.{name}", []).append(slope[:, None])
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
