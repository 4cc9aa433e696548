"""Geometric multigrid with Galerkin coarse operators, as a preconditioner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.dense_inverse import DenseInverse
from pdeflow.linalg.level import Level
from pdeflow.linalg.operator import LinearOperator, magnitude
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator

COARSEST = 64  # unknowns below which coarsening ends and a dense inverse takes over
LARGEST_DENSE = 1024  # unknowns up to which it may take over earlier, on an odd periodic axis

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


@dataclass(frozen=True)
class Multigrid(Preconditioner):
    """A symmetric V(1,1) cycle for stencils within {-1, 0, 1}^d in one, two or three dimensions.

    - Coarse points: every second one, along all axes at once. Bounded axes may have any number of
      points; a periodic one is halved while it is even.
    - Interpolation P is multilinear, restriction its transpose, coarse operators are ``P^T A P``, so that
      jumps of a coefficient that no coarse grid resolves still enter as averages.
    - Smoother: Gauss-Seidel by the 2^d colours of :mod:`~pdeflow.linalg.level` (red-black for a 5- or
      7-point stencil), upwards in the reverse order: the cycle is Hermitian positive definite where the
      operator is, and a legal preconditioner of CG.
    - Coarsest level: the dense inverse. Where A maps constants to zero (periodic, no reaction term), the
      constant is given a positive value instead.

    References: W. L. Briggs, V. E. Henson, S. F. McCormick, *A Multigrid Tutorial*, 2nd ed., SIAM 2000;
    O. Tatebe, "The multigrid preconditioned conjugate gradient method", NASA CP 3224 (1993).

    Parameters
    ----------
    dtype
        Of the cycle: float32 (default) takes half the time and costs no accuracy, because the Krylov
        method around it keeps residuals in its own; None is the operator's.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is not a stencil within {-1, 0, 1}^d, or a periodic axis that
        becomes odd while the grid is still large.
    """

    dtype: torch.dtype | None = torch.float32

    def __post_init__(self) -> None:
        if self.dtype not in (None, torch.float32, torch.float64):
            raise InvalidInput("dtype", self.dtype, "torch.float32, torch.float64 or None")

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> MultigridCycle:
        """Build the levels for A, in the buffers of ``previous`` (which is used up) where they fit."""
        if not isinstance(A, StencilOperator) or not 1 <= len(A.shape) <= 3:
            hint = "Use Jacobi() for an operator without a grid."
            raise InvalidInput("A", type(A).__name__, "a StencilOperator in one to three dimensions", hint)
        wide = [offset for offset in A.offsets if any(abs(step) > 1 for step in offset)]
        if wide:
            raise InvalidInput("offsets", wide, "entries -1, 0 and 1", "Use Jacobi() for wider stencils.")
        dtype = self.dtype or A.dtype
        if A.dtype.is_complex and not dtype.is_complex:
            dtype = _COMPLEX[dtype]
        if (0,) * len(A.shape) not in A.offsets:
            raise InvalidInput("offsets", A.offsets, "an entry on the diagonal")
        if isinstance(previous, MultigridCycle) and previous.fits(A, dtype):
            previous.fill(A)
            return previous
        return MultigridCycle(A, dtype)


class MultigridCycle(LinearOperator):
    """One V(1,1) cycle from a zero guess; it owns its buffers, so one thread at a time may apply it.

    A float32 cycle takes and gives numbers within the range of float32 times that of A: scale a tiny or
    huge x to order one first, as CG does.
    """

    def __init__(self, A: StencilOperator, dtype: torch.dtype) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._cycle_dtype = dtype
        self.levels: list[Level] = []
        offsets, shape = list(A.offsets), A.shape
        while _size(shape) > COARSEST and not _odd(shape, A.periodic):
            level = Level(offsets, shape, A.periodic, A.batch, dtype, A.device)
            self.levels.append(level)
            offsets, shape = list(level.coarse), level.half
        if _size(shape) > LARGEST_DENSE:
            raise InvalidInput(
                "A.shape",
                A.shape,
                f"periodic axes that can be halved until {LARGEST_DENSE} points are left",
                "Take a power of two of points along the periodic axes.",
            )
        self._coarsest = DenseInverse(offsets, shape, A.periodic, A.batch, dtype, A.device)
        self.fill(A)

    def fits(self, A: StencilOperator, dtype: torch.dtype) -> bool:
        """Whether :meth:`fill` can take ``A``."""
        mine = self._A
        return (A.offsets, A.shape, A.periodic, A.batch, A.dtype, A.device, dtype) == (
            *(mine.offsets, mine.shape, mine.periodic, mine.batch, mine.dtype, mine.device),
            self._cycle_dtype,
        )

    def fill(self, A: StencilOperator) -> None:
        """Build all levels for the coefficients of ``A``, in the buffers that are there."""
        self._A, self.tags = A, A.tags
        # float32 has a short range: the cycle works on the operator scaled to largest diagonal entry 1.
        largest = magnitude(A.coefficients[:, A.offsets.index((0,) * len(A.shape))])
        scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0).reciprocal()
        scale = scale.reshape(-1, *(1,) * len(A.shape))
        self._scale = scale
        scaled = torch.empty_like(A.coefficients[:, 0])
        # One buffer serves all offsets: a level copies each before the next is worked out.
        coefficients: Iterable[tuple[tuple[int, ...], Tensor]] = (
            (offset, torch.mul(A.coefficients[:, k], scale, out=scaled)) for k, offset in enumerate(A.offsets)
        )
        for level in self.levels:
            level.fill(coefficients)
            coefficients = level.galerkin().items()
        self._coarsest.fill(coefficients)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which may be x."""
        restricted = x
        for level in self.levels:
            level.part(restricted, level.b)
            level.smooth_down()
            restricted = level.restrict()
        # The levels carry minus the residual downwards and subtract what comes up.
        correction = self._coarsest.apply(restricted)
        for level in reversed(self.levels):
            level.prolong(correction)
            level.smooth_up()
            correction = level.join(level.x)
        # In the operator's dtype, because the scale may be beyond the range of float32.
        return out.copy_(correction).mul_(self._scale)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "a multigrid cycle", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> MultigridCycle:
        """The conjugate transpose."""
        # The sweep up of A* is the adjoint of the sweep down of A, so the cycle of A* is the adjoint cycle.
        return MultigridCycle(self._A.adjoint, self._cycle_dtype)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> MultigridCycle:
        """The cycle of the operator in another dtype or on another device."""
        return MultigridCycle(self._A.to(dtype, device), self._cycle_dtype)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _odd(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> bool:
    return any(wraps and n % 2 for n, wraps in zip(shape, periodic))
