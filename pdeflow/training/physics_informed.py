"""Learning a solution from its statement: residual and conditions at points.

M. Raissi, P. Perdikaris, G. E. Karniadakis, "Physics-informed neural networks", J. Comput. Phys. 378 (2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, FourierFeatures, JoinedFields, Lagrangian
from pdeflow.fields.lagrangian import transport_velocity
from pdeflow.fields.operator_preconditioner import symbol_preconditioner
from pdeflow.problems import Problem, symbolic
from pdeflow.problems.compiled_statement import CompiledStatement, compile_residual
from pdeflow.problems.initial import TIME
from pdeflow.problems.observed import observations
from pdeflow.training.bounded_numbers import BoundedNumbers
from pdeflow.training.course import Course
from pdeflow.training.curriculum import Curriculum
from pdeflow.training.hard_values import check_corners, hard_field
from pdeflow.training.interfaces import InterfaceConditions
from pdeflow.training.loss_balancing import LossBalance
from pdeflow.training.missing_conditions import warn_of_missing
from pdeflow.training.objective import Objective
from pdeflow.training.statement_slopes import StatementSlopes
from pdeflow.training.statement_terms import StatementTerms
from pdeflow.training.statements import (
    bounds_of,
    check_statement,
    check_unknown,
    condition_statements,
    given_values,
    observed_statement,
    statement_name,
)
from pdeflow.training.time_course import TimeCourse

INSIDE = "inside"

AT_ONCE = 2**23
"""Numbers of a Jacobian that are formed together where it is not wanted as a whole: 64 MiB."""

Axes = Mapping[str, Sequence[Tensor]]
"""Of sets of points that are products, by name, the coordinates (n,) along each axis."""


class PhysicsInformed(Objective):
    r"""Mean squares of the residual inside and of the conditions on the sides; of systems, of each equation.

    .. math:: \frac1N \sum_i |R(u)(x_i)|^2 + \text{weight} \sum_{\text{sides}} \frac1M \sum_j |B(u)(y_j)|^2.

    Parameters
    ----------
    problem
        The statement. Its parameters are numbers or fixed fields; a function that is to be found is one of
        its ``coefficients`` (:class:`~pdeflow.problems.Coefficient`).
    hard
        Whether values that are given on sides are met by the form of the field
        (:class:`~pdeflow.fields.HardConditions`) rather than learned. Conditions on derivatives across a side
        are learned in any case.
    weight
        Of the conditions that are learned, those which join the networks of `Subdomains` among them.
    unknown
        Names of parameters that are to be found too, with the numbers to start from; logged as
        ``valid/<name>``. They stay within the bounds of their distributions.
    wanted_residual
        Training ends once the root of the loss at the points that are held back is this small; by default it
        ends with the epochs.
    precondition
        Whether to divide the waves of a `FourierFeatures` by the symbol of the operator
        (:mod:`~pdeflow.fields.operator_preconditioner`); the condition numbers before and after are told.
        The theory is of sums of waves: with ``widths`` nothing is told, and it may not help.
    balance
        How the terms of the loss weigh against each other while training; as above by default.
    time_course
        How training goes through time: `CausalWeights`, `GrowingTime`, `TimeMarching`; by default all of it
        counts at once. Validation goes by the loss above in any case.
    curriculum
        A parameter that goes from an easy number to its own while training, instead of a course in time.

    Raises
    ------
    InvalidInput
        If the statement is not one that points can be asked of, leaves out an unknown, names a coordinate
        that there is not, needs a parameter that has no one value, contains no parameter that is to be found,
        or gives values on two sides that contradict each other where these meet (where ``hard``; else a
        warning). Of sides that need a condition and have none there is a warning. If a system has not as many
        equations as unknowns, or a condition does not say which of them it is of. If there is nothing to
        balance, no time that a course can go through, or a curriculum beside that.
    """

    monitor: ClassVar[str] = "valid/loss"

    def __init__(
        self,
        problem: Problem | None = None,
        hard: bool = True,
        weight: float = 10.0,
        unknown: dict[str, float] | None = None,
        wanted_residual: float | None = None,
        precondition: bool = False,
        balance: LossBalance | None = None,
        time_course: TimeCourse | None = None,
        curriculum: Curriculum | None = None,
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
        self.wanted_residual, self.precondition = wanted_residual, precondition
        unknown = unknown or {}
        check_statement(problem, unknown)
        self.unknown = BoundedNumbers(unknown, {name: bounds_of(problem, name) for name in unknown})
        self.time_course, self.curriculum = time_course, curriculum
        if time_course is not None:
            time_course.begin(problem)
            self._time = time_course.axis
        if curriculum is not None:
            curriculum.begin(problem, unknown, time_course)
        moving = [] if curriculum is None else [curriculum.parameter]
        known = problem.complete_parameters({name: symbolic.parameter(name) for name in (*unknown, *moving)})
        self._slopes = StatementSlopes(problem.coordinates, self.unknown, curriculum)
        self.statements: dict[str, CompiledStatement] = {INSIDE: compile_residual(problem, known)}
        self.conditions = condition_statements(problem, known)
        check_unknown(problem, [self.statements[INSIDE], *self.conditions.values()], unknown)
        warn_of_missing(problem, self.statements[INSIDE])
        for name, observed in observations(problem):
            observed.check(problem.domain)
            for of in observed.unknowns(problem.fields):
                name_of = statement_name(problem, f"{name}:value", of)
                self.conditions[name_of] = observed_statement(problem, of)
        # What the form of a field has does not move: there a curriculum's parameter is as it is stated.
        stated = problem.complete_parameters({name: symbolic.parameter(name) for name in unknown})
        given = {name: given_values(problem, name, stated) for name in problem.fields}
        check_corners(problem, given, self.unknown, hard)
        self._held = {name: values for name, values in given.items() if values and hard}
        met = {
            statement_name(problem, f"{side}:{kind}", name)
            for name, values in self._held.items()
            for side in values
            for kind in ("value", "rate")
        }
        self.statements |= {name: part for name, part in self.conditions.items() if name not in met}
        if curriculum is not None:
            curriculum.check_read(self.statements.values())
        self.interfaces: InterfaceConditions | None = None
        self.balance, self._due = balance, None
        if balance is not None:
            balance.begin(len(self.statements))

    def join(self, field: Field) -> None:
        """Ask too that the networks of a field meet, where it is made of several; see `InterfaceConditions`.

        Raises
        ------
        InvalidInput
            If the problem has an interface where the field is one.
        """
        for name in () if self.interfaces is None else self.interfaces.statements:
            del self.statements[name], self.conditions[name]
        self.interfaces = InterfaceConditions(self.problem, self.statements[INSIDE], field)
        self.statements |= self.interfaces.statements
        self.conditions |= self.interfaces.statements
        if self.balance is not None and len(self.balance.weights) != len(self.statements):
            self.balance.begin(len(self.statements))

    @property
    def _course(self) -> Course | None:
        return self.curriculum if self.time_course is None else self.time_course

    def satisfied(self, loss: float) -> bool:
        """Whether the validation loss is as small as is wanted."""
        return self.wanted_residual is not None and math.sqrt(loss) <= self.wanted_residual

    def found(self) -> dict[str, Tensor]:
        """The unknown parameters, as they are now."""
        return {name: value.detach() for name, value in self.unknown.values().items()}

    def begin_step(self, model: nn.Module, step: int) -> None:
        """See `Objective.begin_step`: the first evaluation of the step adapts weights."""
        self._due = step
        if self._course is not None:
            assert isinstance(model, Field)
            self._course.begin_step(step, model)

    @property
    def changes(self) -> bool:
        """See `Objective.changes`."""
        return self.balance is not None or self._course is not None

    def advance(self, step: int) -> str | None:
        """See `Objective.advance`."""
        return None if self._course is None else self._course.advance(step)

    def ended(self, loss: float) -> None:
        """Say what of its course training has not come to, and which unknown parameters are at a bound."""
        if self._course is not None and not self.satisfied(loss):  # which is of the statement as it is
            self._course.tell()
        self.unknown.tell()

    def progress(self) -> dict[str, Tensor]:
        """Weights of the terms, and how far training has come on its course."""
        found = {} if self._course is None else self._course.progress()
        if self.balance is not None:
            found |= {f"weight of {name}": w for name, w in zip(self.statements, self.balance.weights)}
        return found

    def constrain(self, network: Field) -> Field:
        """The field within its bounds that meets given values, where ``hard``; its waves preconditioned.

        Raises
        ------
        InvalidInput
            If it has not as many components as the problem has unknowns, or no waves to precondition.
        """
        fields = self.problem.fields
        if network.out_channels != len(fields):
            expected = f"{len(fields)}, as many as the unknowns {', '.join(fields)} of {self.problem.name}"
            hint = f"Say {type(network).__name__}(..., components={len(fields)})."
            if isinstance(network, JoinedFields):
                hint = "They are those of all its parts: one each, or as many as its components says."
            raise InvalidInput("model.components", network.out_channels, expected, hint)
        self.join(network)
        if self.balance is not None and len(self.statements) == 1:
            expected = f"none, for {self.problem.name} leaves no conditions to learn"
            hint = "Leave the key out, or learn the conditions: objective.init_args.hard: false."
            raise InvalidInput("objective.balance", type(self.balance).__name__, expected, hint)
        if self.precondition:
            self._rescale(network)
        if isinstance(network, Lagrangian) and network.velocity is None:
            network.follow(transport_velocity(self.problem, self._start()))
        if self.time_course is not None:
            residual, unknown = self.statements[INSIDE], tuple(self.unknown.start)
            self.time_course.attach(self.problem, residual, unknown, network)
        return hard_field(self.problem, self._held, network, self.unknown.values)

    def _rescale(self, network: Field) -> None:
        """Precondition the waves of a field, with unknown parameters as they are at the start."""
        if not isinstance(network, FourierFeatures):
            expected = f"false for {type(network).__name__}: symbols are of waves"
            hint = "Take the model FourierFeatures, or LevenbergMarquardt, which preconditions any model."
            raise InvalidInput("objective.precondition", True, expected, hint)
        network.rescale(symbol_preconditioner(self.problem, network.wave_vectors, self._start()))

    def _start(self) -> dict[str, Any]:
        """All parameters by name, unknown ones as they are: at the start, where the field is made."""
        return self.problem.complete_parameters({name: float(p) for name, p in self.found().items()})

    def piecewise(
        self, field: Field, points: Mapping[str, Tensor], axes: Axes | None = None
    ) -> dict[str, Tensor]:
        """Residuals (N, parts) of each statement at its points, ``{"inside": (N, d), "x-": ...}``.

        Of sets of points that are products of axes, (n,) each, these may be given too.
        """
        found = {}
        for name, statement in self.statements.items():
            side, asked = name.partition(":")[0], self._asked_of(name, field)
            found[name] = self._slopes.values(asked, statement, points[side], (axes or {}).get(side))
        return found

    def _asked_of(self, name: str, field: Field) -> Field:
        """What a statement is about: the field, or its jump across an interface."""
        return field if self.interfaces is None else self.interfaces.asked_of(name, field)

    def residual(self, field: Field, points: Tensor) -> Tensor:
        """The equation's residual (N, equations) at points (N, d)."""
        return self._slopes.values(field, self.statements[INSIDE], points)

    def condition_residuals(self, field: Field, points: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As `piecewise`, of all conditions, those that the form of the field meets included."""
        return {
            name: self._slopes.values(self._asked_of(name, field), statement, points[name.partition(":")[0]])
            for name, statement in self.conditions.items()
        }

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
        parts = self.piecewise(field, points, self.placed_axes(batch))
        if self.training and self._due is not None:
            self._adapt(field, points, parts, self._due)
            self._due = None
        shares = {name: self.share(name, points[name.partition(":")[0]]) for name in parts}
        return torch.cat([(part * shares[name]).flatten() for name, part in parts.items()])

    def placed(self, points: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Points of a batch, in training where in time its course wants them."""
        if not self.training or self.time_course is None:
            return points
        found = dict(points)
        for name in points.keys() - self._fixed_in_time():
            found[name] = points[name].clone()
            found[name][:, self._time] = self.time_course.place(points[name][:, self._time])
        return found

    def placed_axes(self, batch: Mapping[str, Any]) -> Axes:
        """The axes of those sets of points that are products, as `placed` moves them."""
        axes: Axes = batch.get("axes", {})
        if not self.training or self.time_course is None:
            return axes
        fixed, place = self._fixed_in_time(), self.time_course.place
        return {
            name: [place(x) if k == self._time and name not in fixed else x for k, x in enumerate(along)]
            for name, along in axes.items()
        }

    def _fixed_in_time(self) -> set[str]:
        fixed = {f"{TIME}-", f"{TIME}+", *(name for name, _ in observations(self.problem))}
        places = {} if self.interfaces is None else self.interfaces.places
        return fixed | {name for name, (axis, _) in places.items() if axis == self._time}

    def _adapt(
        self, field: Field, points: Mapping[str, Tensor], parts: Mapping[str, Tensor], step: int
    ) -> None:
        """Let weights follow the model; those of times first, for what is balanced has them."""
        if self.time_course is not None:
            initial = [name for name in parts if name.startswith(f"{TIME}-:")]
            squares = [
                (parts[name].detach() * self.share(name, parts[name])).square().sum() for name in initial
            ]
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
        residuals, names = [], tuple(parameters)
        placed, axes = self.placed(batch["points"]), self.placed_axes(batch)
        sides = {name: name.partition(":")[0] for name in self.statements}
        counts = [len(placed[side]) * self.statements[name].parts for name, side in sides.items()]
        columns = sum(p.numel() for p in parameters.values())
        # Written where it stays: copies of it would take as long as its numbers.
        jacobian = placed[INSIDE].new_empty(sum(counts), columns)
        for (name, side), rows in zip(sides.items(), jacobian.split(counts)):
            statement, points = self.statements[name], placed[side]
            share = self.share(name, points)
            values, _ = self._slopes.jacobian(
                self._asked_of(name, field),
                statement,
                points,
                names,
                axes.get(side),
                share,
                rows.unflatten(0, (len(points), statement.parts)),
            )
            residuals.append((share * values).flatten())
        return torch.cat(residuals), jacobian

    def jacobians(
        self, field: Field, name: str, points: Tensor, parameters: Mapping[str, Tensor]
    ) -> Iterator[Tensor]:
        """The Jacobian of a statement, not weighted, some points (n, parts, P) after the other.

        Not more than `AT_ONCE` numbers at a time, for what sums over points; parameters as of `linearised`.
        """
        statement, asked = self.statements[name], self._asked_of(name, field)
        numbers = statement.parts * sum(p.numel() for p in parameters.values())
        for some in points.split(max(1, AT_ONCE // numbers)):
            yield self._slopes.jacobian(asked, statement, some, tuple(parameters))[1]
