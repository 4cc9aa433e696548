"""Learning from the equation itself: the residual of a problem on the operator's grid."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg.trigonometric import PERIODIC, Ends
from pdeflow.problems import Evolution, MeshProblem, Problem
from pdeflow.problems.closed_grid import cell_shares, closed_ends, closed_grid, interior
from pdeflow.problems.discretise import boundary_extension
from pdeflow.training.laplacian_modes import laplacian_modes
from pdeflow.training.losses import Loss
from pdeflow.training.objective import Objective

Norm = Literal["H-1", "L2"]


class Residual(Objective):
    r"""The relative residual of a steady problem at the prediction, added to a loss or alone.

    With R the residual of the statement by finite differences on the grid of the batch (the same with which
    `Problem.discretise` makes the solver's matrix) and :math:`u_0` the Dirichlet values continued by 0,

    .. math:: \text{weight} \Big( \frac{\|R(u)\|}{\|R(u_0)\|} + \text{boundary}
              \frac{\|u - u_0\|_{\partial\Omega}}{\sqrt{L}\, \|R(u_0)\|_{-1}} \Big)
              + \text{loss}(u, \text{target}),

    a sample, then the mean of the batch. L is the longest side of the box; :math:`\|R(u_0)\|_{-1}`, the size
    of the solution's first derivatives where the diffusivity is 1, stands for the size of u. Where neither
    values nor the equation fix the level of u, its mean stands in for the boundary values.

    In the norm of :math:`H^{-1}`, :math:`\|r\|^2 = (r, (-\Delta)^{-1} r)`, worked out by sine, cosine or
    Fourier modes as the sides are, the residual of a second-order equation measures the error of the first
    derivatives, whatever the grid; in L2 the high modes of the error weigh with the square of their number,
    and training is slow. The problem's parameters are read from the input channels of their names; those that
    are the same for all samples may be missing there. Computed in float64.

    Parameters
    ----------
    problem
        The statement: a steady problem with one real unknown.
    norm
        ``"H-1"`` or ``"L2"``.
    weight
        Of the residual beside the loss.
    boundary
        Of the values on sides with a Dirichlet condition.
    loss
        Of prediction and target; null to learn without labels, which then only serve to validate.

    Raises
    ------
    InvalidInput
        For a problem in time, on meshes, or with a complex unknown; a weight that is not positive; and on a
        call, if a parameter is no input, or the grid is not that of the problem's domain.

    References
    ----------
    Z. Li et al., "Physics-informed neural operator for learning partial differential equations", 2021
    (arXiv:2111.03794); in negative norms S. Cao et al., "Spectral-Refiner", ICLR 2025 (arXiv:2405.17211).
    """

    def __init__(
        self,
        problem: Problem,
        norm: Norm = "H-1",
        weight: float = 1.0,
        boundary: float = 1.0,
        loss: Loss | None = None,
    ) -> None:
        super().__init__()
        several = len(problem.fields) > 1
        if isinstance(problem, (Evolution, MeshProblem)) or problem.complex_valued or several:
            name = type(problem).__name__
            raise InvalidInput("objective.problem", name, "a steady problem on a grid, with one real unknown")
        if norm not in get_args(Norm):
            raise InvalidInput("objective.norm", norm, "H-1 or L2", choices=get_args(Norm))
        for key, value in (("weight", weight), ("boundary", boundary)):
            if not value > 0:
                raise InvalidInput(f"objective.{key}", value, "a positive number")
        self.problem, self.norm, self.weight, self.boundary = problem, norm, weight, boundary
        self.loss = loss

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """The loss of the batch."""
        total = self.weight * self._physics(prediction, batch)
        if self.loss is not None:
            total = total + self.loss(prediction, batch["target"], batch["grid"])
        return total

    def _physics(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        grid = batch["grid"]
        if not isinstance(grid, Grid):
            raise InvalidInput("objective", "Residual", "Supervised, for the data are on meshes")
        if "state" in batch:
            raise InvalidInput("objective", "Residual", "Rollout, for the data are trajectories")
        values = batch["input"].double()
        if prediction.shape[1] != 1:
            raise InvalidInput("data.targets", prediction.shape[1], f"one, {self.problem.fields[0]!r}")
        known = self.problem.parameters
        given = {name: values[:, k] for k, name in enumerate(batch["names"]) if name in known}
        u = prediction[:, 0].double()
        functions = self.problem.parameters_on_grid(grid, given, torch.float64, u.device)
        start = boundary_extension(self.problem, grid, functions, u.device)
        residual = self.problem.residual_on_grid(u, grid, given)
        alone = self.problem.residual_on_grid(start.expand_as(u), grid, given)
        closed = closed_grid(self.problem, grid)
        square = squared_h_minus_1 if self.norm == "H-1" else squared_residual
        relative = (square(residual, closed) / square(alone, closed)).sqrt()
        outside = torch.ones(grid.shape, dtype=torch.bool, device=u.device)
        outside[interior(closed)[1:]] = False
        if bool(outside.any()):
            # Sums over nodes: the spacing turns the one over the boundary and that over cells into integrals.
            missed = (u - start)[:, outside].square().sum(1)
            length = max(high - low for low, high in zip(grid.lower, grid.upper))
            size = squared_h_minus_1(alone, closed) * length * min(grid.spacing)
            relative = relative + self.boundary * (missed / size).sqrt()
        elif self._floats(start, alone, grid, given):
            # Nothing else says what the mean of u is; data sets have that of integral 0.
            size = squared_h_minus_1(alone, closed) / u[0].numel()
            relative = relative + self.boundary * u.flatten(1).mean(1).abs() / size.sqrt()
        return relative.mean().to(prediction.dtype)

    def _floats(self, start: Tensor, alone: Tensor, grid: Grid, given: dict[str, Tensor]) -> bool:
        """Whether the residual does not see constants."""
        shifted = self.problem.residual_on_grid((start + 1.0).expand(len(alone), *grid.shape), grid, given)
        return bool((shifted - alone).abs().max() <= 1e-9 * alone.abs().max())


def squared_residual(residual: Tensor, grid: Grid) -> Tensor:
    """Sum over cells of ``r^2``, ``(batch,)``, of residuals (batch, *unknowns) that are weighted by cells."""
    shares = cell_shares(grid, residual.dtype, residual.device)
    return (residual.square() / shares).flatten(1).sum(1)


def squared_h_minus_1(residual: Tensor, grid: Grid) -> Tensor:
    r"""Sum over cells of :math:`r (-\Delta_h)^{-1} r`, as `squared_residual`.

    The Laplacian has zero values on sides with a Dirichlet condition, zero slopes on the closed ones. Where
    it maps constants to zero, they are left out.
    """
    shares = cell_shares(grid, residual.dtype, residual.device)
    ends: list[Ends] = []
    for k, wraps in enumerate(grid.periodic):
        low, high = ("neumann" if closed else "dirichlet" for closed in closed_ends(grid, k))
        ends.append(PERIODIC if wraps else (low, high))
    modes, eigenvalues = laplacian_modes(residual / shares.sqrt(), ends, grid.spacing)
    # A constant has the eigenvalue zero, up to rounding.
    null = eigenvalues <= 1e-12 * eigenvalues.max()
    inverse = torch.where(null, 0.0, 1.0 / torch.where(null, 1.0, eigenvalues))
    return (modes.square() * inverse).flatten(1).sum(1)
