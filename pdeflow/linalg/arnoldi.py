"""The Arnoldi process for a batch of operators: orthonormal vectors, and A in their basis."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from pdeflow.linalg.native import library
from pdeflow.linalg.operator import double_precision, magnitude


class Basis:
    """Orthonormal vectors ``w_1, w_2, ...`` of every system, the rows of ``rows``, built one at a time.

    The first ``fixed`` rows C stand from the beginning of a cycle; then come v_1, along the first residual
    without its part in C, and one v for every vector ``A z_j`` that is appended::

        A z_j = sum_i h[i, j] w_i + h[fixed + j + 1, j] v_(j+1)

    The vectors are orthogonalised twice by the classical Gram-Schmidt process, which is two products with
    all rows at once each and as good as rounding allows. On a CPU a compiled loop does it block by block, and
    the second time only where the first has cancelled most of a vector.

    While it grows, the least residual of ``r - A Z y`` is known from the left null vector of the
    Hessenberg matrix: with ``u* H = 0`` and ``u_1 = 1`` it is ``||r_0|| / ||u||``, and one product a step
    gives the next entry of u.

    Where a vector comes out as zero (the space holds the answer, or A maps it to itself without reaching
    the right-hand side) or is not finite, zero is put in its place and the system takes no further part in
    the cycle; its last columns are left out of the least squares problem.

    Attributes
    ----------
    rows
        ``(batch, total + 1, size)``.
    h
        ``(batch, total + 1, total)``, ``h[:, i, j]`` as above.
    z
        ``(batch, total, size)``, the vectors z_j; None where they are not kept.
    v, w
        ``(batch, size)``: the newest row, and the place where ``A z_j`` is put to be appended.
    inside
        ``(batch, fixed)``, the part of the first residual in C, relative to its norm.
    count
        ``(batch,)``: columns of every system.
    active
        ``(batch,)`` bool: systems that take part in the cycle.
    length
        ``(batch,)`` float64: the norm of the first residual.
    norm
        ``(batch,)`` float64: the least residual norm.
    """

    def __init__(
        self, batch: int, total: int, size: int, dtype: torch.dtype, device: torch.device, keep: bool
    ) -> None:
        # Rows that are not in use must be finite, because they get multiplied by zero.
        self.rows = torch.zeros(batch, total + 1, size, dtype=dtype, device=device)
        self.h = torch.zeros(batch, total + 1, total, dtype=dtype, device=device)
        self.z = torch.zeros(batch, total, size, dtype=dtype, device=device) if keep else None
        self.v = torch.zeros(batch, size, dtype=dtype, device=device)
        self.w = torch.zeros_like(self.v)
        self.fixed = self.used = 0
        self.length, self.norm, self._growth, self._start, self._goal = torch.zeros(
            5, batch, dtype=torch.float64, device=device
        )
        self.active, self.broken = torch.zeros(2, batch, dtype=torch.bool, device=device)
        self.count = torch.zeros(batch, dtype=torch.int64, device=device)
        self._double = double_precision(dtype)
        self._left = torch.zeros(batch, total + 1, dtype=self._double, device=device)
        self._epsilon = torch.finfo(dtype).eps
        self._compiled = _Compiled(self) if device.type == "cpu" and library("arnoldi") is not None else None

    def fits(
        self, batch: int, total: int, size: int, dtype: torch.dtype, device: torch.device, keep: bool
    ) -> bool:
        """Whether a basis made with these arguments would have these buffers."""
        return (self.rows.shape, self.rows.dtype, self.rows.device, self.z is not None) == (
            (batch, total + 1, size),
            dtype,
            device,
            keep,
        )

    def begin(self, r: Tensor, length: Tensor, active: Tensor, goal: Tensor, fixed: int) -> None:
        """Start a cycle from residuals ``(batch, size)`` with these norms; those in ``active`` take part.

        A system stops taking part once its least residual is at or below ``goal``.
        """
        self.fixed, self.used = fixed, 0
        unit = torch.where(active & (length > 0), length.reciprocal(), 0.0)
        v = (r * unit.unsqueeze(1)).to(self.v.dtype)
        v = torch.where(active.unsqueeze(1), v, torch.zeros_like(v))
        self.inside = v.new_zeros(v.shape[0], fixed)
        if fixed:
            v, self.inside = self._outside(v, fixed)
        left = torch.linalg.vector_norm(v, dim=1)
        # What is left of a residual in C is rounding.
        some = left > 10 * self._epsilon
        v = torch.where(some.unsqueeze(1), v / left.unsqueeze(1), torch.zeros_like(v))
        self.v.copy_(v)
        self.rows[:, fixed] = v
        self.length.copy_(length)
        self._goal.copy_(goal)
        torch.mul(length, left, out=self._start)
        self.norm.copy_(torch.where(active, self._start, length))
        self.h.zero_()  # below the subdiagonal nothing is written
        self.count.zero_()
        self.broken.zero_()
        self._left[:, 0] = 1
        self._growth.fill_(1)
        self.active.copy_(active & some & (self.norm > goal))

    def _outside(self, w: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """``w`` made orthogonal to the first rows, and its coefficients along them."""
        rows, rest = self.rows[:, :count], w.unsqueeze(2)
        along = torch.zeros_like(rest[:, :1])
        for _ in range(2):
            # Conjugates of single vectors: of the rows it would be a copy of them all.
            part = torch.bmm(rows, rest.conj()).conj().resolve_conj()
            rest = torch.baddbmm(rest, rows.mT, part, alpha=-1)
            along = along + part
        return rest.squeeze(2), along.squeeze(2)

    def append(self, z: Tensor) -> None:
        """Take ``A z`` from ``w``: orthogonalise it, see what it does to the least residual, keep z."""
        if self._compiled is not None:
            self._compiled.append(self.fixed, self.used, z)
        else:
            self._append(z)
        self.used += 1

    def _append(self, z: Tensor) -> None:
        j, end = self.used, self.fixed + self.used + 1
        # Squares are taken of w at order one: those of a large A would leave the range.
        largest = magnitude(self.w)
        finite = torch.isfinite(largest)
        exponent = torch.frexp(torch.where(finite & (largest > 0), largest, 1.0))[1]
        scaled = self.w * torch.ldexp(torch.ones_like(largest), -exponent).unsqueeze(1)
        before = torch.linalg.vector_norm(scaled, dim=1)
        w, h = self._outside(scaled, end)
        length = torch.linalg.vector_norm(w, dim=1)
        some = finite & (length > 10 * self._epsilon * before)
        if self.z is not None:
            self.z[:, j] = torch.where(finite.unsqueeze(1), z, torch.zeros_like(z))
        v = torch.where(some.unsqueeze(1), w / length.unsqueeze(1), torch.zeros_like(w))
        self.v.copy_(v)  # which z may be
        self.rows[:, end] = v
        up = torch.ldexp(torch.ones_like(largest), exponent)
        self.h[:, :end, j] = h * up.unsqueeze(1)
        self.h[:, end, j] = torch.where(some, length * up, torch.zeros_like(length))

        product = (self._left[:, : j + 1] * h[:, self.fixed :]).sum(1)
        following = torch.where(some, -product / length, torch.zeros_like(product))
        self._left[:, j + 1] = following
        self._growth += following.abs().square()
        # An invariant space holds the answer, unless its matrix is singular.
        reached = ~some & (product.abs() > 10 * self._epsilon * before * self._growth.sqrt())
        least = torch.where(reached, 0.0, self._start * self._growth.rsqrt())
        self.norm.copy_(torch.where(self.active & finite, least, self.norm))
        self.count += self.active & finite
        self.broken |= self.active & ~finite
        self.active &= some & (self.norm > self._goal)

    @property
    def any_active(self) -> bool:
        """Whether some system still takes part; the host reads this."""
        return bool(self.active.any())

    @property
    def valid(self) -> Tensor:
        """``(batch, used)``: whether a column counts for its system."""
        return torch.arange(self.used, device=self.count.device) < self.count.unsqueeze(1)

    def least_squares(self) -> Tensor:
        """The y, ``(batch, used)``, that make ``r - A Z y`` shortest outside of C.

        Columns that do not count get zero, and so does one that lies in the span of those before it.
        """
        if not self.used:
            return self.h.new_zeros(self.h.shape[0], 0)
        fixed, used = self.fixed, self.used
        H = self.h[:, fixed : fixed + used + 1, :used].to(self._double)
        H = torch.where(self.valid.unsqueeze(1), H, torch.zeros_like(H))
        Q, R = torch.linalg.qr(H)
        right = Q[:, 0].conj() * self._start.unsqueeze(1)
        R, independent = without_dependent_rows(R, self._epsilon)
        right = torch.where(independent, right, torch.zeros_like(right))
        y = torch.linalg.solve_triangular(R, right.unsqueeze(2), upper=True).squeeze(2)
        return torch.where(torch.isfinite(y), y, torch.zeros_like(y)).to(self.h.dtype)


def without_dependent_rows(R: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """R with rows of the identity in place of those whose column lies in the span of the earlier ones.

    Also tells which rows are left, ``(batch, n)``. A triangular solve with zeros on the right of the others
    then gives zeros for them. Every column is its own scale, because they may differ by any factor.
    """
    diagonal = torch.diagonal(R, dim1=1, dim2=2).abs()
    left = diagonal > 10 * epsilon * R.abs().amax(1)
    identity = torch.eye(R.shape[1], dtype=R.dtype, device=R.device)
    return torch.where(left.unsqueeze(2), R, identity), left


def combine(y: Tensor, rows: Tensor) -> Tensor:
    """``sum_j y_j rows_j``: ``(batch, k) , (batch, k, size) -> (batch, size)``."""
    return torch.bmm(y.unsqueeze(1), rows).squeeze(1)


class _Layout(ctypes.Structure):
    """The struct of ``native/arnoldi.c``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("batch", "size", "total", "fixed", "is_complex")),
        *((name, ctypes.c_void_p) for name in ("rows", "h", "z", "v", "w")),
        *((name, ctypes.c_void_p) for name in ("left", "growth", "norm", "start", "goal")),
        *((name, ctypes.c_void_p) for name in ("count", "active", "broken", "scratch", "column")),
    )


