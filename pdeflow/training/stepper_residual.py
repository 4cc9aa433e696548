"""Learning to march from the equation itself: what a trajectory misses of a time stepper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems import Evolution
from pdeflow.problems.etdrk4 import fixed_steps
from pdeflow.problems.spectral_function import coefficients_of, values_of
from pdeflow.problems.spectral_rate import Rate
from pdeflow.training.losses import Loss
from pdeflow.training.objective import Objective
from pdeflow.training.rollout import Rollout
from pdeflow.training.rollout_error import held
from pdeflow.training.sobolev_norm import squared_sobolev


class StepperResidual(Objective):
    r"""The relative residual of a trajectory under the equation's own time stepper, alone or beside a loss.

    With :math:`\Phi` the flow over the time between two states, by ETDRK4 on Fourier series
    (:mod:`pdeflow.problems.etdrk4`), and :math:`u_0` the last state of the input,

    .. math:: \text{weight} \Big(
              \frac{\sum_n \|u_{n+1} - \Phi(u_n)\|_s^2}{\sum_n \|\Phi(u_n)\|_s^2} \Big)^{1/2}
              + \text{loss}(u, \text{target}),

    a sample, then the mean of the batch. Divided by the time step, the numerator is the residual whose time
    derivative is a difference quotient and whose rate is the mean of the stepper's over the step, so that
    steps may be long. The norm is that of :class:`~pdeflow.training.losses.Sobolev`; in :math:`H^{-1}` the
    residual of a vorticity is the size of that of the velocity. The steps of a trajectory are independent of
    one another and computed side by side, with the gradient through :math:`\Phi`. Parameters are read from
    the input channels of their names; those that are the same for all samples may be missing there. Computed
    in float64.

    Parameters
    ----------
    problem
        The statement, an equation in time on a box that wraps around.
    steps
        Steps of ETDRK4 between two states.
    order
        s, from -2 to 2.
    weight
        Of the residual beside the loss.
    loss
        Of predicted and true states; null to learn without labels, which then only serve to validate.

    Raises
    ------
    InvalidInput
        For a steady problem, and numbers out of range; on a call, for batches that are not trajectories on a
        grid, and channels that are not the unknowns of the problem.

    References
    ----------
    S. Cao, F. Brarda, R. Li, Y. Xi, "Spectral-Refiner", ICLR 2025 (arXiv:2405.17211); the stepper instead of
    its derivative at the states, because between these the solution is not resolved in time.
    """

    def __init__(
        self,
        problem: Evolution,
        steps: int = 8,
        order: float = -1.0,
        weight: float = 1.0,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(problem, Evolution):
            expected = "an equation in time on a box that wraps around"
            raise InvalidInput("objective.problem", type(problem).__name__, expected, "Use Residual.")
        if steps < 1:
            raise InvalidInput("objective.steps", steps, "at least 1")
        if not -2 <= order <= 2:
            raise InvalidInput("objective.order", order, "a number from -2 to 2")
        if not weight > 0:
            raise InvalidInput("objective.weight", weight, "a positive number")
        self.problem, self.steps, self.order, self.weight = problem, steps, order, weight
        self.loss = loss
        self.rollout = Rollout()

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Tensor:
        """The states after the input, as `Rollout` marches to them."""
        return self.rollout.predict(step, batch)

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """The loss of the batch; a sample that has diverged counts with its last finite state."""
        if "state" not in batch:
            raise InvalidInput("data", "pairs of input and target", "trajectories", "Use TrajectoryData.")
        if not self.training:
            prediction = held(prediction)
        total = self.weight * self._physics(prediction, batch)
        if self.loss is not None:
            target = batch["target"]
            total = total + self.loss(prediction.flatten(0, 1), target.flatten(0, 1), batch["grid"])
        return total

    def _physics(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        grid, state, channels = batch["grid"], batch["state"], prediction.shape[2]
        if not isinstance(grid, Grid):
            raise InvalidInput("objective", "StepperResidual", "Rollout, for the data are on meshes")
        self.problem.check_grid(grid)
        first = batch["input"][:, None, state - channels : state]
        states = torch.cat([first, prediction[:, :-1]], dim=1).double()
        reached = self.flow(states, batch)
        missed = squared_sobolev((prediction.double() - reached).flatten(0, 1), grid, self.order)
        size = squared_sobolev(reached.detach().flatten(0, 1), grid, self.order)
        ratio = missed.view(states.shape[:2]).sum(1) / size.view(states.shape[:2]).sum(1)
        return ratio.sqrt().mean().to(prediction.dtype)

    def flow(self, states: Tensor, batch: dict[str, Any]) -> Tensor:
        r"""Each state, ``(batch, steps, channels, *shape)``, one time step later: :math:`\Phi(u_n)`."""
        grid, problem, state = batch["grid"], self.problem, batch["state"]
        stepped = tuple(batch["names"][state - states.shape[2] : state])
        if stepped != tuple(problem.fields):
            expected = f"the unknowns of {problem.name}, in their order: {list(problem.fields)}"
            raise InvalidInput("data.fields", list(stepped), expected)
        p = problem.spectral_parameters(grid, self._given(batch, states.shape[1]), states.device)
        for initial in problem.initials:
            del p[initial]
        inner = states.shape[3:] if len(problem.fields) == 1 else states.shape[2:]
        v = coefficients_of(states.reshape(-1, *inner), grid)
        rate = Rate(problem, grid, p, states.device)
        reached = fixed_steps(rate, v, batch["time_step"], 2, self.steps)[:, 1]
        return values_of(reached, grid).reshape(states.shape)

    def _given(self, batch: dict[str, Any], steps: int) -> dict[str, Any]:
        """Those that the batch has, once for each step of a trajectory; the initial fields do not matter."""
        given: dict[str, Any] = dict.fromkeys(self.problem.initials, 0.0)
        for k, name in enumerate(batch["names"]):
            if name in self.problem.parameters and name not in given:
                values = batch["input"][:, k].double()
                if not self.problem.parameters[name].distribution.is_field:
                    values = values.flatten(1)[:, 0]  # a number is stored as a field that does not vary
                given[name] = values.repeat_interleave(steps, 0)
        return given
