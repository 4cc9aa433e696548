"""Algebraic multigrid: PyAMG finds the hierarchy, one batched cycle serves every sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput, MissingDependency
from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.array_operations import dense_inverse
from pdeflow.linalg.operator import LinearOperator, Tag, double_precision
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.sparse import SparseOperator, explicit_matrix
from pdeflow.linalg.sparse_galerkin import Coarsening
from pdeflow.linalg.sparse_matrix import SparseMatrix, SparsePattern

COARSEST = 100  # unknowns below which a dense inverse takes over
LARGEST_DENSE = 2048  # unknowns up to which it may, where PyAMG finds nothing more to coarsen
METHODS = ("ruge_stuben", "smoothed_aggregation")
REUSE = ("prolongation", "coarse operators")


@dataclass(frozen=True)
class AlgebraicMultigrid(Preconditioner):
    """A symmetric V cycle on a hierarchy read off the matrix, for stencils and sparse operators.

    - Prolongations P (and restrictions R, which are ``P*`` for Hermitian matrices) come from PyAMG's set-up
      of **one** sample: the first one of the batch that is finite and has a full diagonal, or one of an
      earlier system with the same pattern (``previous``).
    - Coarse operators are ``R A P``. By default they are worked out again for every sample through the
      frozen P, so that a cycle stays convergent for samples quite unlike the first.
    - Smoother: Chebyshev polynomials of the fourth kind in ``D^-1 A``, before and after. They need only an
      upper bound of the spectrum, for which the largest row sum of ``|D^-1 A|`` is taken, or of the adjoint
      if that is smaller.
    - Coarsest level: a dense inverse; where it maps constants to zero, these get a positive value. Where
      coarsening has ended above 2048 unknowns, for want of couplings, the smoother.

    References: J. W. Ruge and K. Stuben, "Algebraic multigrid", in *Multigrid Methods*, SIAM 1987;
    P. Vanek, J. Mandel, M. Brezina, "Algebraic multigrid by smoothed aggregation", Computing 56 (1996);
    J. Lottes, "Optimal polynomial smoothers for multigrid V-cycles", Numer. Linear Algebra Appl. 30 (2023);
    N. Bell, L. Olson, J. Schroder, "PyAMG", J. Open Source Software 7 (2022).

    Parameters
    ----------
    method
        ``"ruge_stuben"`` (real matrices) or ``"smoothed_aggregation"``.
    reuse
        What neighbours take from the system of the set-up: its ``"prolongation"``, or its ``"coarse
        operators"`` as well, which leaves only the finest level to be filled.
    degree
        Of the smoothing polynomial: products with A in a sweep.

    Raises
    ------
    MissingDependency
        If PyAMG is not installed.
    InvalidInput
        From ``init``: for an operator without a matrix, or a complex one with ``"ruge_stuben"``.
    """

    method: Literal["ruge_stuben", "smoothed_aggregation"] = "ruge_stuben"
    reuse: Literal["prolongation", "coarse operators"] = "prolongation"
    degree: int = 2

    def __post_init__(self) -> None:
        for name, value, known in (("method", self.method, METHODS), ("reuse", self.reuse, REUSE)):
            if value not in known:
                raise InvalidInput(name, value, f"one of {known}", choices=known)
        check_count("degree", self.degree)

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> AlgebraicCycle:
        """Build the hierarchy, or take that of ``previous``, and fill it with the values of A."""
        matrix = explicit_matrix(A.detach())
        if isinstance(previous, AlgebraicCycle) and previous.serves(matrix, self):
            return AlgebraicCycle(matrix, self, previous.hierarchy, previous.reference)
        usable = matrix.is_finite() & (matrix.diagonal() != 0).flatten(1).all(1)
        sample = int(usable.to(torch.int8).argmax())
        values = torch.nan_to_num(matrix.values.detach()[sample : sample + 1], 1.0, 1.0, 1.0)
        reference = matrix.with_parameter(values)
        return AlgebraicCycle(matrix, self, self._set_up(reference), reference)

    def _set_up(self, A: SparseOperator) -> list[Coarsening]:
        import numpy as np

        try:
            import pyamg  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise MissingDependency("pyamg is not installed.\nRun: pip install 'pdeflow[amg]'") from error
        if self.method == "ruge_stuben" and A.dtype.is_complex:
            hint = 'Use AlgebraicMultigrid(method="smoothed_aggregation").'
            raise InvalidInput("A.dtype", A.dtype, "a real operator for the method of Ruge and Stuben", hint)
        double = double_precision(A.dtype)
        csr: Any = A.to(double, "cpu").to_scipy()
        csr.indptr, csr.indices = csr.indptr.astype(np.int32), csr.indices.astype(np.int32)
        # PyAMG takes tiny entries for zeros. P and R, which alone are used, do not change with the scale, and
        # by a power of two nothing is rounded.
        csr.data = csr.data * np.ldexp(1.0, -np.frexp(np.abs(csr.data).max(initial=1e-300))[1])
        options: dict[str, Any] = {"max_coarse": COARSEST, "presmoother": None, "postsmoother": None}
        if self.method == "smoothed_aggregation":
            options["symmetry"] = "hermitian" if Tag.SYMMETRIC in A.tags else "nonsymmetric"
        solver = getattr(pyamg, f"{self.method}_solver")
        # PyAMG draws from NumPy's global generator: the same numbers every time, and nobody else notices.
        kept = np.random.get_state()  # noqa: NPY002
        np.random.seed(0)  # noqa: NPY002
        try:
            levels = solver(csr, **options).levels
        finally:
            np.random.set_state(kept)  # noqa: NPY002
        hierarchy, pattern = [], A.pattern
        for level in levels[:-1]:
            if level.P.nnz == 0:
                break
            step = Coarsening(pattern, level.P.tocsr(), level.R.tocsr(), A.dtype, A.device)
            hierarchy.append(step)
            pattern = step.coarse
        return hierarchy


class SmoothedLevel:
    """A matrix with its smoother."""

    def __init__(self, pattern: SparsePattern, values: Tensor, degree: int, symmetric: bool) -> None:
        self.matrix, self.degree = SparseMatrix(pattern, values), degree
        extended = torch.cat([values, values.new_zeros((values.shape[0], 1))], 1)
        diagonal = extended.index_select(1, pattern.placed("diagonal", values.device))
        self.inverse = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal).reciprocal()
        sums = SparseMatrix(pattern, values.abs())
        bound = self._largest_row_sum(sums)
        if not symmetric:
            bound = torch.minimum(bound, self._largest_row_sum(sums.adjoint()))
        self.step = self.inverse / torch.where(bound > 0, bound, torch.ones_like(bound))

    def _largest_row_sum(self, matrix: SparseMatrix) -> Tensor:
        ones = matrix.values.new_ones((matrix.values.shape[0], matrix.pattern.columns))
        sums = matrix.multiply(ones, torch.empty_like(ones))
        return (sums * self.inverse.abs()).amax(1, keepdim=True)

    def residual(self, b: Tensor, x: Tensor) -> Tensor:
        """``b - A x``."""
        product = self.matrix.multiply(x, torch.empty_like(x))
        return torch.sub(b, product, out=product)

    def smooth(self, r: Tensor) -> Tensor:
        """The correction ``p(D^-1 A) D^-1 r`` of one sweep that starts from the residual r."""
        d = self.step * r * (4 / 3)
        x = d.clone()
        for k in range(1, self.degree):
            r = self.residual(r, d)
            d.mul_((2 * k - 1) / (2 * k + 3)).addcmul_(self.step, r, value=(8 * k + 4) / (2 * k + 3))
            x += d
        return x


class AlgebraicCycle(LinearOperator):
    """One V cycle from a zero guess, for all samples together."""

    broadcasts = True

    def __init__(
        self,
        A: SparseOperator,
        settings: AlgebraicMultigrid,
        hierarchy: list[Coarsening],
        reference: SparseOperator,
    ) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._A, self._settings = A, settings
        self.hierarchy, self.reference = hierarchy, reference
        pattern, values = A.pattern, A.values.detach()
        coarse = reference.values if settings.reuse == "coarse operators" else values
        symmetric = Tag.SYMMETRIC in A.tags
        self.levels: list[SmoothedLevel] = []
        for step in hierarchy:
            self.levels.append(SmoothedLevel(pattern, values, settings.degree, symmetric))
            pattern, values = step.coarse, step.galerkin(coarse)
            coarse = values
        dense = pattern.rows <= LARGEST_DENSE
        self._coarsest = dense_inverse(_dense(pattern, values)) if dense else None
        self._last = None if dense else SmoothedLevel(pattern, values, settings.degree, symmetric)

    def serves(self, A: SparseOperator, settings: AlgebraicMultigrid) -> bool:
        """Whether the hierarchy fits another operator."""
        mine, same = self._A, self._settings == settings
        return same and (mine.dtype, mine.device) == (A.dtype, A.device) and mine.pattern == A.pattern

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self._cycle(x.reshape(x.shape[0], -1), 0).reshape(x.shape)

    def _cycle(self, b: Tensor, depth: int) -> Tensor:
        if self._last is not None and depth == len(self.hierarchy):
            return self._last.smooth(b)
        if self._coarsest is not None and depth == len(self.hierarchy):
            return torch.matmul(self._coarsest, b[..., None])[..., 0]
        level, step = self.levels[depth], self.hierarchy[depth]
        x = level.smooth(b)
        r = level.residual(b, x)
        coarse = step.R.multiply(r, r.new_empty((r.shape[0], step.R.pattern.rows)))
        x += step.P.multiply(self._cycle(coarse, depth + 1), r)
        x += level.smooth(level.residual(b, x))
        return x

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "a multigrid cycle", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> AlgebraicCycle:
        """The conjugate transpose: the cycle of A* with P and R in each other's place."""
        if Tag.SYMMETRIC in self.tags:
            return self
        A, hierarchy = self._A.adjoint, []
        pattern = A.pattern
        for step in self.hierarchy:
            up, down = step.restriction.conj().T.tocsr(), step.prolongation.conj().T.tocsr()
            hierarchy.append(Coarsening(pattern, up, down, A.dtype, A.device))
            pattern = hierarchy[-1].coarse
        return AlgebraicCycle(A, self._settings, hierarchy, self.reference.adjoint)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> AlgebraicCycle:
        """The cycle of the operator in another dtype or on another device."""
        A, reference = self._A.to(dtype, device), self.reference.to(dtype, device)
        hierarchy = [step.to(A.dtype, A.device) for step in self.hierarchy]
        return AlgebraicCycle(A, self._settings, hierarchy, reference)


def _dense(pattern: SparsePattern, values: Tensor) -> Tensor:
    """The matrices ``(batch, rows, rows)``."""
    rows, columns = (pattern.placed(name, values.device) for name in ("row_numbers", "indices"))
    dense = values.new_zeros((values.shape[0], pattern.rows**2))
    return dense.index_copy(1, rows * pattern.rows + columns, values).view(-1, pattern.rows, pattern.rows)
