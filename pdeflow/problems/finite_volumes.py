r"""Finite volumes for :math:`u_t + f(u)_x = K(u)_{xx}`, a batch at a time, each sample with steps of its own.

Convection: MUSCL and the HLLE flux (`muscl.py`), the strong-stability-preserving Runge-Kutta method of third
order (S. Gottlieb, C.-W. Shu, E. Tadmor, SIAM Review 43, 2001). Diffusion: backward Euler, after the
convection of the same step (`nonlinear_diffusion.py`). Second order where a solution is smooth and nothing
diffuses; first order, in the L1 norm, at shocks and fronts, and in time where it diffuses.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems.calculus import Names
from pdeflow.problems.cell_evolution import CellEvolution
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.evolution import TIME
from pdeflow.problems.muscl import extended, muscl_flux, value_and_slope
from pdeflow.problems.nonlinear_diffusion import backward_euler
from pdeflow.problems.trajectory import Trajectory, check_times

COURANT, COURANT_AIM = 0.5, 0.4
"""Cells that the fastest wave crosses in a step: the most, up to which no new extrema arise, and the aim."""

MOVE, MOVE_AIM = 0.5, 0.25
"""What diffusion changes in a step, over the largest difference of neighbouring cells: the most, and the aim.
A front that does not change its shape moves by so many cells."""

MOST_STEPS = 2**20
"""After which a sample is given up."""

SHORTEST = 1e-13
"""The part of the whole time that no step may be shorter than: its attempts are not finite, or not solved."""

Euler = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From averages and a time, a step of Euler's method, and the rate at which something came in."""

GAUSS = 0.5 / math.sqrt(3.0)
"""Places of the two Gauss points of a cell, in cells from its centre."""


@dataclass(frozen=True)
class CellTrajectory(Trajectory):
    """Cell averages at equidistant instants.

    Parameters
    ----------
    u
        (n, instants, cells), of a system (n, instants, fields, *grid.shape), float64; of a sample that
        failed, as far as it came.
    times
        The instants, from 0 to the end, on the CPU.
    error
        (n,), the largest relative difference over the instants, in L1, to the solution with half as many
        cells and steps of twice the length: about the error of the solution where it converges with first
        order. Of several unknowns that of the worst, relative to its own largest size over the instants,
        since one may pass through 0. Infinite where either has failed.
    steps
        (n,), steps from 0 to the end.
    status
        (n,), values of `pdeflow.linalg.Status`: CONVERGED where the end was reached; MAX_ITERATIONS after
        ``MOST_STEPS`` steps; BREAKDOWN where no step is short enough to be finite and solved.
    inflow
        (n, instants), of a system (n, instants, fields), what has come in through the ends since time 0 and
        not gone out: the mass, the sum of u times the size of a cell, is larger by this than at the start,
        to rounding.
    """

    inflow: Tensor


def evolve(
    law: ConservationLaw,
    grid: Grid,
    parameters: Mapping[str, Any],
    stop: float,
    instants: int = 2,
    *,
    rtol: float = 1e-12,
    device: torch.device | str | None = None,
) -> CellTrajectory:
    """Solve from time 0, with steps that are chosen for each sample and checked when they are done.

    A step in which a wave crosses more than half a cell, or diffusion changes the solution by more than half
    a difference between neighbours, is not taken but shortened.

    Parameters
    ----------
    law
        What to solve.
    grid
        Of the law.
    parameters
        Name to a number or a tensor (n,); the initial field, where the law has one, may be (n, cells) or
        (cells,) averages. Those whose distribution is constant may be left out.
    stop
        The last instant, positive.
    instants
        How many are returned, 0 and ``stop`` included, at equal distances.
    rtol
        Largest residual of an implicit step, relative to the largest value of u.
    device
        Where to compute; by default where the parameters are.

    Raises
    ------
    InvalidInput
        If a number is out of range, the grid is not the law's, or a parameter is a field.
    """
    check_times(stop, instants, rtol)
    law.check_grid(grid)
    law.check_cells(grid)
    numbers, fields, batch = read_parameters(law, grid, parameters, device)
    field = fields.get(law.initial)
    place = next((v.device for v in (*fields.values(), *numbers.values())), device or "cpu")
    fine = Cells(law, numbers, grid.coordinates(device=place)[0], grid.spacing[0], rtol)
    coarse = fine.halved()
    start = fine.start(batch) if field is None else field
    times = torch.linspace(0.0, stop, instants, dtype=torch.float64, device="cpu")
    u, inflow, steps, status = march(fine, start, times.tolist())
    half_start = coarse.start(batch) if field is None else merged_cells(start)
    half, _, _, half_status = march(coarse, half_start, times.tolist())
    size, difference = u.abs().mean(dim=-1), (merged_cells(u) - half).abs().mean(dim=-1)
    relative = torch.where(size > 0, difference / size, difference).amax(dim=1)
    known = (status == int(Status.CONVERGED)) & (half_status == int(Status.CONVERGED))
    error = torch.where(known, relative, torch.inf)
    return CellTrajectory(u, times, error, steps, status, inflow)