class _Compiled:
    """The compiled form of :meth:`Basis.append`, on the memory of one basis."""

    def __init__(self, basis: Basis) -> None:
        rows = torch.view_as_real(basis.rows).flatten(2) if basis.rows.is_complex() else basis.rows
        batch, count, size = rows.shape
        self._scratch, self._column = rows.new_empty(size), rows.new_empty(2 * count)
        tensors = dict(
            rows=basis.rows, h=basis.h, z=basis.z, v=basis.v, w=basis.w, left=basis._left,
            growth=basis._growth, norm=basis.norm, start=basis._start, goal=basis._goal, count=basis.count,
            active=basis.active, broken=basis.broken, scratch=self._scratch, column=self._column,
        )  # fmt: skip
        self._layout = _Layout(batch, size, count - 1, 0, int(basis.rows.is_complex()))
        for name, tensor in tensors.items():
            setattr(self._layout, name, None if tensor is None else tensor.data_ptr())
        name = "append_float32" if rows.dtype == torch.float32 else "append_float64"
        self._call = getattr(library("arnoldi"), name)
        self._call.argtypes = (ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p)
        self._call.restype = ctypes.c_int64
        self._address = ctypes.addressof(self._layout)

    def append(self, fixed: int, used: int, z: Tensor) -> None:
        self._layout.fixed = fixed
        self._call(self._address, used, z.data_ptr())
