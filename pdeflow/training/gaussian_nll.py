"""Learning a mean and a variance from pairs of input and solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.functional import gaussian_nll_loss

from pdeflow.errors import InvalidInput
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators.gaussian_operator import Gaussian
from pdeflow.training.objective import Objective


class GaussianNLL(Objective):
    r"""The negative log likelihood of the solution under independent normal distributions, averaged over
    samples, channels and nodes:

    .. math:: \tfrac12 \left( \log 2\pi\sigma^2 + (t - \mu)^2 / \sigma^2 \right).

    D. A. Nix, A. S. Weigend, ICNN 1994. In physical units, and so negative where deviations are small. On
    meshes the nodes of a sample count by the area they stand for. The operator is one that gives a variance:
    `pdeflow fit` makes it so, by `MeanVariance`.

    Raises
    ------
    InvalidInput
        For another operator, and for data that are trajectories.
    """

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Gaussian:
        """The distribution that the operator gives for the input."""
        if "state" in batch:
            raise InvalidInput("objective", "GaussianNLL", "Rollout, for the data are trajectories")
        return step.distribution(batch["input"])  # pyright: ignore[reportFunctionMemberAccess]

    def forward(self, prediction: Gaussian, batch: dict[str, Any]) -> Tensor:
        """The loss of the batch."""
        (mean, variance), grid = prediction, batch["grid"]
        reduction = "none" if isinstance(grid, MeshNodes) else "mean"
        nll = gaussian_nll_loss(mean, batch["target"], variance, full=True, eps=0.0, reduction=reduction)
        return grid.mean(nll).mean() if isinstance(grid, MeshNodes) else nll
