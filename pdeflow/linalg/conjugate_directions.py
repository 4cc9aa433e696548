"""What the conjugate gradient method and its relatives share: the step along a conjugate direction."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.linalg.lockstep import (
    RUNNING,
    Iterate,
    Prepared,
    ShortRecurrence,
    begin,
    dot,
    mark,
    norm,
)
from pdeflow.linalg.operator import Tag, column
from pdeflow.linalg.solution import Status


@dataclass
class Directions(Iterate):
    """With ``p`` the direction, ``q = A p``, ``z = M r`` (r itself without M), ``rz = r* z``, the last alpha.

    A system that starts has p = 0 and rz = 1: the first turn makes p = z of it. All tensors are contiguous.
    """

    p: Tensor
    q: Tensor
    z: Tensor
    rz: Tensor
    alpha: Tensor


class ConjugateDirections(ShortRecurrence):
    """Minimise the energy of the error along directions that a method makes conjugate in :meth:`turn`."""

    requires: ClassVar[frozenset[Tag]] = frozenset({Tag.SYMMETRIC})

    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Directions:
        """The first residual, and no direction yet."""
        first = begin(state, b, x0, rtol, atol)
        return Directions(
            **vars(first),
            p=torch.zeros_like(first.r),
            q=torch.zeros_like(first.r),
            z=first.r if state.M is None else torch.empty_like(first.r),
            rz=torch.ones_like(first.norm),
            alpha=torch.zeros_like(first.norm),
        )

    def advance(self, state: Any, s: Any, steps: int) -> list[Tensor]:
        """Turn and step, ``steps`` times."""
        for _ in range(steps):
            self.turn(state, s)
            self.step(state, s)
        return [s.norm.clone()]

    @abc.abstractmethod
    def turn(self, state: Any, s: Any) -> None:
        """The next p, conjugate to the earlier ones, for the systems that run; the others keep theirs."""

    def step(self, state: Any, s: Any) -> None:
        """Move x along p, shorten r, and judge every system; nothing is read by the host."""
        q = state.A.apply_into(s.p, s.q)
        curvature = dot(s.p, q)
        running = s.status == RUNNING
        s.iterations += running
        s.status = mark(s.status, running & (curvature <= 0), Status.INDEFINITE_OPERATOR)
        s.status = mark(s.status, running & ~torch.isfinite(curvature), Status.BREAKDOWN)
        s.alpha = torch.where(s.status == RUNNING, s.rz / curvature, 0.0)
        weight = column(s.alpha, s.x).to(s.x.dtype)
        s.x.addcmul_(weight, s.p)
        s.r.addcmul_(weight, q, value=-1)
        running = s.status == RUNNING
        s.norm = torch.where(running, norm(s.r), s.norm)
        s.status = mark(s.status, running & ~torch.isfinite(s.norm), Status.BREAKDOWN)
        s.status = mark(s.status, running & (s.norm <= s.target), Status.CONVERGED)

    def restart(self, state: Any, s: Any, again: Tensor) -> None:
        """No direction, as at the start."""
        s.p.masked_fill_(column(again, s.p), 0)
        s.rz = torch.where(again, torch.ones_like(s.rz), s.rz)

    def suspects(self, s: Any) -> tuple[Tensor, ...]:
        """The direction: where its curvature failed it tells why."""
        return (s.p,)


def precondition(state: Prepared, s: Directions) -> Tensor:
    """``z = M r`` and ``r* z``, which must be positive."""
    if state.M is not None:
        state.M.apply_into(s.r, s.z)
    rz = dot(s.r, s.z)
    running = s.status == RUNNING
    s.status = mark(s.status, running & (rz <= 0), Status.INDEFINITE_PRECONDITIONER)
    s.status = mark(s.status, running & ~torch.isfinite(rz), Status.BREAKDOWN)
    return rz


def inner(x: Tensor, y: Tensor) -> Tensor:
    """``x* y`` of every system."""
    return torch.linalg.vecdot(x.flatten(1), y.flatten(1))
