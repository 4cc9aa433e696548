r"""The systems of Gauss-Newton methods, :math:`(J^T J + \lambda I)\, d = J^T r`, in the smaller form.

With fewer residuals than parameters their solution is :math:`d = J^T (J J^T + \lambda I)^{-1} r`, by the
formula of Woodbury: the parameter form has a matrix (P, P), the kernel form one (M, M).
"""

from __future__ import annotations

import torch
from torch import Tensor

TOLERANCE = 1e-8
"""Relative residual at which conjugate gradients end."""

ITERATIONS = 200
"""Of conjugate gradients."""

SHIFTS = 20
"""Times that the shift of a sketch is multiplied by ten, from rounding to beyond the norm of its matrix."""


def gram(a: Tensor) -> Tensor:
    """:math:`A^T A` (P, P) of A (M, P).

    On the host by NumPy, which sees that the two factors are one matrix: half of the products are enough.
    """
    if a.device.type != "cpu":
        return a.T @ a
    host = a.numpy(force=True)
    return torch.from_numpy(host.T @ host)


class NormalEquations:
    """The system by Cholesky's factors.

    Parameters
    ----------
    jacobian
        (M, P).
    residuals
        (M,).
    kernel
        Whether to take the kernel form; by default where it is smaller.
    """

    def __init__(self, jacobian: Tensor, residuals: Tensor, kernel: bool | None = None) -> None:
        rows, columns = jacobian.shape
        self.kernel = rows < columns if kernel is None else kernel
        self.jacobian = jacobian
        self.gram = gram(jacobian.T if self.kernel else jacobian)
        self.residuals = residuals
        self.factor: Tensor | None = None
        self.mean_square = float(self.gram.diagonal().sum()) / columns

    @property
    def rounding(self) -> float:
        """The least damping that is not lost in the matrix."""
        return float(torch.finfo(self.gram.dtype).eps * self.gram.diagonal().max())

    def solve(self, damping: float) -> Tensor | None:
        """d (P,); None where rounding has made the matrix indefinite."""
        damped = self.gram.clone()
        damped.diagonal().add_(damping)
        factor, info = torch.linalg.cholesky_ex(damped)
        if int(info):
            return None
        self.factor = factor
        return self.solve_again(self.residuals)

    def solve_again(self, residuals: Tensor) -> Tensor:
        """d (P,) for other residuals (M,), with the damping, and the factor, of the last `solve`."""
        assert self.factor is not None, "solve comes first"
        right = residuals if self.kernel else self.jacobian.T @ residuals
        solution = torch.cholesky_solve(right[:, None], self.factor)[:, 0]
        return self.jacobian.T @ solution if self.kernel else solution


class NystromEquations:
    r"""The system by conjugate gradients, preconditioned by a randomised sketch of its matrix, never formed.

    The sketch :math:`U \Lambda U^T`, of low rank, has the large eigenvalues; the preconditioner is :math:`U
    (\Lambda + \lambda)^{-1} U^T + (\Lambda_{min} + \lambda)^{-1} (I - U U^T)`.

    Z. Frangella, J. A. Tropp, M. Udell, "Randomized Nystrom preconditioning", SIAM J. Matrix Anal. Appl. 44
    (2023).

    Parameters
    ----------
    jacobian
        (M, P).
    residuals
        (M,).
    rank
        Of the sketch; it costs as many products with J and its transpose.
    kernel
        As of `NormalEquations`.
    seed
        Of the random vectors, which are drawn on the host.
    """

    def __init__(
        self, jacobian: Tensor, residuals: Tensor, rank: int, kernel: bool | None = None, seed: int = 0
    ) -> None:
        rows, columns = jacobian.shape
        self.kernel = rows < columns if kernel is None else kernel
        self.jacobian = jacobian
        self.right = residuals if self.kernel else jacobian.T @ residuals
        self.mean_square = float(jacobian.square().sum()) / columns
        size = len(self.right)
        generator = torch.Generator("cpu").manual_seed(seed)
        drawn = torch.randn(size, min(rank, size), dtype=jacobian.dtype, device="cpu", generator=generator)
        test = torch.linalg.qr(drawn.to(jacobian.device)).Q
        sketch = self._times(test)
        # A shift makes the small matrix positive definite in spite of rounding; it is taken off again below.
        smallest = torch.finfo(jacobian.dtype).tiny
        shift = (torch.finfo(jacobian.dtype).eps * torch.linalg.matrix_norm(sketch)).clamp_min(smallest)
        factor, info = torch.linalg.cholesky_ex(test.T @ (sketch + shift * test))
        for _ in range(SHIFTS):
            if not int(info):
                break
            shift = 10 * shift
            factor, info = torch.linalg.cholesky_ex(test.T @ (sketch + shift * test))
        narrow = torch.linalg.solve_triangular(factor, (sketch + shift * test).T, upper=False).T
        self.vectors, roots, _ = torch.linalg.svd(narrow, full_matrices=False)
        self.values = (roots.square() - shift).clamp_min(0.0)

    @property
    def rounding(self) -> float:
        """The least damping that is not lost in the matrix."""
        return float(torch.finfo(self.values.dtype).eps * self.values[0])

    def _times(self, v: Tensor) -> Tensor:
        J = self.jacobian
        return J @ (J.T @ v) if self.kernel else J.T @ (J @ v)

    def solve(self, damping: float) -> Tensor:
        """d (P,), to a relative residual of ``TOLERANCE``, or as near as ``ITERATIONS`` come."""
        low = self.values[-1] + damping
        scale = 1.0 / (self.values + damping) - 1.0 / low

        def precondition(v: Tensor) -> Tensor:
            return v / low + self.vectors @ (scale * (self.vectors.T @ v))

        x = torch.zeros_like(self.right)
        r = self.right.clone()
        z = precondition(r)
        p, rz = z, r @ z
        small = TOLERANCE * float(r.norm())
        for _ in range(ITERATIONS):
            if float(r.norm()) <= small:
                break
            Ap = self._times(p) + damping * p
            length = rz / (p @ Ap)
            x, r = x + length * p, r - length * Ap
            z = precondition(r)
            p, rz = z + (r @ z) / rz * p, r @ z
        return self.jacobian.T @ x if self.kernel else x