def merged_cells(u: Tensor, dim: int = 1) -> Tensor:
    """Means of neighbouring cells, two by two along each of the last ``dim`` axes."""
    for axis in range(-dim, 0):
        u = u.unflatten(axis, (-1, 2)).mean(dim=axis)
    return u


def read_parameters(
    problem: CellEvolution, grid: Grid, parameters: Mapping[str, Any], device: torch.device | str | None
) -> tuple[dict[str, Tensor], dict[str, Tensor], int]:
    """Numbers, (n, 1, ..., 1) with a 1 for each axis, initial fields, (n, *grid.shape), in float64, and n.

    Of an initial field, (n, *grid.shape) or (*grid.shape) are taken; a number for one is among the numbers.

    Raises
    ------
    InvalidInput
        If a shape is another one, the samples are not equally many, or a value is a formula.
    """
    given = problem.complete_parameters(parameters)
    if device is None:
        device = next((v.device for v in given.values() if isinstance(v, Tensor)), torch.device("cpu"))
    ones = (1,) * grid.dim
    numbers: dict[str, Tensor] = {}
    fields: dict[str, Tensor] = {}
    for name, value in given.items():
        if callable(value):
            raise InvalidInput(f"parameter {name!r}", "a formula", "numbers, or the averages over the cells")
        values = torch.as_tensor(value, dtype=torch.float64, device=device)
        # On an interval, what has one axis may be one number a sample or one field for all of them.
        one_axis = values.ndim == grid.dim == 1 and problem.parameters[name].distribution.is_field
        if name in problem.initials and (values.ndim > 1 or one_axis):
            if values.shape[-grid.dim :] != grid.shape or values.ndim > grid.dim + 1:
                raise InvalidInput(f"shape of parameter {name!r}", tuple(values.shape), f"(n, *{grid.shape})")
            fields[name] = values.reshape(-1, *grid.shape)
        elif values.ndim <= 1:
            numbers[name] = values.reshape(-1, *ones)
        else:
            expected = "(n,), one number a sample: only an initial field varies in space"
            raise InvalidInput(f"shape of parameter {name!r}", tuple(values.shape), expected)
    counts = {name: len(value) for name, value in (numbers | fields).items()}
    batch = max(counts.values(), default=1)
    for name, count in counts.items():
        if count not in (1, batch):
            raise InvalidInput(f"samples of parameter {name!r}", count, f"1 or {batch}")
    numbers = {name: value.expand(batch, *ones) for name, value in numbers.items()}
    return numbers, {name: value.expand(batch, *grid.shape) for name, value in fields.items()}, batch


