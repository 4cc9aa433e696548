"""The cycles of GMRES and its relatives: build a space, take the least residual in it, start again."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.linalg.arguments import check_precision
from pdeflow.linalg.arnoldi import Basis, combine
from pdeflow.linalg.lockstep import (
    RUNNING,
    Iterate,
    Lockstep,
    Prepared,
    begin,
    mark,
    norm,
    prepare,
)
from pdeflow.linalg.operator import LinearOperator, column, working_dtype
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Status


@dataclass
class ArnoldiState(Prepared):
    """Adds the basis, whose memory serves one system after the other, and a place for ``z = M v``."""

    basis: Basis
    z: Tensor


@dataclass
class Stalls(Iterate):
    """Adds the cycles in a row that gained nothing."""

    stalls: Tensor


class ArnoldiCycles(Lockstep):
    """Cycles over a :class:`~pdeflow.linalg.arnoldi.Basis`, each from the true residual of the last.

    At the end of a cycle the residual is worked out in float64 from x. A correction that does not shorten
    it is not made. After ``patience`` cycles in a row that did not shorten it, or took it for short enough
    when it was not even halved, the system has ``STAGNATED``.

    On a CPU the host reads after every iteration whether a system still takes part, elsewhere once a cycle.
    """

    dtype: torch.dtype | None
    patience: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check_precision(self.dtype)

    @property
    @abc.abstractmethod
    def total(self) -> int:
        """The most vectors of a cycle, those of the fixed rows included."""

    @abc.abstractmethod
    def keeps(self, state: Prepared) -> bool:
        """Whether the z_j must be stored."""

    def init(
        self,
        A: LinearOperator,
        preconditioner: Preconditioner | None = None,
        previous: ArnoldiState | None = None,
    ) -> Any:
        """Prepare the preconditioner and the basis, in the buffers of ``previous`` where they fit."""
        dtype = working_dtype(self.dtype, A)
        ready = prepare(A, preconditioner, previous, dtype)
        form = (A.batch, self.total, A.size, dtype, A.device, self.keeps(ready))
        if previous is not None and previous.basis.fits(*form):
            return ArnoldiState(**vars(ready), basis=previous.basis, z=previous.z)
        basis = Basis(*form)
        return ArnoldiState(**vars(ready), basis=basis, z=torch.zeros_like(basis.v))

    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Stalls:
        """The first residual, in double precision."""
        first = begin(state, b, x0, rtol, atol)
        first.r = first.r.to(first.b.dtype)
        return Stalls(**vars(first), stalls=torch.zeros_like(first.iterations))

    def run(self, state: Any, s: Stalls, limit: int) -> None:
        """One cycle after the other."""
        taken = 0
        while taken < limit and bool((s.status == RUNNING).any()):
            taken += self.cycle(state, s, limit - taken)

    def cycle(self, state: Any, s: Stalls, limit: int) -> int:
        """Build a space of at most ``limit`` vectors, correct x in it, and tell how many it had."""
        wanted = self.open(state, s)
        steps = min(wanted, limit)
        look = state.A.device.type == "cpu"
        for step in range(1, steps + 1):
            self.expand(state)
            if look or step == steps:
                s.history.append(state.basis.norm.clone())
            if look and not state.basis.any_active:
                break
        self.close(state, s, full=steps == wanted)
        return max(1, state.basis.used)

    def open(self, state: Any, s: Stalls) -> int:
        """Begin the basis and tell how many vectors the cycle may have."""
        basis = state.basis
        # A cycle cannot shorten the residual beyond the rounding of its own dtype.
        least = 10 * torch.finfo(basis.v.dtype).eps
        goal = torch.maximum(s.target, least * s.true_norm)
        basis.begin(s.r.flatten(1), s.true_norm, s.status == RUNNING, goal, self.fixed(state))
        return self.total - basis.fixed

    def fixed(self, state: Any) -> int:
        """How many of the rows stand from the beginning."""
        return 0

    def expand(self, state: Any) -> None:
        """One more vector for every system; nothing is read by the host."""
        basis = state.basis
        z = self.direction(state, basis.used)
        shape = (-1, *state.A.shape)
        state.A.apply_into(z.view(shape), basis.w.view(shape))
        basis.append(z)

    def direction(self, state: Any, j: int) -> Tensor:
        """The next ``z = M v``, ``(batch, size)``."""
        if state.M is None:
            return state.basis.v
        shape = (-1, *state.A.shape)
        state.M.apply_into(state.basis.v.view(shape), state.z.view(shape))
        return state.z

    def close(self, state: Any, s: Stalls, full: bool) -> None:
        """Correct x, and judge every system by its true residual; nothing is read by the host."""
        basis = state.basis
        s.iterations += basis.count + basis.broken
        s.status = mark(s.status, basis.broken, Status.BREAKDOWN)
        y = basis.least_squares()
        change = self.correction(state, y)
        x = s.x + change.reshape(s.x.shape).to(s.x.dtype)
        r = s.b - state.exact.apply(x.to(s.b.dtype))
        length = norm(r)
        running = s.status == RUNNING
        shorter = (running | (s.status == Status.BREAKDOWN)) & (length < s.true_norm)
        s.x = torch.where(column(shorter, x), x, s.x)
        s.r = torch.where(column(shorter, r), r, s.r)
        claimed = basis.norm <= s.target
        enough = torch.where(claimed, 0.5 * s.true_norm, (1 - 1e-12) * s.true_norm)
        counts = claimed if not full else torch.ones_like(claimed)
        s.stalls = torch.where(length <= enough, torch.zeros_like(s.stalls), s.stalls + counts)
        given_up = s.stalls >= self.patience
        s.true_norm = torch.where(shorter, length, s.true_norm)
        s.status = mark(s.status, running & given_up, Status.STAGNATED)
        s.status = mark(s.status, running & (s.true_norm <= s.target), Status.CONVERGED)
        s.norm = torch.where(running, s.true_norm, s.norm)
        self.harvest(state, change)

    @abc.abstractmethod
    def correction(self, state: Any, y: Tensor) -> Tensor:
        """The change of x, ``(batch, size)``, that the columns with weights y make."""

    def harvest(self, state: Any, change: Tensor) -> None:
        """Keep of the cycle what the next one can use."""
        return


def kept_correction(basis: Basis, y: Tensor) -> Tensor:
    """``Z y``, where the z_j are stored or are the v_j."""
    if basis.z is None:
        return combine(y, basis.rows[:, basis.fixed : basis.fixed + basis.used])
    return combine(y, basis.z[:, : basis.used])
