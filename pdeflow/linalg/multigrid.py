"""Geometric multigrid with Galerkin coarse operators, as a preconditioner."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arena import Arena, Memory, OuterArray, OuterSpan, Span
from pdeflow.linalg.arguments import check_precision
from pdeflow.linalg.array_operations import Copy, Operation
from pdeflow.linalg.array_program import Program, ProgramCall
from pdeflow.linalg.artificial_diffusion import artificial_diffusion
from pdeflow.linalg.colour_layout import Offset, Values, natural_strides
from pdeflow.linalg.coloured_stencil import check_compact
from pdeflow.linalg.dense_inverse import DenseInverse
from pdeflow.linalg.level import Level
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude, working_dtype
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator

COARSEST = 32  # unknowns up to which a dense inverse takes over
COARSEST_THIN = (
    64  # the same where an axis has two or three points, which couple so strongly that halving fails
)
LARGEST_DENSE = 1024  # unknowns up to which it may take over earlier, on an odd periodic axis

Cycle = Literal["V", "W", "F"]
InterpolationKind = Literal["operator", "linear"]
Smoother = Literal["gauss_seidel", "chebyshev"]


@dataclass(frozen=True)
class Multigrid(Preconditioner):
    """A symmetric cycle for stencils within {-1, 0, 1}^d in one, two or three dimensions.

    - Coarse points: every second one, along all axes at once. Bounded axes may have any number of
      points; a periodic one is halved while it is even.
    - Interpolation P follows the operator (:mod:`~pdeflow.linalg.interpolation`), restriction is its adjoint,
      coarse operators are ``P* A P``: jumps of the coefficient cost few iterations. Where A is real and not
      tagged ``SYMMETRIC``, they are made stable for convection
      (:mod:`~pdeflow.linalg.artificial_diffusion`).
    - Smoother: Gauss-Seidel by the 2^d colours of :mod:`~pdeflow.linalg.colour_layout` (red-black for a 5- or
      7-point stencil), upwards in the reverse order, or two steps of the Chebyshev iteration: V and W cycles
      are Hermitian positive definite where the operator is, and legal preconditioners of CG.
    - Coarsest level: the dense inverse. Where A maps constants to zero (periodic, no reaction term), the
      constant is given a positive value instead.

    On a CPU, for real numbers, the cycle runs in compiled loops (:mod:`pdeflow.linalg.native`).

    References: W. L. Briggs, V. E. Henson, S. F. McCormick, *A Multigrid Tutorial*, 2nd ed., SIAM 2000;
    O. Tatebe, "The multigrid preconditioned conjugate gradient method", NASA CP 3224 (1993).

    Parameters
    ----------
    cycle
        ``"V"``; ``"W"``: every coarse grid is visited twice as often as the one above; ``"F"``: on every
        coarse grid an F cycle is followed by a V cycle. F is not quite symmetric: use it with a flexible
        method.
    interpolation
        ``"operator"``, or ``"linear"`` for stencils that are far from those of an elliptic equation.
    dtype
        Of the cycle: float32 (default) takes half the time and costs no accuracy, because the Krylov
        method around it keeps residuals in its own; None is the operator's.
    smoother
        ``"gauss_seidel"``, or ``"chebyshev"`` (:mod:`~pdeflow.linalg.chebyshev_smoother`): twice the products
        with A, for somewhat fewer iterations, and no order of the points.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is not a stencil within {-1, 0, 1}^d, or a periodic axis that
        becomes odd while the grid is still large.
    """

    cycle: Cycle = "V"
    interpolation: InterpolationKind = "operator"
    dtype: torch.dtype | None = torch.float32
    smoother: Smoother = "gauss_seidel"

    def __post_init__(self) -> None:
        for name, known in (("cycle", Cycle), ("interpolation", InterpolationKind), ("smoother", Smoother)):
            if getattr(self, name) not in get_args(known):
                raise InvalidInput(
                    name, getattr(self, name), f"one of {get_args(known)}", choices=get_args(known)
                )
        check_precision(self.dtype)

    def init(
        self, A: LinearOperator, previous: LinearOperator | None = None, *, in_turn: bool = False
    ) -> MultigridCycle:
        """Build the levels for A, in the memory of ``previous`` (which is used up) where it fits.

        With ``in_turn`` there is memory for the levels of one system only, which are built anew for each:
        for a compiled solver that is done with one system before it takes the next.
        """
        if not isinstance(A, StencilOperator) or not 1 <= len(A.shape) <= 3:
            hint = "Use Jacobi() for an operator without a grid."
            raise InvalidInput("A", type(A).__name__, "a StencilOperator in one to three dimensions", hint)
        check_compact(A)
        A = A.detach()
        if isinstance(previous, MultigridCycle) and previous.fits(A, self, in_turn):
            previous.fill(A)
            return previous
        return MultigridCycle(A, self, in_turn)


class MultigridPlan:
    """What depends on the grid alone: the levels and the programs that set them up and cycle through them."""

    def __init__(
        self,
        offsets: Sequence[Offset],
        shape: tuple[int, ...],
        periodic: tuple[bool, ...],
        dtype: torch.dtype,
        device: torch.device,
        hermitian: bool,
        settings: Multigrid,
    ) -> None:
        self.arena = arena = Arena(dtype, device)
        self.levels: list[Level] = []
        self._transfers: list[tuple[Sequence[Operation], Sequence[Operation]]] = []
        size, whole, strides = math.prod(shape), shape, natural_strides(shape)
        kept = _kept_axes(shape)
        shape, periodic, strides = (_pick(values, kept) for values in (shape, periodic, strides))
        values: Values = {
            _pick(offset, kept): (OuterSpan(1, k * size, len(offsets) * size), strides)
            for k, offset in enumerate(offsets)
            if not any(o for axis, o in enumerate(offset) if axis not in kept)
        }
        b, x = ((OuterSpan(slot, 0, size), strides) for slot in (1, 2))
        set_up: list[Operation] = []
        while math.prod(shape) > _most_dense(shape) and not any(w and n % 2 for n, w in zip(shape, periodic)):
            kinds = settings.interpolation, settings.smoother
            level = Level(values, shape, periodic, arena, *kinds, hermitian)
            rows = level.layout.rows
            self._transfers.append((rows(level.b, *b), rows(level.x, *x, merge=True)))
            self.levels.append(level)
            set_up += level.set_up(values)
            if not hermitian and not dtype.is_complex:
                set_up += artificial_diffusion(level.layout, level.coarse)
            kept = _kept_axes(level.coarse_shape)
            shape, periodic = _pick(level.coarse_shape, kept), _pick(periodic, kept)
            values = {
                _pick(offset, kept): _on_axes(level.layout.coarse_rows(array), kept)
                for offset, array in level.coarse.items()
                if not any(o for axis, o in enumerate(offset) if axis not in kept)
            }
            ends = level.restricted, level.correction
            b, x = (_on_axes(level.layout.coarse_rows(array), kept) for array in ends)
        if math.prod(shape) > LARGEST_DENSE:
            raise InvalidInput(
                "A.shape",
                whole,
                f"periodic axes that can be halved until {LARGEST_DENSE} points are left",
                "Take a power of two of points along the periodic axes.",
            )
        self.coarsest = dense = DenseInverse(values, shape, periodic, arena)
        inside = natural_strides(shape)
        ends = [Copy(shape, dense.b, inside, *b)], [Copy(shape, *x, dense.x, inside)]
        self._transfers.append(ends)
        into, back = self._transfers[0]
        self.set_up = Program([*set_up, *dense.set_up], arena)
        self._kind: Cycle = settings.cycle
        self.cycle = Program([*into, *self._visit(0, settings.cycle), *back], arena)

    @functools.cached_property
    def nested(self) -> Program:
        """Nested iteration: the coarsest solution, interpolated and improved by a cycle on every level."""
        operations = list(self._transfers[0][0])
        for level, (into, _) in zip(self.levels, self._transfers[1:]):
            operations += [*level.restrict_right_hand_side(), *into]
        operations.append(self.coarsest.operation)
        for k in reversed(range(len(self.levels))):
            operations += [*self._transfers[k + 1][1], *self.levels[k].interpolate()]
            # The cycle writes over the right-hand sides of coarser levels, which are done with.
            operations += self._visit(k, self._kind, zero_guess=False)
        return Program([*operations, *self._transfers[0][1]], self.arena)

    def _visit(self, k: int, cycle: str, zero_guess: bool = True) -> list[Operation]:
        """The cycle from level k downwards: ``x_k += M_k (b_k - A_k x_k)``."""
        if k == len(self.levels):
            return [self.coarsest.operation]
        level, (into, back) = self.levels[k], self._transfers[k + 1]
        operations = [*level.smooth(zero_guess=zero_guess), *level.restrict(zero_guess=zero_guess), *into]
        operations += self._visit(k + 1, cycle)
        if cycle != "V" and k + 1 < len(self.levels):
            operations += self._visit(k + 1, "V" if cycle == "F" else cycle, zero_guess=False)
        return [*operations, *back, *level.prolong(), *level.smooth(reverse=True)]


# Planning takes longer than solving, and is the same for all batches of a grid.
_plan = functools.lru_cache(maxsize=32)(MultigridPlan)


class MultigridCycle(LinearOperator):
    """One cycle from a zero guess; it owns its memory, so one thread at a time may apply it.

    A float32 cycle takes and gives numbers within the range of float32 times that of A: scale a tiny or
    huge x to order one first, as CG does.
    """

    def __init__(self, A: StencilOperator, settings: Multigrid, in_turn: bool = False) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self.settings, self.in_turn = settings, in_turn
        self._plan = self._plan_for(A, settings)
        self._memory = Memory(self._plan.arena, 1 if in_turn else A.batch)
        self.fill(A)

    @staticmethod
    def _plan_for(A: StencilOperator, settings: Multigrid) -> MultigridPlan:
        dtype = working_dtype(settings.dtype, A)
        hermitian = Tag.SYMMETRIC in A.tags
        return _plan(A.offsets, A.shape, A.periodic, dtype, A.device, hermitian, settings)

    @property
    def levels(self) -> list[Level]:
        """From the finest to the one above the dense inverse."""
        return self._plan.levels

    @property
    def compiled(self) -> ctypes.CDLL | None:
        """The interpreter of the cycle, where it can be used."""
        return self._plan.cycle.compiled

    def calls(self, x: Tensor, out: Tensor) -> tuple[ProgramCall | None, ProgramCall]:
        """For compiled loops: what sets up a system, if that is to be done in turn, and ``out = M x``."""
        set_up = self._plan.set_up.call(self._memory, [self._coefficients]) if self.in_turn else None
        return set_up, self._plan.cycle.call(self._memory, (OuterArray(x), OuterArray(out, self.scale)))

    def fits(self, A: StencilOperator, settings: Multigrid, in_turn: bool) -> bool:
        """Whether :meth:`fill` can take ``A``."""
        same = (A.batch, A.dtype, A.device) == (self.batch, self.dtype, self.device)
        return same and in_turn == self.in_turn and self._plan_for(A, settings) is self._plan

    def fill(self, A: StencilOperator) -> None:
        """Build all levels for the coefficients of ``A``, in the memory that is there."""
        self._A, self.tags = A, A.tags
        # float32 has a short range: the cycle works on the operator scaled to largest diagonal entry 1.
        largest = magnitude(A.coefficients[:, A.offsets.index((0,) * len(A.shape))])
        self.scale = (
            torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0).to(torch.float64).reciprocal()
        )
        self._coefficients = OuterArray(A.coefficients.contiguous(), self.scale)
        if not self.in_turn:
            self._plan.set_up.run(self._memory, self._coefficients)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x, memory_format=torch.contiguous_format))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which may be x."""
        return self._run(self._plan.cycle, x, out)

    def nested_iteration(self, b: Tensor) -> Tensor:
        """An approximate solution of ``A x = b``; see :func:`~pdeflow.linalg.full_multigrid`."""
        out = torch.empty_like(b, memory_format=torch.contiguous_format)
        return self._run(self._plan.nested, b, out)

    def _run(self, program: Program, x: Tensor, out: Tensor) -> Tensor:
        to = out if out.is_contiguous() else torch.empty_like(out, memory_format=torch.contiguous_format)
        x, plan, memory = x.contiguous(), self._plan, self._memory
        if self.in_turn:
            for i in range(self.batch):
                own = slice(i, i + 1)
                plan.set_up.run(memory, OuterArray(self._coefficients.values[own], self.scale[own]))
                program.run(memory, OuterArray(x[own]), OuterArray(to[own], self.scale[own]))
        else:
            program.run(memory, OuterArray(x), OuterArray(to, self.scale))
        return to if to is out else out.copy_(to)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "a multigrid cycle", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> MultigridCycle:
        """The conjugate transpose of V and W cycles.

        Raises
        ------
        InvalidInput
            For an F cycle, whose adjoint takes the coarse grids in another order.
        """
        if self.settings.cycle == "F":
            raise InvalidInput("cycle", "F", "'V' or 'W'", "Use Multigrid() where an adjoint is needed.")
        # The sweep up of A* is the adjoint of the sweep down of A, so the cycle of A* is the adjoint cycle.
        return MultigridCycle(self._A.adjoint, self.settings)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> MultigridCycle:
        """The cycle of the operator in another dtype or on another device."""
        return MultigridCycle(self._A.to(dtype, device), self.settings)


def coarsens(shape: Sequence[int], periodic: Sequence[bool]) -> bool:
    """Whether `Multigrid` takes a grid: its periodic axes can be halved until few points are left."""
    kept = _kept_axes(shape)
    sizes, wraps = _pick(shape, kept), _pick(periodic, kept)
    while math.prod(sizes) > _most_dense(sizes) and not any(w and n % 2 for n, w in zip(sizes, wraps)):
        halves = tuple(n // 2 for n in sizes)
        kept = _kept_axes(halves)
        sizes, wraps = _pick(halves, kept), _pick(wraps, kept)
    return math.prod(sizes) <= LARGEST_DENSE


def _most_dense(shape: Sequence[int]) -> int:
    return COARSEST_THIN if min(shape) < 4 else COARSEST


def _kept_axes(shape: Sequence[int]) -> list[int]:
    """The axes with more than one point; an axis is kept at least."""
    return [axis for axis, n in enumerate(shape) if n > 1] or [0]


def _pick(values: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    return tuple(values[axis] for axis in axes)


def _on_axes(rows: tuple[Span, tuple[int, ...]], axes: Sequence[int]) -> tuple[Span, tuple[int, ...]]:
    return rows[0], _pick(rows[1], axes)
