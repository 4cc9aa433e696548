"""Geometric multigrid with Galerkin coarse operators, as a preconditioner."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.array_program import (
    Copy,
    Dense,
    Operation,
    OuterArray,
    OuterSpan,
    Program,
    Span,
)
from pdeflow.linalg.dense_inverse import DenseInverse
from pdeflow.linalg.level import Level, Values
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator

COARSEST = 32  # unknowns below which coarsening ends and a dense inverse takes over
LARGEST_DENSE = 1024  # unknowns up to which it may take over earlier, on an odd periodic axis

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}

Cycle = Literal["V", "W", "F"]
InterpolationKind = Literal["operator", "linear"]


@dataclass(frozen=True)
class Multigrid(Preconditioner):
    """A symmetric cycle for stencils within {-1, 0, 1}^d in one, two or three dimensions.

    - Coarse points: every second one, along all axes at once. Bounded axes may have any number of
      points; a periodic one is halved while it is even.
    - Interpolation P follows the operator (:mod:`~pdeflow.linalg.interpolation`), restriction is its adjoint,
      coarse operators are ``P* A P``: jumps of a coefficient that no coarse grid resolves, by any factor, cost
      few iterations.
    - Smoother: Gauss-Seidel by the 2^d colours of :mod:`~pdeflow.linalg.colour_layout` (red-black for a 5- or
      7-point stencil), upwards in the reverse order: V and W cycles are Hermitian positive definite where the
      operator is, and legal preconditioners of CG.
    - Coarsest level: the dense inverse. Where A maps constants to zero (periodic, no reaction term), the
      constant is given a positive value instead.

    On a CPU, for real numbers, the cycle runs in compiled loops (:mod:`pdeflow.linalg.native`).

    References: W. L. Briggs, V. E. Henson, S. F. McCormick, *A Multigrid Tutorial*, 2nd ed., SIAM 2000;
    O. Tatebe, "The multigrid preconditioned conjugate gradient method", NASA CP 3224 (1993).

    Parameters
    ----------
    cycle
        ``"V"``; ``"W"``: every coarse grid is visited twice as often as the one above; ``"F"``: an F cycle is
        followed by a V cycle on every coarse grid. F is not quite symmetric: use FlexibleCG or GMRES with it.
    interpolation
        ``"operator"``, or ``"linear"`` for stencils that are far from those of an elliptic equation.
    dtype
        Of the cycle: float32 (default) takes half the time and costs no accuracy, because the Krylov
        method around it keeps residuals in its own; None is the operator's.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is not a stencil within {-1, 0, 1}^d, or a periodic axis that
        becomes odd while the grid is still large.
    """

    cycle: Cycle = "V"
    interpolation: InterpolationKind = "operator"
    dtype: torch.dtype | None = torch.float32

    def __post_init__(self) -> None:
        for name, known in (("cycle", Cycle), ("interpolation", InterpolationKind)):
            if getattr(self, name) not in get_args(known):
                raise InvalidInput(
                    name, getattr(self, name), f"one of {get_args(known)}", choices=get_args(known)
                )
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
        if (0,) * len(A.shape) not in A.offsets:
            raise InvalidInput("offsets", A.offsets, "an entry on the diagonal")
        if isinstance(previous, MultigridCycle) and previous.fits(A, self):
            previous.fill(A)
            return previous
        return MultigridCycle(A, self)


class MultigridCycle(LinearOperator):
    """One cycle from a zero guess; it owns its buffers, so one thread at a time may apply it.

    A float32 cycle takes and gives numbers within the range of float32 times that of A: scale a tiny or
    huge x to order one first, as CG does.
    """

    def __init__(self, A: StencilOperator, settings: Multigrid) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self.settings = settings
        dtype = settings.dtype or A.dtype
        if A.dtype.is_complex and not dtype.is_complex:
            dtype = _COMPLEX[dtype]
        self._inner = dtype
        self._plan(A)
        self.fill(A)

    def _plan(self, A: StencilOperator) -> None:
        """The levels, and the programs that set them up and cycle through them."""
        self.levels: list[Level] = []
        strides = natural_strides(A.shape)
        kept = _kept_axes(A.shape)
        shape, periodic = _pick(A.shape, kept), _pick(A.periodic, kept)
        values: Values = {}
        for k, offset in enumerate(A.offsets):
            if not any(o for axis, o in enumerate(offset) if axis not in kept):
                place = OuterSpan(1, k * A.size, len(A.offsets) * A.size)
                values[_pick(offset, kept)] = place, _pick(strides, kept)
        set_up: list[Operation] = []
        self._transfers: list[tuple[list[Operation], list[Operation]]] = []
        b, x = ((OuterSpan(slot, 0, A.size), _pick(strides, kept)) for slot in (1, 2))
        while math.prod(shape) > COARSEST and not any(w and n % 2 for n, w in zip(shape, periodic)):
            level = Level(
                values,
                shape,
                periodic,
                A.batch,
                self._inner,
                A.device,
                self.settings.interpolation,
                Tag.SYMMETRIC in A.tags,
            )
            into, back = level.layout.rows(level.b, *b), level.layout.rows(level.x, *x, merge=True)
            self._transfers.append((into, back))
            self.levels.append(level)
            set_up += level.set_up(values)
            kept = _kept_axes(level.coarse_shape)
            shape, periodic = _pick(level.coarse_shape, kept), _pick(periodic, kept)
            values = {
                _pick(offset, kept): _on_axes(level.layout.coarse_rows(array), kept)
                for offset, array in level.coarse.items()
                if not any(o for axis, o in enumerate(offset) if axis not in kept)
            }
            b, x = (
                _on_axes(level.layout.coarse_rows(array), kept) for array in (level.restricted, level.correction)
            )
        if math.prod(shape) > LARGEST_DENSE:
            raise InvalidInput(
                "A.shape",
                A.shape,
                f"periodic axes that can be halved until {LARGEST_DENSE} points are left",
                "Take a power of two of points along the periodic axes.",
            )
        self._coarsest = dense = DenseInverse(values, shape, periodic, A.batch, self._inner, A.device)
        self._coarsest_values = values
        common = A.batch, self._inner, A.device
        self._set_up = Program(set_up, *common)
        operations: list[Operation] = []
        if self.levels:
            inside = natural_strides(shape)
            into = Copy(shape, Span(dense.b, 0), inside, *b)
            self._transfers.append(([into], [Copy(shape, *x, Span(dense.x, 0), inside)]))
            entry, leave = self._transfers[0]
            operations = [*entry, *self._visit(0, self.settings.cycle), *leave]
        self.program = Program(operations, *common)

    def _visit(self, k: int, cycle: str, zero_guess: bool = True) -> list[Operation]:
        """The cycle from level k downwards: ``x_k += M_k (b_k - A_k x_k)``."""
        if k == len(self.levels):
            return [self._coarsest.operation]
        level, (into, back) = self.levels[k], self._transfers[k + 1]
        operations = [*level.sweep(zero_guess=zero_guess), *level.restrict(zero_guess=zero_guess), *into]
        operations += self._visit(k + 1, cycle)
        if cycle != "V" and k + 1 < len(self.levels):
            operations += self._visit(k + 1, "V" if cycle == "F" else cycle, zero_guess=False)
        return [*operations, *back, *level.prolong(), *level.sweep(reverse=True)]

    def fits(self, A: StencilOperator, settings: Multigrid) -> bool:
        """Whether :meth:`fill` can take ``A``."""
        return settings == self.settings and _signature(A) == _signature(self._A)

    def fill(self, A: StencilOperator) -> None:
        """Build all levels for the coefficients of ``A``, in the buffers that are there."""
        self._A, self.tags = A, A.tags
        # float32 has a short range: the cycle works on the operator scaled to largest diagonal entry 1.
        largest = magnitude(A.coefficients[:, A.offsets.index((0,) * len(A.shape))])
        scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0).reciprocal()
        self.scale = scale.to(torch.float64)
        outer = OuterArray(A.coefficients.contiguous(), self.scale)
        self._set_up.run(outer)
        coarsest = {}
        for offset, (place, strides) in self._coarsest_values.items():
            if isinstance(place, Span):
                coarsest[offset] = place.box(self._coarsest.shape, strides)
            else:
                coarsest[offset] = place.box(outer.values, self._coarsest.shape, strides) * self._column(scale)
        self._coarsest.fill(coarsest.items())

    def _column(self, values: Tensor) -> Tensor:
        return values.reshape(-1, *(1,) * len(self._coarsest.shape))

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x, memory_format=torch.contiguous_format))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which may be x."""
        if not self.levels:
            dense = self._coarsest
            dense.b.copy_(x.flatten(1))
            dense.operation.run(())
            # In the operator's dtype, because the scale may be beyond the range of float32.
            scaled = dense.x.to(x.dtype) * self.scale.to(x.dtype).reshape(-1, 1)
            return out.copy_(scaled.reshape(x.shape))
        to = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
        self.program.run(OuterArray(x.contiguous()), OuterArray(to, self.scale))
        return to if to is out else out.copy_(to)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "a multigrid cycle", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> MultigridCycle:
        """The conjugate transpose (of V and W cycles)."""
        # The sweep up of A* is the adjoint of the sweep down of A, so the cycle of A* is the adjoint cycle.
        return MultigridCycle(self._A.adjoint, self.settings)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> MultigridCycle:
        """The cycle of the operator in another dtype or on another device."""
        return MultigridCycle(self._A.to(dtype, device), self.settings)


def natural_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _kept_axes(shape: Sequence[int]) -> list[int]:
    """The axes with more than one point; an axis is kept at least."""
    return [axis for axis, n in enumerate(shape) if n > 1] or [0]


def _pick(values: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[axis] for axis in axes)


def _on_axes(rows: tuple[Span, tuple[int, ...]], axes: Sequence[int]) -> tuple[Span, tuple[int, ...]]:
    return rows[0], _pick(rows[1], axes)


def _signature(A: StencilOperator) -> tuple[Any, ...]:
    symmetric = Tag.SYMMETRIC in A.tags
    return A.offsets, A.shape, A.periodic, A.batch, A.dtype, A.device, symmetric
