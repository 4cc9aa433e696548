"""Learning to march in time: every prediction becomes an input of the next step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators.march import march, march_on_nodes, on_graph
from pdeflow.training.losses import Loss, RelativeL2
from pdeflow.training.objective import Objective
from pdeflow.training.rollout_error import held


class Rollout(Objective):
    """The mean over the steps of the loss between predicted and true state, for `TrajectoryData` and
    `SparseTrajectoryData`.

    The prediction for a batch marches from its input as far as its target reaches: ``horizon`` steps in
    training, the whole trajectory in validation and test. There a sample that leaves all bounds is stopped
    (see :func:`~pdeflow.operators.march.march`) and counts as ``diverged``, and in the loss with its last
    finite state. On nodes of meshes all this is as on grids; in a loss they count by the area they stand for.

    Parameters
    ----------
    loss
        Of one step, such as RelativeL2 (L2 for short), H1 or Sobolev; RelativeL2 where it is null.
    pushforward
        In training no gradient goes through the steps before the last, which alone is in the loss: the model
        learns from states that have its own errors (J. Brandstetter, D. Worrall, M. Welling, "Message
        passing neural PDE solvers", ICLR 2022). Otherwise the gradient goes through all steps.
    noise
        Standard deviation of normal noise on the states of the input in training, not on those predicted from
        them, in units of the deviation of each channel over the batch (A. Sanchez-Gonzalez et al., ICML
        2020).

    Raises
    ------
    InvalidInput
        For a negative noise, for batches that are not trajectories, and for a push forward in training of
        one step.
    """

    def __init__(self, loss: Loss | None = None, pushforward: bool = False, noise: float = 0.0) -> None:
        super().__init__()
        if not noise >= 0:
            raise InvalidInput("objective.noise", noise, "a number that is not negative")
        self.loss = loss if loss is not None else RelativeL2()
        self.pushforward, self.noise = pushforward, noise

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Tensor:
        """The states after the input, ``(batch, steps, channels, *shape)``.

        On meshes (nodes, steps, channels).
        """
        if "state" not in batch:
            raise InvalidInput("data", "pairs of input and target", "trajectories", "Use TrajectoryData.")
        x, (steps, channels) = batch["input"], batch["target"].shape[1:3]
        if self.training and self.pushforward and steps == 1:
            expected = "data.horizon of at least 2: the push forward is through the steps before the last"
            raise InvalidInput("objective.pushforward", True, expected)
        if not isinstance(x, Tensor):
            if not self.training:
                return march_on_nodes(step, x, batch["grid"].samples, batch["state"], steps, channels)
            x, step = x.x, on_graph(step, x)
        past, constants = x[:, : batch["state"]], x[:, batch["state"] :]
        if not self.training:
            return march(step, past, constants, steps, channels)
        if self.noise:
            others = (0, *range(2, past.ndim))
            past = past + self.noise * past.std(others, keepdim=True) * torch.randn_like(past)
        states = []
        for left in range(steps - 1, -1, -1):
            with torch.set_grad_enabled(torch.is_grad_enabled() and not (self.pushforward and left)):
                states.append(step(torch.cat([past, constants], dim=1)))
            past = torch.cat([past[:, channels:], states[-1]], dim=1)
        return torch.stack(states, dim=1)

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """The loss of the batch; a sample that has diverged counts with its last finite state."""
        target, grid = batch["target"], batch["grid"]
        if not self.training:
            prediction = held(prediction)
        if self.training and self.pushforward:
            prediction, target = prediction[:, -1:], target[:, -1:]
        if isinstance(grid, MeshNodes):
            steps = zip(prediction.unbind(1), target.unbind(1))
            return torch.stack([self.loss(state, truth, grid) for state, truth in steps]).mean()
        return self.loss(prediction.flatten(0, 1), target.flatten(0, 1), grid)
