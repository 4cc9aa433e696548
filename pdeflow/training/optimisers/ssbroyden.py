r"""The self-scaled Broyden method.

M. Al-Baali, "Numerical experience with a class of self-scaling quasi-Newton algorithms", J. Optim. Theory Appl. 96
(1998); for networks J. F. Urban, P. Stefanou, J. A. Pons, "Unveiling the optimization process of physics informed
neural networks: How accurate and competitive can PINNs be?", J. Comput. Phys. 523 (2025).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Optimizer

from pdeflow.errors import InvalidInput

LARGEST = 20_000
"""Parameters up to which the inverse Hessian is kept: 3 GB in double precision."""


class SSBroyden(Optimizer):
    r"""Steps along :math:`-H g`, with H from the last one by the scaled update of Broyden's class.

    .. math::

        H \leftarrow \frac1\tau \Big(H - \frac{(H y)(H y)^T}{y^T H y} + \phi\, v v^T\Big) + \frac{s s^T}{y^T s},
        \qquad v = \sqrt{y^T H y}\, \Big(\frac{s}{y^T s} - \frac{H y}{y^T H y}\Big),

    with :math:`\tau` and :math:`\phi` of Al-Baali. The length of a step meets the strong Wolfe conditions. Where no
    such length is found, H starts again from the identity; ``stalled`` says that this did not help either.

    Parameters
    ----------
    params
        The parameters, at most 20000 numbers.
    iterations
        Of one ``step``.
    """

    def __init__(self, params: Iterable[nn.Parameter], iterations: int = 1) -> None:
        if iterations < 1:
            raise InvalidInput("optimizer.iterations", iterations, "at least 1")
        super().__init__(params, {"iterations": iterations})
        size = sum(p.numel() for p in self.parameters)
        if size > LARGEST:
            hint = "Take LBFGS, which keeps a few vectors, or a smaller model."
            raise InvalidInput("optimizer", f"{size} parameters", f"at most {LARGEST} for SSBroyden", hint)
        self.stalled = False

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [p for group in self.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """So many iterations; gives the loss before them."""
        state = self.state[self.parameters[0]]

        def evaluate(x: Tensor) -> tuple[float, Tensor]:
            vector_to_parameters(x, self.parameters)
            with torch.enable_grad():
                loss = float(closure())
            zero = (torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
            return loss, parameters_to_vector(zero)

        x = parameters_to_vector(self.parameters).clone()
        loss, g = evaluate(x)
        first = loss
        for _ in range(self.param_groups[0]["iterations"]):
            H = state.get("H")
            found = None
            for attempt in (H, None) if H is not None else (None,):
                direction = -g if attempt is None else -(attempt @ g)
                found = _line_search(evaluate, x, direction, loss, g, state.get("before"))
                if found is not None:
                    H = attempt
                    break
            if found is None:
                evaluate(x)
                self.stalled = True
                break
            length, new_loss, new_g = found
            s, y = length * direction, new_g - g
            state["H"] = _updated(H, s, y, g, length)
            state["before"] = loss
            x, loss, g = x + s, new_loss, new_g
        vector_to_parameters(x, self.parameters)
        return first


def _line_search(
    evaluate: Callable[[Tensor], tuple[float, Tensor]],
    x: Tensor,
    direction: Tensor,
    loss: float,
    g: Tensor,
    before: float | None,
) -> tuple[float, float, Tensor] | None:
    """A length with the loss and the gradient there; None if there is none."""
    if not float(g @ direction) < 0:
        return None
    seen: dict[float, tuple[float, Tensor]] = {}
    start, way = x.cpu().numpy().astype(float), direction.cpu().numpy().astype(float)
    scale = float(np.dot(way, way))

    def at(point: np.ndarray) -> tuple[float, Tensor]:
        length = float(np.dot(point - start, way)) / scale
        if length not in seen:
            seen[length] = evaluate(x + length * direction)
        return seen[length]

    length, *_ = scipy.optimize.line_search(
        lambda point: at(point)[0],
        lambda point: at(point)[1].cpu().numpy().astype(float),
        start,
        way,
        gfk=g.cpu().numpy().astype(float),
        old_fval=loss,
        old_old_fval=before,
        c1=1e-4,
        c2=0.9,
        maxiter=20,
    )
    if length is None:
        return None
    new_loss, new_g = evaluate(x + length * direction)
    return (length, new_loss, new_g) if math.isfinite(new_loss) else None


def _updated(H: Tensor | None, s: Tensor, y: Tensor, g: Tensor, length: float) -> Tensor:
    """The inverse Hessian after a step; the first one is scaled to it."""
    ys = y @ s
    if not float(ys) > 0:
        return torch.eye(len(s), dtype=s.dtype, device=s.device) if H is None else H
    if H is None:
        H = torch.eye(len(s), dtype=s.dtype, device=s.device) * (ys / (y @ y))
        b = float(ys / (y @ y))
        b = float((s @ s) / (float(ys / (y @ y)) * ys))  # s B s / y s for B the inverse of H
    else:
        b = float(-length * (s @ g) / ys)
    Hy = H @ y
    yHy = y @ Hy
    h = float(yHy / ys)
    a = max(h * b - 1.0, 0.0)
    n = len(s)
    root = math.sqrt(a / (1.0 + a))
    low = min(1.0, h * (1.0 - root))
    smallest = (low - 1.0) / a if a > 0 else 0.0
    theta = max(smallest, min(1.0 / low, (1.0 - b) / b))
    sigma = 1.0 + a * theta
    spread = abs(sigma) ** (-1.0 / max(1, n - 1))
    most = min(1.0, 1.0 / b)
    tau = most * min(spread, 1.0 / theta) if theta > 0 else min(most * spread, sigma)
    phi = (1.0 - theta) / sigma
    v = yHy.sqrt() * (s / ys - Hy / yHy)
    H = H.sub_(torch.outer(Hy, Hy / yHy))
    H.add_(torch.outer(phi * v, v)).div_(tau)
    return H.add_(torch.outer(s / ys, s))
