"""A multigrid cycle whose every piece is a learned convolution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn

from pdeflow.operators.grid_convolution import (
    FULL_WEIGHTING,
    LINEAR_INTERPOLATION,
    Boundary,
    GridConvolution,
    Prolongation,
)

Cycle = Literal["backslash", "v"]

# At first. The sum over the levels then stays of one size however many there are.
COARSER_OVER_FINER = 0.5


class LearnedCycle(nn.Module):
    """``u = V(f)``: one multigrid cycle for ``A u = f`` from the guess zero, linear in f.

    On level l, from l = 1 (finest) to L (coarsest), are the stencils A_l (from u to f) and S_l (from f to u,
    one for each smoothing step), the restrictions R_l and the prolongation P_l. A smoothing step is
    ``u <- u + S_l (f - A_l u)``, and ``u = S_l f`` from zero.

    - ``backslash``, as published: on the way down smooth, then restrict both, ``f <- R_l f`` and
      ``u <- R'_l u``; on the way up only add, ``u_l <- u_l + P_l u_{l+1}``.
    - ``v``, the classical V-cycle: smooth from zero, restrict the residual, ``f <- R_l (f - A_l u)``; on the
      way up add ``P_l u_{l+1}`` and smooth again, with stencils S'_l of their own. On the coarsest level it
      only smooths.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``; ``points`` at least
    ``2^(L-1) + 1`` along each axis.

    It starts as a cycle, channel by channel: restrictions are full weighting, prolongations half of linear
    interpolation, A is zero, and only S is drawn. (Of stencils that are all drawn, as published, the output
    hardly depends on the coarse grids at first, and the less the more levels there are.)

    Parameters
    ----------
    in_channels, out_channels
        Channels of f and of u.
    levels
        Number of grids; see ``coarse_points``.
    boundary
        Condition along each axis; as many as axes.
    cycle
        ``"backslash"`` or ``"v"``.
    smoothing
        Steps on each level, on the way down and, of the V-cycle, on the way up.

    References
    ----------
    He, Liu, Xu: MgNO: efficient parameterization of linear operators via multigrid. ICLR 2024.
    arXiv:2310.19809. Briggs, Henson, McCormick: A multigrid tutorial. 2nd ed., SIAM 2000.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        levels: int,
        boundary: Sequence[Boundary],
        cycle: Cycle = "backslash",
        smoothing: int = 1,
    ) -> None:
        super().__init__()
        self.levels, self.cycle = levels, cycle
        f, u = in_channels, out_channels

        def smoothers(count: int) -> nn.ModuleList:
            return nn.ModuleList(Smoother(f, u, boundary, smoothing) for _ in range(count))

        def operator() -> GridConvolution:
            made = GridConvolution(u, f, boundary)
            nn.init.zeros_(made.weight)
            return made

        def restrictions(channels: int) -> nn.ModuleList:
            made = [GridConvolution(channels, channels, boundary, stride=2) for _ in range(levels - 1)]
            for each in made:
                each.set_each_channel(FULL_WEIGHTING)
            return nn.ModuleList(made)

        prolongations = [Prolongation(u, u, boundary) for _ in range(levels - 1)]
        for each in prolongations:
            each.set_each_channel(LINEAR_INTERPOLATION, COARSER_OVER_FINER)
        self.smoothers = smoothers(levels)
        # By number, because a level whose only step starts from zero needs none.
        self.operators = nn.ModuleDict(
            {str(level): operator() for level in range(levels) if self._has_residual(level, smoothing)}
        )
        self.restrictions = restrictions(f)
        self.prolongations = nn.ModuleList(prolongations)
        if cycle == "v":
            self.post_smoothers = smoothers(levels - 1)
        else:
            self.solution_restrictions = restrictions(u)

    def forward(self, f: Tensor) -> Tensor:
        """Apply the cycle."""
        return self._backslash(f) if self.cycle == "backslash" else self._v(f, 0)

    def _has_residual(self, level: int, smoothing: int) -> bool:
        starts_from_zero = level == 0 or self.cycle == "v"
        residual_restricted = self.cycle == "v" and level < self.levels - 1
        return smoothing > 1 or residual_restricted or not starts_from_zero

    def _residual(self, level: int, f: Tensor, u: Tensor) -> Tensor:
        return f - self.operators[str(level)](u)

    def _backslash(self, f: Tensor) -> Tensor:
        u, solutions = None, []
        for level, smooth in enumerate(self.smoothers):
            if u is not None:
                f, u = self.restrictions[level - 1](f), self.solution_restrictions[level - 1](u)
            u = smooth(f, u, partial(self._residual, level))
            solutions.append(u)
        u = solutions.pop()
        for prolong in reversed(self.prolongations):
            finer = solutions.pop()
            u = finer + prolong(u, finer.shape[2:])
        return u

    def _v(self, f: Tensor, level: int) -> Tensor:
        residual = partial(self._residual, level)
        u = self.smoothers[level](f, None, residual)
        if level == self.levels - 1:
            return u
        coarse = self._v(self.restrictions[level](residual(f, u)), level + 1)
        u = u + self.prolongations[level](coarse, u.shape[2:])
        return self.post_smoothers[level](f, u, residual)


class Smoother(nn.Module):
    """Steps ``u <- u + S (f - A u)``, each with its own stencil S; from zero the first is ``u = S f``."""

    def __init__(
        self, in_channels: int, out_channels: int, boundary: Sequence[Boundary], smoothing: int
    ) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            GridConvolution(in_channels, out_channels, boundary) for _ in range(smoothing)
        )

    def forward(self, f: Tensor, u: Tensor | None, residual: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """The smoothed u; ``residual(f, u)`` is ``f - A u``, and u is None for zero."""
        for S in self.steps:
            u = S(f) if u is None else u + S(residual(f, u))
        assert u is not None  # there is at least one step
        return u
