r"""Exponential time differencing of fourth order, in Fourier space, a batch of samples at a time.

S. M. Cox, P. C. Matthews, "Exponential time differencing for stiff systems", J. Comput. Phys. 176 (2002);
A.-K. Kassam, L. N. Trefethen, "Fourth-order time-stepping for stiff PDEs", SIAM J. Sci. Comput. 26 (2005).
The coefficients are made of the phi functions of M. Hochbruck, A. Ostermann, "Exponential integrators", Acta
Numerica 19 (2010).

The terms of the rate that are linear in u with coefficients that do not vary in space, read off the statement
itself, are integrated exactly; the rest is what the steps are for. Of several unknowns, each rate has such
terms in its own unknown: what is linear in another one belongs to the rest, and if that is stiff, steps are
short.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems.bandwidth import FULL, band_grid, highest_modes, resized
from pdeflow.problems.compiled_etdrk4 import CompiledLook, CompiledSteps
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.phi_functions import phi_functions
from pdeflow.problems.richardson import extrapolated, next_number
from pdeflow.problems.spectral_function import kept_modes, values_of
from pdeflow.problems.spectral_rate import Rate
from pdeflow.problems.trajectory import Trajectory, check_times
from pdeflow.problems.unknowns import joined

ORDER = 4

FIRST = 0.25
"""What part of the guess the first run takes: too few steps cost little, too many all of them."""

MOST_STEPS = 2**20
"""Steps from time 0 to the end, after which a sample is given up."""

MARGIN = 9 / 8
"""How many more steps are taken than those with which the first samples are stable."""

FIT = 8
"""Steps after which the band is looked at; they are taken again where it has filled up."""

TAIL = 1e-3
"""What is negligible in a mode, in units of the tolerance."""

MOST_GROWTH = 100.0
"""Exponent beyond which it does not matter by how much a mode grows."""

LOOK = 64
"""Steps after which an attempt ends if no sample is finite any more."""


def evolve(
    problem: Evolution,
    grid: Grid,
    parameters: Mapping[str, Any],
    stop: float,
    instants: int = 2,
    *,
    rtol: float = 1e-8,
    fewest: int = 1,
    device: torch.device | str | None = None,
) -> Trajectory:
    """Solve from time 0, with more and more steps until their error is estimated to be below a tolerance.

    Each sample has the steps that it needs, and is extrapolated from its last runs; see
    :mod:`pdeflow.problems.richardson`. The error of the grid is not estimated.

    Parameters
    ----------
    problem
        What to solve.
    grid
        Of the problem's domain.
    parameters
        As in :meth:`~pdeflow.problems.problem.Problem.parameters_on_grid`, the initial fields among them.
    stop
        The last instant, positive.
    instants
        How many are returned, 0 and ``stop`` included, at equal distances.
    rtol
        Largest relative error in time, as estimated.
    fewest
        Steps between two instants below which no run is tried; see `fewest_steps`.
    device
        Where to compute; by default where the parameters are.

    Raises
    ------
    InvalidInput
        If a number is out of range, or a parameter is none of the grid.
    """
    check_times(stop, instants, rtol)
    if fewest < 1:
        raise InvalidInput("fewest", fewest, "at least 1")
    rate, start = _begun(problem, grid, parameters, device)
    return _extrapolated(rate, start, stop, instants, rtol, fewest)


def fewest_steps(
    problem: Evolution,
    grid: Grid,
    parameters: Mapping[str, Any],
    stop: float,
    instants: int = 2,
    *,
    rtol: float = 1e-8,
    device: torch.device | str | None = None,
) -> int:
    """Steps between two instants with which samples such as these are finite to the end; with fewer few are.

    An eighth more, since the limit of stability is not the same for all, than the least of 1, 2, 3, 4, 6, 8,
    12, ... with which half of these are and as many as with the next one; 1 if that is stable, or if it takes
    more than are ever tried. Parameters as of `evolve`.
    """
    check_times(stop, instants, rtol)
    rate, start = _begun(problem, grid, parameters, device)
    interval = stop / (instants - 1)

    def finite(steps: int) -> int:
        return int(_finite(fixed_steps(rate, start, interval, instants, steps, TAIL * rtol)[:, -1]).sum())

    steps, now = 1, finite(1)
    while now < len(start) and 2 * steps * (instants - 1) <= MOST_STEPS:
        more = finite(next_number(steps))
        if more <= now and 2 * now >= len(start):
            break
        steps, now = next_number(steps), more
    return math.ceil(MARGIN * steps) if now and steps > 1 else 1


def _begun(
    problem: Evolution, grid: Grid, parameters: Mapping[str, Any], device: torch.device | str | None
) -> tuple[Rate, Tensor]:
    """The rate, and the coefficients at time 0."""
    problem.check_grid(grid)
    p = problem.spectral_parameters(grid, parameters, device)
    batch = max(len(function.coefficients) for function in p.values())
    for name, function in p.items():
        if len(function.coefficients) not in (1, batch):
            raise InvalidInput(f"samples of parameter {name!r}", len(function.coefficients), f"1 or {batch}")
    starts = [p.pop(name).varying().coefficients for name in problem.initials]
    start = joined([v.expand(batch, *v.shape[1:]) for v in starts])
    return Rate(problem, grid, p, start.device), start


class _Step:
    """Steps of ETDRK4 for a rate and a length."""

    def __init__(self, rate: Rate, h: float) -> None:
        self.rate = rate
        z = h * rate.symbol
        # Of a symbol that is real, as without odd derivatives, the coefficients are.
        self.real = not bool((z.imag != 0).any())
        if self.real:
            z = z.real.contiguous()
        one, two, three = phi_functions(z)
        q = h / 2 * torch.where(z == 0, 1.0, torch.expm1(z / 2) / (z / 2))
        first, middle, last = h * (one - 3 * two + 4 * three), h * (two - 2 * three), h * (4 * three - two)
        self.coefficients = (torch.exp(z), torch.exp(z / 2), q, first, 2 * middle, last)
        self._compiled: CompiledSteps | None = None

    def several(self, v: Tensor, steps: int) -> Tensor:
        """Coefficients after so many steps."""
        rest = self.rate.compiled(v)
        if rest is not None:
            if self._compiled is None:
                self._compiled = CompiledSteps(rest, self.coefficients)
            return self._compiled.advanced(v, steps)
        for _ in range(steps):
            v = self(v)
        return v

    @functools.cached_property
    def _eager(self) -> Sequence[Tensor]:
        """The coefficients; real ones twice, for the real and for the imaginary parts of what they scale."""
        if not self.real:
            return self.coefficients
        return [torch.stack([c, c], dim=-1) for c in self.coefficients]

    def _rest(self, v: Tensor) -> Tensor:
        if not self.real:
            return self.rate.rest(v)
        return torch.view_as_real(self.rate.rest(torch.view_as_complex(v)).resolve_conj())

    def __call__(self, v: Tensor) -> Tensor:
        """Coefficients after one step, in the eager form."""
        if self.real:
            return torch.view_as_complex(self._advanced(torch.view_as_real(v)))
        return self._advanced(v)

    def _advanced(self, v: Tensor) -> Tensor:
        whole, half, q, first, middle, last = self._eager
        n = self._rest(v)
        decayed = half * v
        a = torch.addcmul(decayed, q, n)
        n_a = self._rest(a)
        n_b = self._rest(torch.addcmul(decayed, q, n_a))
        n_c = self._rest((half * a).addcmul_(q, (2 * n_b).sub_(n)))
        result = (whole * v).addcmul_(first, n)
        return result.addcmul_(middle, n_a + n_b).addcmul_(last, n_c)


class _Band:
    """Steps on the modes that are in use; see `pdeflow.problems.bandwidth`."""

    def __init__(self, rate: Rate, h: float, stop: float, tail: float) -> None:
        self.rate, self.h, self.tail, self.grid = rate, h, tail, rate.grid
        self.rates: dict[Grid, Rate] = {rate.grid: rate}
        self.steps: dict[Grid, _Step] = {}
        dim = rate.grid.dim
        known = [highest_modes(f.coefficients.abs(), dim, tail) for f in rate.p.values() if f.varies]
        self.least = tuple(max((k[axis] for k in known), default=0) for axis in range(dim))
        self.stop = stop
        self._gains: dict[Grid, tuple[Tensor, Tensor]] = {}
        self._looks: dict[Grid, CompiledLook] = {}

    def used(self, v: Tensor) -> tuple[int, ...]:
        """The highest modes that these coefficients hold or are about to hold, in the band or not."""
        if not self.tail:
            return kept_modes(self.grid)
        # All that a product can fill; what is not quadratic may fill any.
        grid = self.rate.grid
        if self.rate.quadratic is not None:
            grid = band_grid(grid, [2 * k for k in kept_modes(self.grid)])
        rate, v = self._rate(grid), resized(v, self.grid, grid)
        rest = rate.compiled(v)
        if rest is not None:
            if grid not in self._looks:
                self._looks[grid] = CompiledLook(rest, *self._gain(rate), self.tail)
            found = self._looks[grid].highest(v)
            return tuple(max(k, least) for k, least in zip(found, self.least))
        size, (grows, gathers) = v.abs(), self._gain(rate)
        held = torch.maximum(size * grows, gathers * rate.rest(v).abs())
        axes = tuple(range(-grid.dim, 0))
        largest = size.amax(axes, keepdim=True)
        scale = torch.where(largest > 0, largest, held.amax(axes, keepdim=True))
        found = highest_modes(held, grid.dim, self.tail, scale)
        return tuple(max(k, least) for k, least in zip(found, self.least))

    def _gain(self, rate: Rate) -> tuple[Tensor, Tensor]:
        """By what a mode grows by itself until the end, and the time for which it gathers what it is given.

        As far as that does not decay: (e^{st} - 1) / s at the rate s.
        """
        if rate.grid not in self._gains:
            growth = (self.stop * rate.symbol.real).clamp(max=MOST_GROWTH)
            gathers = torch.where(growth == 0, 1.0, torch.expm1(growth) / growth) * self.stop
            self._gains[rate.grid] = growth.clamp(min=0).exp(), gathers
        return self._gains[rate.grid]

    def full(self, used: Sequence[int]) -> bool:
        """Whether the band has no room above these modes, and there are more."""
        bounds = zip(used, kept_modes(self.grid), kept_modes(self.rate.grid))
        return any(FULL * k > has and has < most for k, has, most in bounds)

    def wider(self, v: Tensor, used: Sequence[int]) -> Tensor:
        """The coefficients on a grid with these modes, at least half as many again; it becomes the band's."""
        return self._moved(v, [max(k, 3 * has // 2) for k, has in zip(used, kept_modes(self.grid))])

    def fitted(self, v: Tensor, used: Sequence[int]) -> Tensor:
        """The coefficients on a grid that suits these modes, where that is a good deal coarser."""
        wanted = kept_modes(band_grid(self.rate.grid, used))
        worth = all(5 * w <= 4 * has for w, has in zip(wanted, kept_modes(self.grid)))
        return self._moved(v, used) if worth else v

    def _moved(self, v: Tensor, highest: Sequence[int]) -> Tensor:
        old, self.grid = self.grid, band_grid(self.rate.grid, highest)
        return resized(v, old, self.grid)

    def _rate(self, grid: Grid) -> Rate:
        if grid not in self.rates:
            self.rates[grid] = self.rate.on(grid)
        return self.rates[grid]

    def advanced(self, v: Tensor, steps: int) -> Tensor:
        """So many steps of coefficients on ``grid``."""
        if self.grid not in self.steps:
            self.steps[self.grid] = _Step(self._rate(self.grid), self.h)
        return self.steps[self.grid].several(v, steps)


def fixed_steps(
    rate: Rate, start: Tensor, interval: float, instants: int, steps: int, tail: float = 0.0
) -> Tensor:
    """Coefficients at the instants, (n, instants, ...), with so many steps between neighbours.

    Modes that hold, grow to, or gather less than ``tail`` times the largest of their sample need not be
    stepped.
    """
    band = _Band(rate, interval / steps, interval * (instants - 1), tail)
    stored, count = [start], 0
    v = band.fitted(start, band.used(start))
    for _ in range(instants - 1):
        left = steps
        while left:
            before, several = v, min(left, FIT)
            v = band.advanced(v, several)
            used = band.used(v)
            if band.full(used):
                v = band.wider(before, used)
                continue
            if count // LOOK < (count + several) // LOOK and not bool(_finite(v).any()):
                stored += [torch.full_like(start, torch.nan)] * (instants - len(stored))
                return torch.stack(stored, dim=1)
            left, count = left - several, count + several
            v = band.fitted(v, used)
        stored.append(resized(v, band.grid, rate.grid))
    return torch.stack(stored, dim=1)


def _finite(v: Tensor) -> Tensor:
    """Which samples are finite, (n,)."""
    return torch.isfinite(v).reshape(len(v), -1).all(dim=1)


def _extrapolated(
    rate: Rate, start: Tensor, stop: float, instants: int, rtol: float, fewest: int
) -> Trajectory:
    grid, interval = rate.grid, stop / (instants - 1)
    norm = functools.partial(_norms, grid=grid)
    # A guess of the steps: one for each time in which the rest of the rate would change u by its own size.
    size, change = (norm(v).reshape(len(start), -1).amax(dim=1) for v in (start, rate.rest(start)))
    guess = torch.where(size > 0, change / size, torch.zeros_like(size)) * interval
    guess = guess.clamp(min=1 / FIRST)

    def run(rows: Tensor, steps: int) -> Tensor:
        return fixed_steps(rate.rows(rows), start[rows], interval, instants, steps, TAIL * rtol)

    def relative(difference: Tensor, u: Tensor) -> Tensor:
        far, scale = norm(difference), norm(u)
        if len(rate.problem.fields) > 1:
            scale = scale.amax(dim=1, keepdim=True)
        return torch.where(scale > 0, far / scale, far).flatten(1).amax(dim=1)

    nothing = torch.full_like(start, torch.nan)
    nothing = torch.stack([start, *[nothing] * (instants - 1)], dim=1)
    found = extrapolated(
        run,
        relative,
        nothing,
        guess,
        first=FIRST,
        most=MOST_STEPS // (instants - 1),
        order=ORDER,
        rtol=rtol,
        fewest=fewest,
    )
    u, status = found.u, found.status
    status[~torch.isfinite(u).reshape(len(u), -1).all(dim=1)] = int(Status.BREAKDOWN)
    times = torch.linspace(0.0, stop, instants, dtype=torch.float64, device="cpu")
    return Trajectory(values_of(u, grid), times, found.error, found.steps * (instants - 1), status)


def _norms(v: Tensor, grid: Grid) -> Tensor:
    """Root mean square over the box of functions with these coefficients."""
    axes = tuple(range(-grid.dim, 0))
    # All modes but the plane 0 of the last axis stand for their mirror image too.
    parts = torch.view_as_real(v.resolve_conj())
    axes = (*(axis - 1 for axis in axes), -1)
    whole, plane = (torch.linalg.vector_norm(x, dim=axes) for x in (parts, parts[..., :1, :]))
    return torch.sqrt(2 * whole**2 - plane**2)
