"""Time marching: window after window, each of which starts from the end of the one before.

C. L. Wight, J. Zhao, Commun. Comput. Phys. 29 (2021), the second of their approaches in time; A.
Krishnapriyan, A. Gholami, S. Zhe, R. Kirby, M. W. Mahoney, "Characterizing possible failure modes in
physics-informed neural networks", NeurIPS 2021.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, HardConditions, TimeWindows
from pdeflow.problems import Problem
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.initial import TIME
from pdeflow.problems.observed import observations
from pdeflow.training.time_course import KEY, StagedTimeCourse


class TimeMarching(StagedTimeCourse):
    """The networks of a `TimeWindows` are trained one after the other, each at points of its own window.

    All points inside and on sides are moved into the window; the networks of the others stay as they are.
    The field is one, continuous in time, in checkpoints and as a surrogate. The domain is a `Box` or a
    `Cylinder`. Schedules of the learning rate and `Stages` do not begin again in a window but go through the
    run once, so that later windows have only its later rates and stages: take one optimiser at one rate.

    Parameters
    ----------
    steps
        Of the optimiser in a window, unless it stalls before; the last one has all steps that are left.

    Raises
    ------
    InvalidInput
        If there is not at least one step.
    """

    remedy: ClassVar[str] = "Give it more epochs, or fewer steps of a window or windows of the model."

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise InvalidInput(f"{KEY}.steps", steps, "at least 1, of each window")
        super().__init__(steps)
        self.windows = 1

    @property
    def stages(self) -> int:
        """One a window."""
        return self.windows

    def attach(
        self, problem: Problem, residual: CompiledStatement, learned: tuple[str, ...], field: Field
    ) -> None:
        """See :meth:`TimeCourse.attach`: know the windows of a field.

        Raises
        ------
        InvalidInput
            If the field has no windows, or of another time, or they cannot be solved one by one: the equation
            is not of first order in the last coordinate, which has to be time, something is known of later
            times, or a parameter belongs to all of them.
        """
        name = problem.name
        if not isinstance(field, TimeWindows):
            expected = "TimeWindows, whose networks are trained one after the other"
            raise InvalidInput("model", type(field).__name__, expected, f"Or leave out {KEY}.")
        axes = problem.domain.axes
        orders = {index[-1] for index in residual.wanted}
        wrong = None
        if axes[-1] != TIME:
            wrong = f"the coordinates {', '.join(axes)}"
        elif max(orders) != 1:
            wrong = f"time derivatives up to order {max(orders)}"
        elif next(observations(problem), None) is not None:
            wrong = "observed values"
        elif learned:
            wrong = f"unknown parameters ({', '.join(learned)})"
        elif any(f"{TIME}+" in c.sides(problem.domain) for c in problem.conditions):
            wrong = f"conditions on {TIME}+"
        if wrong is not None:
            got = f"TimeMarching for {name}, which has {wrong}"
            expected = f"first order in time, the last coordinate {TIME}, and nothing known of later times"
            raise InvalidInput(KEY, got, expected, "Take CausalWeights or GrowingTime.")
        given, own = (field.lower[-1], field.upper[-1]), (self.start, self.stop)
        if any(abs(a - b) > 1e-9 * (self.stop - self.start) for a, b in zip(given, own)):
            got = f"TimeWindows from {TIME} = {given[0]:g} to {given[1]:g}"
            expected = f"windows from {own[0]:g} to {own[1]:g}, as {name} has it"
            raise InvalidInput("model", got, expected, "Set the last numbers of model.lower and model.upper.")
        self.windows = field.windows

    def begin_step(self, step: int, model: Field) -> None:
        """See :meth:`Course.begin_step`: the network of the current window alone is trained."""
        super().begin_step(step, model)
        network = model.network if isinstance(model, HardConditions) else model
        assert isinstance(network, TimeWindows)
        network.train_window(self.stage)

    def place(self, times: Tensor) -> Tensor:
        """See :meth:`TimeCourse.place`."""
        before = (self.stop - self.start) * self.stage
        return self.start + (before + times - self.start) / self.windows

    def progress(self) -> dict[str, Tensor]:
        """See :meth:`Course.progress`."""
        return {"window": torch.tensor(self.stage + 1)}