def ssp_rk3(euler: Euler, u: Tensor, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
    """A step of the method of third order made of steps of Euler's method, and what came in during it."""
    first, gain = euler(u, t)
    second, gain_first = euler(first, t + dt)
    second = torch.lerp(u, second, 0.25)
    third, gain_second = euler(second, t + dt / 2)
    return torch.lerp(u, third, 2 / 3), dt * (gain + gain_first + 4 * gain_second) / 6


class Scheme(Protocol):
    """What `march` asks of a discretisation; every (n, 1, ..., 1) has as many axes as the averages."""

    @property
    def dim(self) -> int:
        """How many of the last axes of the averages are those of the grid."""
        ...

    def crossing(self, u: Tensor, t: Tensor) -> Tensor:
        """The time in which the fastest wave crosses a cell, (n, 1, ..., 1); infinite where nothing moves."""
        ...

    def advance(self, u: Tensor, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A step, what came in, the step that would have been allowed, and that the next should be.

        What came in has a 1 for each axis of the grid. A step that must not be taken allows half of itself.
        """
        ...


@dataclass(frozen=True)
class Cells:
    """A law on equal cells.

    Parameters
    ----------
    law
        What it obeys.
    p
        Its parameters, (n, 1) each.
    centres
        Of the cells, (cells,).
    width
        Of a cell.
    rtol
        As of :func:`evolve`.
    """

    law: ConservationLaw
    p: Mapping[str, Tensor]
    centres: Tensor
    width: float
    rtol: float

    @property
    def dim(self) -> int:
        """1: an interval."""
        return 1

    def halved(self) -> Cells:
        """The same domain in half as many cells, each two of these."""
        return Cells(self.law, self.p, merged_cells(self.centres), 2 * self.width, self.rtol)

    def _at(self, **coordinates: Any) -> tuple[Names, Names]:
        return Names("coordinate", coordinates), Names("parameter", self.p)

    def start(self, batch: int) -> Tensor:
        """Averages of the law's start, (batch, cells), by two Gauss points a cell."""
        (axis,), parts = self.law.domain.axes, []
        for side in (-GAUSS, GAUSS):
            at, p = self._at(**{axis: self.centres + side * self.width, TIME: 0.0})
            value = torch.as_tensor(self.law.start(at, p), dtype=torch.float64, device=self.centres.device)
            parts.append(value.expand(batch, len(self.centres)))
        return (parts[0] + parts[1]) / 2

    def ends(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Boundary values at the times (n, 1)."""
        if self.law.wraps:
            return t, t  # never looked at
        (axis,), values = self.law.domain.axes, []
        for (place,) in (self.law.domain.lower, self.law.domain.upper):
            at, p = self._at(**{axis: place, TIME: t})
            value = torch.as_tensor(self.law.boundary(at, p), dtype=torch.float64, device=t.device)
            values.append(value.expand_as(t))
        return values[0], values[1]

    def flux(self, u: Tensor) -> Tensor:
        """f(u)."""
        return self.law.flux(u, Names("parameter", self.p))

    def potential(self, u: Tensor) -> Tensor:
        """K(u)."""
        return self.law.potential(u, Names("parameter", self.p))

    @functools.cached_property
    def carries(self) -> bool:
        """Whether there is a convective flux."""
        return self.law.flux(self.centres[None], Names("parameter", self.p)) is not None

    @functools.cached_property
    def diffuses(self) -> bool:
        """Whether there is diffusion."""
        return self.law.potential(self.centres[None], Names("parameter", self.p)) is not None

    def crossing(self, u: Tensor, t: Tensor) -> Tensor:
        """The time in which the fastest wave crosses a cell, (n, 1); infinite where nothing moves."""
        if not self.carries:
            return torch.full_like(t, math.inf)
        slope = value_and_slope(self.flux, extended(u, *self.ends(t), self.law.wraps))[1]
        return self.width / slope.abs().amax(dim=1, keepdim=True)

    def convect(self, u: Tensor, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """A step of SSP-RK3, and the mass (n, 1) that came in."""
        ratio = dt / self.width

        def euler(v: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
            flux = muscl_flux(self.flux, v, *self.ends(time), self.law.wraps)
            return v - ratio * flux.diff(dim=1), flux[:, :1] - flux[:, -1:]

        return ssp_rk3(euler, u, t, dt)

    def diffuse(self, u: Tensor, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """A step of backward Euler, the mass (n, 1) that came in, and whether it was solved, (n, 1)."""
        ratio = dt / self.width**2
        new, differences, solved = backward_euler(
            self.potential, u, *self.ends(t + dt), ratio, periodic=self.law.wraps, rtol=self.rtol
        )
        return new, dt / self.width * (differences[:, -1:] - differences[:, :1]), solved

    def advance(self, u: Tensor, t: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A step from the times t, (n, 1).

        Returns
        -------
        u
            (n, cells).
        gain
            (n, 1), the mass that came in.
        longest, advised
            (n, 1), the step that would have been allowed, and that the next should be.
        """
        new, gain = u, torch.zeros_like(t)
        longest = advised = torch.full_like(t, math.inf)
        solved = torch.ones_like(t, dtype=torch.bool)
        if self.carries:
            new, gain = self.convect(u, t, dt)
            crossing = self.crossing(new, t + dt)
            longest, advised = COURANT * crossing, COURANT_AIM * crossing
        if self.diffuses:
            before = new
            new, gained, solved = self.diffuse(before, t, dt)
            gain = gain + gained
            change = (new - before).abs().amax(dim=1, keepdim=True)
            jump = extended(new, *self.ends(t + dt), self.law.wraps).diff(dim=1).abs()
            pace = dt * jump.amax(dim=1, keepdim=True) / change
            pace = torch.where(change > 0, pace, math.inf)
            longest, advised = torch.minimum(longest, MOVE * pace), torch.minimum(advised, MOVE_AIM * pace)
        usable = solved & torch.isfinite(new).all(dim=1, keepdim=True) & torch.isfinite(gain)
        shorter = torch.where(usable, torch.minimum(advised, longest), dt / 4)
        return new, gain, torch.where(usable, longest, dt / 2), shorter


def march(scheme: Scheme, start: Tensor, times: list[float]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Averages and what has come in, both (n, instants, ...), the latter without the axes of the grid;
    steps (n,) and status (n,)."""
    u, t = start, start.new_zeros(len(start), *(1,) * (start.ndim - 1))
    entered = start.new_zeros(*start.shape[: start.ndim - scheme.dim], *(1,) * scheme.dim)
    steps = torch.zeros_like(t, dtype=torch.int64)
    status = torch.full_like(t, int(Status.CONVERGED), dtype=torch.int8)
    status[~torch.isfinite(u).flatten(1).all(dim=1).view_as(t)] = int(Status.BREAKDOWN)
    step = COURANT_AIM * scheme.crossing(u, t)
    averages, inflow = [u], [entered]
    for target in times[1:]:
        while True:
            running = (t < target) & (status == int(Status.CONVERGED))
            if not bool(running.any()):
                break
            left = target - t
            pieces = torch.ceil(left / step).clamp(min=1.0)
            dt = torch.where(running, left / pieces, 0.0)
            new, gain, longest, advised = scheme.advance(u, t, dt)
            taken = running & (dt <= longest)
            u, entered = torch.where(taken, new, u), entered + torch.where(taken, gain, 0.0)
            t = torch.where(taken, torch.where(pieces == 1, target, t + dt), t)
            steps = steps + taken
            grown = torch.minimum(advised, 2 * step)
            shortened = torch.maximum(torch.minimum(advised, dt / 2), dt / 10)
            step = torch.where(taken, grown, torch.where(running, shortened, step))
            status[running & ~(step > SHORTEST * times[-1])] = int(Status.BREAKDOWN)
            status[running & (steps >= MOST_STEPS)] = int(Status.MAX_ITERATIONS)
        averages.append(u)
        inflow.append(entered)
    came = torch.stack(inflow, dim=1)
    return (
        torch.stack(averages, dim=1),
        came.reshape(came.shape[: came.ndim - scheme.dim]),
        steps.flatten(),
        status.flatten(),
    )
