"""Extrapolation to the step 0 of whole solutions with fewer and with more steps, sample by sample.

L. F. Richardson, "The deferred approach to the limit", Phil. Trans. R. Soc. A 226 (1927). The numbers of
steps are those of R. Bulirsch, J. Stoer, "Fehlerabschätzungen und Extrapolation mit rationalen Funktionen bei
Verfahren vom Richardson-Typus", Numer. Math. 6 (1964): 1, 2, 3, 4, 6, 8, 12, 16, ... What estimates the error
is the last correction, as in E. Hairer, S. P. Norsett, G. Wanner, "Solving Ordinary Differential Equations
I", II.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pdeflow.linalg import Status

VAGUE = 0.1
"""An estimate above this says that the solutions do not agree, and not how many steps would do."""


LUCK = 0.01
"""What a correction by three runs is taken for at least, over that by two: it can be small by chance."""


SLOW = 2.0
"""By what factor changes may fall less than the order of the method says."""


class Extrapolated(NamedTuple):
    """Solutions and what is known of them, a sample a row.

    ``steps`` is of the run with the most; ``error`` is the estimate, infinite where there is none.
    """

    u: Tensor
    error: Tensor
    steps: Tensor
    status: Tensor


def next_number(n: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, ..."""
    if n == 1:
        return 2
    return 4 * n // 3 if n % 3 == 0 else 3 * n // 2


def first_number(most: float) -> int:
    """The largest of those numbers that is at most this, at least 1."""
    n = 1
    while next_number(n) <= most:
        n = next_number(n)
    return n


def weights(steps: Tensor, order: int) -> Tensor:
    """What solutions with these numbers of steps are multiplied by, (rows, k) both.

    The sum is then without the lowest k - 1 powers of the step, from ``order`` on, of their errors.
    """
    h = steps[:, -1:].double() / steps.double()
    powers = [torch.ones_like(h), *(h ** (order + j) for j in range(h.shape[1] - 1))]
    wanted = torch.zeros_like(h)
    wanted[:, 0] = 1.0
    return torch.linalg.solve(torch.stack(powers, dim=1), wanted)


