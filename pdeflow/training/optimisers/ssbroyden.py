r"""The self-scaled Broyden method.

M. Al-Baali, "Numerical experience with a class of self-scaling quasi-Newton algorithms", J. Optim. Theory Appl. 96
(1998); for networks J. F. Urban, P. Stefanou, J. A. Pons, "Unveiling the optimization process of physics informed
neural networks: How accurate and competitive can PINNs be?", J. Comput. Phys. 523 (2025).
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

        H \leftarrow \frac1\tau \Big(H - \frac{(H y)(H y)^T}{y^T H y} + \phi\, v v^T\Big) + \frac{s s^T}{y^T s},
        \qquad v = \sqrt{y^T H y}\, \Big(\frac{s}{y^T s} - \frac{H y}{y^T H y}\Big),

    with :math:`\tau` and :math:`\phi` of Al-Baali (:func:`self_scaling`). :math:`\tau = \phi = 1` would be BFGS.

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
        return "H" in self.memory

    def times_gradient(self, g: Tensor) -> Tensor:
        """See `QuasiNewton`."""
        return self.memory["H"] @ g if self.has_learned() else g

    def learn(self, s: Tensor, y: Tensor, g: Tensor, length: float) -> None:
        """See `QuasiNewton`."""
        if self.has_learned():
            curvature = -length * float(s @ g)
        else:  # the identity is first scaled to what the step has shown
            scale = float(s @ y) / float(y @ y)
            self.memory["H"] = scale * torch.eye(len(s), dtype=s.dtype, device=s.device)
            curvature = float(s @ s) / scale
        update(self.memory["H"], s, y, curvature)

    def forget(self) -> None:
        """See `QuasiNewton`."""
        self.memory.pop("H", None)


def self_scaling(b: float, h: float, size: int) -> tuple[float, float]:
    r"""The factors :math:`\tau` and :math:`\phi`.

    .. math::

        a = b h - 1, \quad \rho = \min(1, h (1 - \sqrt{a / (1 + a)})), \quad
        \theta = \max\Big(\frac{\rho - 1}{a}, \min\Big(\frac1\rho, \frac{1 - b}{b}\Big)\Big), \quad
        \sigma = 1 + a \theta,

    .. math::

        \tau = \begin{cases}
            \min(1, 1/b) \min(\sigma^{-1/(n-1)}, 1/\theta) & \theta > 0 \\
            \min(\min(1, 1/b)\, \sigma^{-1/(n-1)}, \sigma) & \theta \le 0
        \end{cases}, \qquad \phi = \frac{1 - \theta}{\sigma}.

    Parameters
    ----------
    b
        :math:`s^T H^{-1} s / y^T s`.
    h
        :math:`y^T H y / y^T s`.
    size
        n, the number of parameters.
    """
    a = max(b * h - 1.0, 0.0)  # below 0 by rounding alone, after Cauchy and Schwarz
    low = min(1.0, h * (1.0 - math.sqrt(a / (1.0 + a))))
    theta = min(1.0 / low, (1.0 - b) / b)
    if a > 0:
        theta = max((low - 1.0) / a, theta)
    sigma = 1.0 + a * theta
    spread = sigma ** (-1.0 / max(1, size - 1))
    most = min(1.0, 1.0 / b)
    tau = most * min(spread, 1.0 / theta) if theta > 0 else min(most * spread, sigma)
    return tau, (1.0 - theta) / sigma


def update(H: Tensor, s: Tensor, y: Tensor, curvature: float) -> None:
    """The update of `SSBroyden`, in place, as one product of rank two.

    Parameters
    ----------
    H
        (P, P), symmetric positive definite.
    s, y
        (P,), with a positive product.
    curvature
        ``s^T H^-1 s``, which the caller knows without the inverse.
    """
    Hy = H @ y
    ys, yHy = float(y @ s), float(y @ Hy)
    tau, phi = self_scaling(curvature / ys, yHy / ys, len(s))
    # v v^T and the others in terms of s and H y.
    ss = phi * yHy / (tau * ys**2) + 1.0 / ys
    mixed = -phi / (tau * ys)
    both = (phi - 1.0) / (tau * yHy)
    left = torch.stack([ss * s + mixed * Hy, mixed * s + both * Hy], dim=1)
    H.addmm_(left, torch.stack([s, Hy]), beta=1.0 / tau)
