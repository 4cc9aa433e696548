r"""The self-scaled Broyden method.

M. Al-Baali, "Numerical experience with a class of self-scaling quasi-Newton algorithms", J. Optim. Theory
Appl. 96 (1998); for networks J. F. Urban, P. Stefanou, J. A. Pons, "Unveiling the optimization process of
physics informed neural networks: How accurate and competitive can PINNs be?", J. Comput. Phys. 523 (2025).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training.optimisers.quasi_newton import QuasiNewton

LARGEST = 20_000
"""Parameters up to which H is kept: 3 GB in double precision."""


class SSBroyden(QuasiNewton):
    r"""Quasi-Newton steps with H, a full matrix, from the scaled update of Broyden's class

    .. math::

        H \leftarrow \frac1\tau \Big(H - \frac{(H y)(H y)^T}{y^T H y} + \phi\, v v^T\Big)
        + \frac{s s^T}{y^T s}, \qquad v = \sqrt{y^T H y}\, \Big(\frac{s}{y^T s} - \frac{H y}{y^T H y}\Big),

    with :math:`\tau` and :math:`\phi` of Al-Baali (:func:`self_scaling`). :math:`\tau = \phi = 1` would be
    BFGS.

    What is kept is a factor Z of :math:`H = Z Z^T` (:func:`update`). H itself loses its small eigenvalues to
    rounding after some hundreds of steps, and directions then lead uphill.

    Parameters
    ----------
    params
        The parameters, at most 20000 numbers.
    iterations
        As of `QuasiNewton`.

    Raises
    ------
    InvalidInput
        If there are more parameters, or no iterations.
    """

    def __init__(self, params: Iterable[nn.Parameter], iterations: int = 20) -> None:
        super().__init__(params, iterations, {})
        size = sum(p.numel() for p in self.parameters)
        if size > LARGEST:
            hint = "Take RestartedLBFGS, which keeps a few vectors, or a smaller model."
            raise InvalidInput("optimizer", f"{size} parameters", f"at most {LARGEST} for SSBroyden", hint)

    def has_learned(self) -> bool:
        """See `QuasiNewton`."""
        return "Z" in self.memory

    def times_gradient(self, g: Tensor) -> Tensor:
        """See `QuasiNewton`."""
        if not self.has_learned():
            return g
        Z = self.memory["Z"]
        return Z @ (Z.T @ g)

    def learn(self, s: Tensor, y: Tensor, g: Tensor, length: float) -> None:
        """See `QuasiNewton`."""
        if self.has_learned():
            a = -length * (self.memory["Z"].T @ g)  # Z a = s
        else:  # the identity is first scaled to what the step has shown
            root = math.sqrt(float(s @ y) / float(y @ y))
            self.memory["Z"] = root * torch.eye(len(s), dtype=s.dtype, device=s.device)
            a = s / root
        update(self.memory["Z"], a, y)

    def forget(self) -> None:
        """See `QuasiNewton`."""
        self.memory.pop("Z", None)

    def first_length(self, slope: float) -> float:
        """Where a parabola has fallen by as much as the loss in the last step, at most 1.

        The scaling makes most steps too long; so there are 1.1 evaluations in a step, with 1 they are 1.8.
        Nocedal & Wright, "Numerical Optimization", equation 3.60.
        """
        decrease = self.memory.get("decrease", math.inf)
        return min(1.0, 2.02 * decrease / -slope) if decrease > 0 > slope else 1.0


def self_scaling(a: float, h: float, size: int) -> tuple[float, float]:
    r"""The factors :math:`\tau` and :math:`\phi` of Al-Baali.

    .. math::

        b = \frac{1 + a}h, \quad \rho = \min\Big(1, h \Big(1 - \sqrt{\frac a{1 + a}}\Big)\Big), \quad
        \theta = \max\Big(\frac{\rho - 1}{a}, \min\Big(\frac1\rho, \frac{1 - b}{b}\Big)\Big), \quad
        \sigma = 1 + a \theta,

    .. math::

        \tau = \begin{cases}
            \min(1, 1/b) \min(\sigma^{-1/(n-1)}, 1/\theta) & \theta > 0 \\
            \min(\min(1, 1/b)\, \sigma^{-1/(n-1)}, \sigma) & \theta \le 0
        \end{cases}, \qquad \phi = \frac{1 - \theta}{\sigma}.

    Parameters
    ----------
    a
        :math:`(s^T H^{-1} s) (y^T H y) / (y^T s)^2 - 1`, at least 0.
    h
        :math:`y^T H y / y^T s`; b is :math:`s^T H^{-1} s / y^T s`.
    size
        n, the number of parameters.
    """
    b = (1.0 + a) / h
    # 1 - sqrt(a / (1 + a)) without the cancellation that makes it 0 for large a.
    low = min(1.0, h / ((1.0 + a) * (1.0 + math.sqrt(a / (1.0 + a)))))
    theta = min(1.0 / low, (1.0 - b) / b)
    if a > 0:
        theta = max((low - 1.0) / a, theta)
    sigma = max(1.0 + a * theta, low)  # which it is not below but for rounding
    spread = sigma ** (-1.0 / max(1, size - 1))
    most = min(1.0, 1.0 / b)
    tau = most * min(spread, 1.0 / theta) if theta > 0 else min(most * spread, sigma)
    return tau, (1.0 - theta) / sigma


def update(Z: Tensor, a: Tensor, y: Tensor) -> None:
    r"""The update of `SSBroyden` in terms of a factor, in place.

    With :math:`H = Z Z^T`, :math:`s = Z a` and :math:`c = Z^T y` it changes H in the plane of a and c alone.
    There, in the basis q1 along c and q2, :math:`a = \alpha_1 (q_1 + \kappa q_2)`, and

    .. math::

        Z \leftarrow \frac1{\sqrt\tau} \big(Z + Z Q (L - I) Q^T\big), \qquad
        L = \begin{pmatrix}
            \sqrt{\tau \alpha_1 / |c|} & 0 \\ \kappa \sqrt{\tau \alpha_1 / |c|} & \sqrt{1 + \phi \kappa^2}
        \end{pmatrix}.

    Parameters
    ----------
    Z
        (P, P), with an inverse.
    a, y
        (P,), with a positive product of s and y.
    """
    c = Z.T @ y
    size = c.norm()
    q1 = c / size
    first = float(q1 @ a)
    # Where rounding in Z has hidden that s.y is positive, there is nothing to learn.
    if not first > torch.finfo(Z.dtype).eps * float(a.norm()):
        return
    rest = a - first * q1
    rest = rest - (q1 @ rest) * q1  # again: a and c may be almost parallel
    second = float(rest.norm())
    q2 = rest / second if second > 0 else rest
    ratio = second / first
    tau, phi = self_scaling(ratio**2, float(size) / first, len(a))
    corner = math.sqrt(tau * first / float(size))
    factor = [[corner - 1.0, 0.0], [ratio * corner, math.sqrt(1.0 + phi * ratio**2) - 1.0]]
    # Column by column: products with a matrix of two columns take twice as long.
    left = torch.stack([Z @ q1, Z @ q2], dim=1) @ Z.new_tensor(factor) / math.sqrt(tau)
    Z.addmm_(left, torch.stack([q1, q2]), beta=1.0 / math.sqrt(tau))