def extrapolated(
    run: Callable[[Tensor, int], Tensor],
    relative: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    guess: Tensor,
    *,
    first: float,
    most: int,
    order: int,
    rtol: float,
    fewest: int = 1,
) -> Extrapolated:
    """Solve with more and more steps until the estimate of the error is small enough.

    Two runs give ``u2``, free of the error of order ``order``, three also ``u3``, free of the next one. The
    run with the most steps has an error of about ``|u2 - u|``, and ``u2`` one of about ``|u3 - u2|``: one of
    these has to be at most ``rtol``, and what is returned is better than what it is an estimate of. That is
    so if errors go with that power of the step. Three runs show it: the change from the second to the third
    is to be as much less than that from the first to the second, ``SLOW`` times at most. Otherwise, of two
    runs, and after one that was not finite, the change itself has to be at most ``rtol``; errors of a lower
    order than the method's may then be somewhat above it.

    Parameters
    ----------
    run
        Solutions of the samples with these numbers, (rows, ...), in so many steps a unit of time.
    relative
        Size of a difference, the first argument, over that of the solution, the second; (rows,).
    start
        (n, ...), what there is where no run has succeeded.
    guess
        (n,), steps that may do. Up to these they are doubled as long as solutions do not agree. A sample
        whose guess is not finite is given up.
    first
        What part of the guess the first run takes.
    most
        More steps are not tried; the first run takes half as many at most, so that there can be another.
    order
        Of the method.
    rtol
        What the estimate has to come down to.
    fewest
        Fewer steps are not tried.
    """
    batch, device = len(start), start.device
    finite = torch.isfinite(guess)
    status = torch.where(finite, int(Status.MAX_ITERATIONS), int(Status.BREAKDOWN)).to(torch.int8)
    error = torch.full((batch,), torch.inf, dtype=torch.float64, device=device)
    u, done = start.clone(), torch.zeros(batch, dtype=torch.int64, device=device)
    # The last run and the one before, with their numbers of steps; 0 where there is none.
    held = [start.clone(), start.clone()]
    counts = [done.clone(), done.clone()]
    changes = error.clone()
    numbers = [
        max(first_number(min(first * g, most / 2)), min(fewest, most // 2)) if ok else 0
        for g, ok in zip(guess.tolist(), finite.tolist())
    ]
    pending = torch.tensor(numbers, dtype=torch.int64, device=device)
    while True:
        waiting = (status == int(Status.MAX_ITERATIONS)) & (pending <= most)
        if not bool(waiting.any()):
            return Extrapolated(u, error, done, status)
        n = int(pending[waiting].min())
        rows = torch.nonzero(waiting & (pending == n)).flatten()
        found = run(rows, n)
        now, last = torch.full_like(rows, n), counts[0][rows]
        before, twice = last > 0, counts[1][rows] > 0
        older = held[0][rows]
        two, three = found, found
        nothing = torch.full((len(rows),), torch.inf, dtype=torch.float64, device=device)
        plain, better, change = nothing, nothing, nothing
        if bool(before.any()):
            two = _sum([older, found], [last, now], before, order)
            plain = _size(relative(two - found, found), before)
            change = torch.where(before, plain * ((now / last.clamp(min=1)) ** order - 1), torch.inf)
        orderly = torch.zeros_like(before)
        if bool(twice.any()):
            oldest = counts[1][rows]
            three = _sum([held[1][rows], older, found], [oldest, last, now], twice, order)
            better = torch.maximum(_size(relative(three - two, found), twice), LUCK * plain)
            h, h_last, h_oldest = (1 / c.clamp(min=1).double() ** order for c in (now, last, oldest))
            known = twice & changes[rows].isfinite()
            orderly = known & (change <= SLOW * (h_last - h) / (h_oldest - h_last) * changes[rows])
        estimate = torch.where(orderly, torch.minimum(plain, better), change)
        by_three = orderly & (better < plain)
        u[rows] = torch.where(
            _as(by_three, found), three, torch.where(_as(plain.isfinite(), found), two, found)
        )
        error[rows], done[rows], changes[rows] = estimate, n, change
        status[rows[estimate <= rtol]] = int(Status.CONVERGED)
        held[1][rows], counts[1][rows] = older, last
        held[0][rows], counts[0][rows] = found, now
        needed = (estimate / rtol) ** (1.0 / torch.where(by_three, order + 1, order))
        twofold = torch.where(estimate < VAGUE, needed >= 2, n < guess[rows])
        pending[rows] = torch.where(twofold, 2 * n, next_number(n)) if 2 * n <= most else next_number(n)


def _as(mask: Tensor, u: Tensor) -> Tensor:
    """Of samples, to broadcast against their solutions."""
    return mask.reshape(-1, *[1] * (u.ndim - 1))


def _sum(solutions: list[Tensor], steps: list[Tensor], known: Tensor, order: int) -> Tensor:
    """The solutions times their weights; the last one where the others are not known."""
    numbers = torch.stack(steps, dim=1)
    usable = torch.arange(1, len(steps) + 1, device=known.device).expand_as(numbers)
    factors = weights(torch.where(known[:, None], numbers, usable), order)
    last, shape = solutions[-1], [-1, *[1] * (solutions[-1].ndim - 1)]
    columns = [column.reshape(shape).to(last.dtype) for column in factors.unbind(dim=1)]
    total = last * columns[-1]
    for solution, column in zip(solutions[:-1], columns):
        total.addcmul_(solution, column)
    return total if bool(known.all()) else torch.where(known.reshape(shape), total, last)


def _size(relative: Tensor, known: Tensor) -> Tensor:
    """Infinite where it is not known or no number."""
    return torch.where(known, torch.nan_to_num(relative, nan=torch.inf, posinf=torch.inf), torch.inf)
