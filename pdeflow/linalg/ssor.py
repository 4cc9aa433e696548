"""Symmetric successive over-relaxation, in the order of colours, as a preconditioner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arena import Arena, Memory, OuterArray, OuterSpan
from pdeflow.linalg.arguments import check_number
from pdeflow.linalg.array_program import Program
from pdeflow.linalg.colour_layout import Values, natural_strides
from pdeflow.linalg.coloured_stencil import ColouredStencil, check_compact
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator


@dataclass(frozen=True)
class SSOR(Preconditioner):
    """``M = omega (2 - omega) (D + omega U)^-1 D (D + omega L)^-1`` for ``A = L + D + U``, in colour order.

    L and U are not those of the row-major order, but of the 2^d colours of
    :mod:`~pdeflow.linalg.level`, red points before black ones for a 5- or 7-point stencil: all points of a
    colour are done at once, on any device and in every system. M is Hermitian where A is, and positive
    definite where D is and 0 < omega < 2; omega = 1 is symmetric Gauss-Seidel. In the red-black order there
    is little to gain from another omega.

    References: D. M. Young, *Iterative Solution of Large Linear Systems*, Academic Press 1971; Y. Saad,
    *Iterative Methods for Sparse Linear Systems*, 2nd ed., SIAM 2003, sections 10.2 and 12.4.

    Parameters
    ----------
    omega
        The relaxation.

    Raises
    ------
    InvalidInput
        If omega is out of range; from ``init``, for an operator that is not a stencil within {-1, 0, 1}^d
        with an entry on the diagonal, or has a periodic axis with an odd number of points.
    """

    omega: float = 1.0

    def __post_init__(self) -> None:
        check_number("omega", self.omega, lambda omega: 0 < omega < 2, "a number between 0 and 2")

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> SSORSweeps:
        """Part the stencil by colours."""
        if not isinstance(A, StencilOperator):
            hint = "Use Jacobi() for an operator without a grid."
            raise InvalidInput("A", type(A).__name__, "a StencilOperator", hint)
        check_compact(A)
        if any(wraps and n % 2 for n, wraps in zip(A.shape, A.periodic)):
            hint = "Use Jacobi() where a ring cannot be coloured."
            raise InvalidInput("A.shape", A.shape, "even numbers of points along periodic axes", hint)
        A = A.detach()
        if isinstance(previous, SSORSweeps) and previous.fits(A, self.omega):
            previous.fill(A)
            return previous
        return SSORSweeps(A, self.omega)


class SSORSweeps(LinearOperator):
    """A sweep forth and a sweep back; it owns its memory, so one thread at a time may apply it."""

    def __init__(self, A: StencilOperator, omega: float) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._omega = omega
        arena = Arena(A.dtype, A.device)
        strides = natural_strides(A.shape)
        stencil = ColouredStencil(A.offsets, A.shape, A.periodic, arena)
        # The coefficients come in twice: those off the diagonal times omega, and the diagonal as it is.
        values: Values = {
            offset: (OuterSpan(1 if any(offset) else 2, k * A.size, len(A.offsets) * A.size), strides)
            for k, offset in enumerate(A.offsets)
        }
        into = stencil.layout.rows(stencil.b, OuterSpan(1, 0, A.size), strides)
        back = stencil.layout.rows(stencil.x, OuterSpan(2, 0, A.size), strides, merge=True)
        # y = (D + omega L)^-1 b, then y + (D + omega U)^-1 (b - (D + omega L + omega U) y), where the bracket
        # is - omega U y, and the whole is (D + omega U)^-1 D y.
        sweeps = [*stencil.sweep(zero_guess=True), *stencil.sweep(reverse=True)]
        self._set_up = Program(stencil.set_up(values), arena)
        self._program = Program([*into, *sweeps, *back], arena)
        self._memory = Memory(arena, A.batch)
        self.fill(A)

    def fits(self, A: StencilOperator, omega: float) -> bool:
        """Whether :meth:`fill` can take A."""
        mine = self._A
        return (A.offsets, A.shape, A.periodic, A.batch, A.dtype, A.device, omega) == (
            *(mine.offsets, mine.shape, mine.periodic, mine.batch, mine.dtype, mine.device),
            self._omega,
        )

    def fill(self, A: StencilOperator) -> None:
        """Take the coefficients of A, in the memory that is there."""
        self._A, self.tags = A, A.tags
        coefficients = A.coefficients.contiguous()
        omega = self._factor(self._omega)
        self._set_up.run(self._memory, OuterArray(coefficients, omega), OuterArray(coefficients))

    def _factor(self, value: float) -> Tensor:
        return torch.full((self.batch,), value, dtype=torch.float64, device=self.device)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x, memory_format=torch.contiguous_format))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which may be x."""
        to = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
        factor = self._factor(self._omega * (2 - self._omega))
        self._program.run(self._memory, OuterArray(x.contiguous()), OuterArray(to, factor))
        return to if to is out else out.copy_(to)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "SSOR sweeps", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> SSORSweeps:
        """The conjugate transpose, which is SSOR for that of A."""
        return SSORSweeps(self._A.adjoint, self._omega)

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> SSORSweeps:
        """SSOR for the operator in another dtype or on another device."""
        return SSORSweeps(self._A.to(dtype, device), self._omega)
