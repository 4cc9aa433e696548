"""The Chebyshev polynomial preconditioner."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count, check_number
from pdeflow.linalg.operator import LinearOperator, column
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.stencil import StencilOperator

POWER_STEPS = 20
SAFETY = 1.1  # on the largest eigenvalue that the power iteration found


@dataclass(frozen=True)
class Chebyshev(Preconditioner):
    """``M = q(D^-1 A) D^-1``: steps of the Chebyshev iteration from zero, with D the diagonal of A.

    With an interval [a, b], theta its middle, delta its half length and sigma = theta / delta::

        d = D^-1 r / theta;  x = d;  rho = 1 / sigma
        degree times:  rho' = 1 / (2 sigma - rho)
                       d = rho' rho d + (2 rho' / delta) D^-1 (r - A x);  x += d;  rho = rho'

    The eigenvalues of M A are ``1 - T(sigma - lambda / delta) / T(sigma)`` with the Chebyshev polynomial T of
    degree ``degree + 1`` and the eigenvalues lambda of D^-1 A: near 1 for lambda in [a, b], small for those
    below a. M is Hermitian where A is, and positive definite where A is. It needs no inner product, and
    nothing but products with A.

    For each system, b bounds the eigenvalues by Gershgorin's circles of ``D^-1/2 A D^-1/2`` where A is a
    stencil; else it is 1.1 times what 20 steps of the power iteration find, which M survives as definite up
    to an error of another a. The lower end is a = b / ratio.

    References: G. H. Golub and R. S. Varga, "Chebyshev semi-iterative methods, successive overrelaxation
    iterative methods, and second order Richardson iterative methods", Numer. Math. 3 (1961); Y. Saad,
    *Iterative Methods for Sparse Linear Systems*, 2nd ed., SIAM 2003, section 12.3.

    Parameters
    ----------
    degree
        Products with A in one application; 0 is Jacobi.
    ratio
        Of the ends of the interval.

    Raises
    ------
    InvalidInput
        If degree or ratio are out of range; from ``init``, if the operator does not know its diagonal.
    """

    degree: int = 6
    ratio: float = 100.0

    def __post_init__(self) -> None:
        check_count("degree", self.degree, 0)
        check_number("ratio", self.ratio, lambda ratio: 1 < ratio < float("inf"), "a finite number above 1")

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> ChebyshevPolynomial:
        """Bound or estimate the largest eigenvalue of every system."""
        A = A.detach()
        diagonal = A.diagonal()
        inverse = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal).reciprocal()
        largest = _gershgorin(A, inverse) if isinstance(A, StencilOperator) else _power_iteration(A, inverse)
        return ChebyshevPolynomial(A, inverse, largest / self.ratio, largest, self.degree)


class ChebyshevPolynomial(LinearOperator):
    """``q(D^-1 A) D^-1``; see :class:`Chebyshev`. ``inverse`` is D^-1, the interval ``(batch,)``.

    It owns its buffers, so one thread at a time may apply it.
    """

    def __init__(self, A: LinearOperator, inverse: Tensor, low: Tensor, high: Tensor, degree: int) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._A, self._inverse, self.low, self.high, self._degree = A, inverse, low, high, degree
        theta, delta = (high + low) / 2, (high - low) / 2
        sigma = theta / delta
        rho = sigma.reciprocal()
        self._first = column(theta.reciprocal(), inverse) * inverse
        self._weights: list[tuple[Tensor, Tensor]] = []
        for _ in range(degree):
            after = (2 * sigma - rho).reciprocal()
            keep, step = (column(w, inverse).to(A.dtype) for w in (after * rho, 2 * after / delta))
            self._weights.append((keep, step))
            rho = after
        self._direction, self._residual = torch.empty_like(inverse), torch.empty_like(inverse)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which must not share memory with x."""
        d, r = self._direction, self._residual
        torch.mul(self._first, x, out=out)
        d.copy_(out)
        for keep, step in self._weights:
            torch.sub(x, self._A.apply_into(out, r), out=r)
            d.mul_(keep).addcmul_(r.mul_(self._inverse), step)
            out.add_(d)
        return out

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "a Chebyshev polynomial", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> ChebyshevPolynomial:
        """The conjugate transpose: as the polynomial is real, that of the adjoint operator."""
        inverse = self._inverse.conj().resolve_conj()
        return ChebyshevPolynomial(self._A.adjoint, inverse, self.low, self.high, self._degree)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ChebyshevPolynomial:
        """The same polynomial of the operator in another dtype or on another device."""
        A = self._A.to(dtype, device)
        low, high = (t.to(A.device, A.dtype.to_real()) for t in (self.low, self.high))
        return ChebyshevPolynomial(A, self._inverse.to(A.device, A.dtype), low, high, self._degree)


def _gershgorin(A: StencilOperator, inverse: Tensor) -> Tensor:
    """``max_i sum_j |a_ij| / |a_ii a_jj|^1/2``, ``(batch,)``; one for a system that is zero."""
    root = inverse.abs().sqrt()
    sums = root * StencilOperator(A.offsets, A.coefficients.abs(), A.periodic).apply(root)
    bound = sums.flatten(1).amax(1)
    return torch.where(bound == 0, 1.0, bound)


def _power_iteration(A: LinearOperator, inverse: Tensor) -> Tensor:
    """1.1 times the largest eigenvalue of ``D^-1 A``, ``(batch,)``; one for a system that is zero."""
    # Rough, so that no eigenvector is likely to be orthogonal to it, and the same in every run.
    v = torch.linspace(1, 2, A.size, dtype=torch.float64, device=A.device).mul_(1e4).sin_()
    v = v.reshape(1, *A.shape).to(A.dtype).expand(A.batch, *A.shape)
    norm = torch.linalg.vector_norm(v.flatten(1), dim=1)
    for _ in range(POWER_STEPS):
        v = inverse * A.apply(v / column(norm, v))
        norm = torch.linalg.vector_norm(v.flatten(1), dim=1)
        norm = torch.where(norm == 0, 1.0, norm)
    return SAFETY * norm
