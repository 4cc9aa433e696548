"""Direct solution of systems on a plane grid by nested dissection, many systems side by side."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import native
from pdeflow.linalg.arguments import check_precision
from pdeflow.linalg.coloured_stencil import check_compact
from pdeflow.linalg.compiled_factors import call
from pdeflow.linalg.elimination_plan import EliminationPlan, elimination_plan
from pdeflow.linalg.operator import LinearOperator, Tag, column, magnitude, working_dtype
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator

LANES = {torch.float32: 16, torch.float64: 8, torch.complex64: 16, torch.complex128: 8}
FEW = 4  # systems for which one after the other is faster


@dataclass(frozen=True)
class NestedDissection(Preconditioner):
    """``M = A^-1`` by Gaussian elimination, for stencils within {-1, 0, 1}^2 on a bounded plane grid.

    The line of points in the middle parts the grid; the halves are eliminated first, each in the same way,
    and then the line. By fronts: the matrix of the points that are eliminated together and of those that they
    are coupled to is summed up, its pivots are eliminated, and what is left is handed on to the next front.
    On n points that takes about ``17 n^1.5`` multiplications and ``5 n log2 n`` numbers, half of that where A
    is tagged ``SYMMETRIC``, for any coefficients.

    All systems of a batch are eliminated in the same order, 16 at a time in single precision or 8 in double,
    with a number of each in every vector of the processor, so that small fronts cost no more than large ones.
    Pivots are taken as they come, but one below the square root of the rounding, against the largest diagonal
    entry, is replaced by that: so an indefinite operator costs digits, which a Krylov method around M wins
    back in a few iterations, with a checked residual. (The eager form pivots within each front.) Where A is
    tagged ``CONSTANT_NULL_SPACE`` the last pivot is enlarged, which makes A regular and changes no solution
    of a consistent system but by a constant.

    References: A. George, "Nested dissection of a regular finite element mesh", SIAM J. Numer. Anal. 10
    (1973); I. S. Duff and J. K. Reid, "The multifrontal solution of indefinite sparse symmetric linear
    equations", ACM Trans. Math. Softw. 9 (1983); X. S. Li and J. W. Demmel, "SuperLU_DIST: a scalable
    distributed-memory sparse direct solver", ibid. 29 (2003), for the small pivots.

    Parameters
    ----------
    dtype
        Of the factors: float32 takes half the time and memory of float64, for some more iterations; None
        (default) is the operator's.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is not such a stencil.
    """

    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_precision(self.dtype)

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> EliminatedInverse:
        """Factor every system of A, in the memory of ``previous`` (which is used up) where it fits."""
        if not isinstance(A, StencilOperator) or len(A.shape) != 2:
            hint = "Use SparseDirect() for other operators."
            raise InvalidInput("A", type(A).__name__, "a StencilOperator in two dimensions", hint)
        if any(A.periodic):
            hint = "Use SparseDirect() where an axis wraps."
            raise InvalidInput("A.periodic", A.periodic, "bounded axes", hint)
        check_compact(A)
        A = A.detach()
        if isinstance(previous, EliminatedInverse) and previous.fits(A, self):
            previous.fill(A)
            return previous
        return EliminatedInverse(A, self)


class EliminatedInverse(LinearOperator):
    """The inverse of every system through its factors.

    It owns its memory, so one thread at a time may apply it. One in float32 takes and gives numbers within
    the range of float32 times that of A.
    """

    broadcasts = True

    def __init__(self, A: StencilOperator, settings: NestedDissection) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self.settings = settings
        self._dtype = working_dtype(settings.dtype, A)
        compiled = A.device.type == "cpu" and self._dtype in LANES
        self._library = native.library("nested_dissection") if compiled else None
        real = self._dtype in (torch.float32, torch.float64)
        self._symmetric = self._library is not None and real and Tag.SYMMETRIC in A.tags
        self._plan = elimination_plan(A.shape, A.offsets, self._symmetric)
        self._lanes = LANES[self._dtype] if self._library is not None and A.batch >= FEW else 1
        self._groups = -(-A.batch // self._lanes)
        if self._library is not None:
            self._factors, self._work, self._stack = (
                torch.empty(size, self._lanes, dtype=self._dtype, device="cpu")
                for size in (self._groups * self._plan.total, self._plan.largest**2, max(1, self._plan.stack))
            )
        self.fill(A)

    def fits(self, A: StencilOperator, settings: NestedDissection) -> bool:
        """Whether :meth:`fill` can take ``A``."""
        mine = (self._A.offsets, self.shape, self.batch, self.dtype, self.device, self.settings)
        same = mine == (A.offsets, A.shape, A.batch, A.dtype, A.device, settings)
        return same and (Tag.SYMMETRIC in self.tags) == (Tag.SYMMETRIC in A.tags)

    def fill(self, A: StencilOperator) -> None:
        """Factor ``A``."""
        self._A, self.tags = A, A.tags
        # float32 has a short range: what is factored has a largest diagonal entry of one.
        largest = magnitude(A.coefficients[:, A.offsets.index((0, 0))])
        self._scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0).reciprocal()
        values = A.coefficients * self._scale.reshape(-1, 1, 1, 1).to(A.dtype)
        values = values.to(self._dtype).flatten(1)
        plan = self._plan
        if Tag.CONSTANT_NULL_SPACE in A.tags:
            last = A.offsets.index((0, 0)) * self.size + int(plan.fronts[-1].pivots[-1])
            values = values.clone()
            values[:, last] += 1
        if self._library is None:
            self._blocks = _eliminate(plan, values)
            return
        values = self._side_by_side(values)
        call(
            getattr(self._library, f"factor_{self._kind}"),
            *(int(self._symmetric), self._groups, len(plan.fronts)),
            *(plan.table, plan.source, plan.target, plan.map),
            *(A.coefficients.shape[1:].numel(), plan.total, values, self._factors, self._work, self._stack),
        )

    @property
    def _kind(self) -> str:
        return str(self._dtype).removeprefix("torch.") + ("_lanes" if self._lanes > 1 else "")

    def _side_by_side(self, values: Tensor) -> Tensor:
        """(batch, numbers) as (groups, numbers, lanes); the last system stands in for those that lack.

        Of complex numbers the real parts of all systems come first, then the imaginary ones.
        """
        values = torch.view_as_real(values.resolve_conj()).flatten(1) if values.is_complex() else values
        missing = self._groups * self._lanes - values.shape[0]
        if missing:
            values = torch.cat([values, values[-1:].expand(missing, -1)])
        parted = values.unflatten(0, (self._groups, self._lanes)).transpose(1, 2)
        return parted.clone(memory_format=torch.contiguous_format)

    def _one_by_one(self, values: Tensor) -> Tensor:
        """What :meth:`_side_by_side` has done, undone."""
        values = values.transpose(1, 2).flatten(0, 1)[: self.batch]
        if not self._dtype.is_complex:
            return values
        return torch.view_as_complex(values.unflatten(1, (-1, 2)).contiguous())

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        flat = x.to(self._dtype).flatten(1)
        plan = self._plan
        if self._library is None:
            result = _substitute(plan, self._blocks, flat)
        else:
            # The factors of one system take all vectors, one after the other.
            one = self.batch == 1
            several = x.shape[0] if one else 1
            # C reads it by rows, whatever the strides of x.
            alone = flat.resolve_conj()
            values = alone.clone(memory_format=torch.contiguous_format) if one else self._side_by_side(flat)
            call(
                getattr(self._library, f"solve_{self._kind}"),
                *(int(self._symmetric), self._groups, several, len(plan.fronts), plan.table, plan.front),
                *(self.size, plan.total, self._factors, values, self._work),
            )
            result = values if one else self._one_by_one(values)
        scaled = result.to(x.dtype) * column(self._scale, result).to(x.dtype)
        return scaled.reshape(x.shape)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "factors", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> EliminatedInverse:
        """The conjugate transpose: the inverse of the adjoint, factored anew."""
        return EliminatedInverse(self._A.adjoint, self.settings)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> EliminatedInverse:
        """The inverse of the operator in another dtype or on another device."""
        return EliminatedInverse(self._A.to(dtype, device), self.settings)


def _eliminate(plan: EliminationPlan, values: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The eager form, by blocks: the inverse of the pivots of a front, what is below them, what is beside."""
    blocks, left = [], {}
    device = values.device
    source, target, to = (held.to(device).long() for held in (plan.source, plan.target, plan.map))
    for k, front in enumerate(plan.fronts):
        s, m, _, first, last = (int(number) for number in plan.table[k, :5])
        matrix = values.new_zeros(values.shape[0], m * m)
        matrix.index_add_(1, target[first:last], values[:, source[first:last]])
        matrix = matrix.view(-1, m, m)
        for number, child in enumerate(front.children):
            size, start = (int(n) for n in plan.table[k, 7 + 3 * number : 9 + 3 * number])
            places = to[start : start + size]
            matrix[:, places[:, None], places] += left.pop(child)
        inverse = torch.linalg.inv_ex(matrix[:, :s, :s])[0]
        below = torch.bmm(matrix[:, s:, :s], inverse)
        left[k] = matrix[:, s:, s:] - torch.bmm(below, matrix[:, :s, s:])
        blocks.append((inverse, below, matrix[:, :s, s:].clone()))
    return blocks


def _substitute(plan: EliminationPlan, blocks: list[tuple[Tensor, Tensor, Tensor]], x: Tensor) -> Tensor:
    """Forward and backward through the fronts, for ``(batch, n)``."""
    x = x.clone()
    points = [
        (torch.from_numpy(front.pivots).to(x.device), torch.from_numpy(front.border).to(x.device))
        for front in plan.fronts
    ]
    for (pivots, border), (_, below, _) in zip(points, blocks):
        x[:, border] -= torch.matmul(below, x[:, pivots, None])[..., 0]
    for (pivots, border), (inverse, _, beside) in zip(reversed(points), reversed(blocks)):
        rest = x[:, pivots, None] - torch.matmul(beside, x[:, border, None])
        x[:, pivots] = torch.matmul(inverse, rest)[..., 0]
    return x
