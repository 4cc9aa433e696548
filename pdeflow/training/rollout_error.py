"""How a predicted trajectory leaves the true one."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes


class RolloutError(Metric):
    r"""By step n: mean over samples of :math:`\|p_n - t_n\| / \|t_n\|`, and the drift of what is conserved.

    The drift is the mean over samples of :math:`|\bar p_n - \bar t_n|`, the difference of the means over
    space, over the root mean square of :math:`t_n`; channels are averaged. A sample that has diverged counts
    with its last finite state, and in ``diverged``, the share of samples that have by the end.
    """

    full_state_update = False
    higher_is_better = False
    error: Tensor
    drift: Tensor
    diverged: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # The first two become one number a step with the first batch.
        for name in ("error", "drift", "diverged", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> None:
        """Take a batch in: ``(batch, steps, channels, *grid.shape)``, NaN where a sample has diverged.

        On meshes (nodes, steps, channels); nodes count by the area they stand for.
        """
        lost = _means((~torch.isfinite(prediction[:, -1:])).double(), grid).flatten(1)
        self.diverged = self.diverged + (lost > 0).any(1).sum()
        prediction, target = held(prediction).double(), target.double()
        error, square = prediction - target, _means(target.square(), grid)
        relative = (_means(error.square(), grid).sum(2) / square.sum(2)).sqrt()
        self.error = self.error + relative.sum(0)
        self.drift = self.drift + (_means(error, grid).abs() / square.sqrt()).mean(2).sum(0)
        self.count = self.count + len(relative)

    def compute(self) -> dict[str, Tensor]:
        """``diverged``, ``l2_last``, ``drift_last``; curves ``rollout_l2``, ``rollout_drift``, (steps,)."""
        error, drift = self.error / self.count, self.drift / self.count
        last = {"l2_last": error[-1], "drift_last": drift[-1], "diverged": self.diverged / self.count}
        return last | {"rollout_l2": error, "rollout_drift": drift}


def _means(u: Tensor, grid: Grid | MeshNodes) -> Tensor:
    """Means over the domain of every state and channel, (samples, steps, channels)."""
    if isinstance(grid, MeshNodes):
        return grid.mean(u.flatten(1)).unflatten(1, u.shape[1:])
    return u.flatten(3).mean(3)


def held(trajectory: Tensor) -> Tensor:
    """The last finite state in place of what follows it; zeros where there is none.

    Parameters
    ----------
    trajectory
        ``(batch, steps, channels, *shape)``; on meshes (nodes, steps, channels).
    """
    finite = torch.isfinite(trajectory).flatten(2).all(2)
    steps = torch.arange(trajectory.shape[1], device=trajectory.device)
    last = torch.where(finite, steps, -1).cummax(dim=1).values
    rows = torch.arange(len(trajectory), device=trajectory.device)[:, None]
    filled = trajectory[rows, last.clamp(min=0)]
    return torch.where((last >= 0).view(*last.shape, *(1,) * (trajectory.ndim - 2)), filled, 0.0)
