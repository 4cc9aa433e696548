"""The limited-memory BFGS method.

J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980).
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training.optimisers.quasi_newton import QuasiNewton


class RestartedLBFGS(QuasiNewton):
    """Quasi-Newton steps with the BFGS matrix of the last steps, which say when they stall.

    The matrix is never formed: the two-loop recursion applies it. It starts from ``(s.y / y.y) I`` of the
    last step. ``torch.optim.LBFGS`` ends such a step without a word, and the same at every call after it.

    Parameters
    ----------
    params
        The parameters.
    history
        Steps that are remembered.
    iterations
        As of `QuasiNewton`.

    Raises
    ------
    InvalidInput
        If a number is below 1.
    """

    def __init__(self, params: Iterable[nn.Parameter], history: int = 100, iterations: int = 20) -> None:
        if history < 1:
            raise InvalidInput("optimizer.history", history, "at least 1")
        super().__init__(params, iterations, {"history": history})

    def has_learned(self) -> bool:
        """See `QuasiNewton`."""
        return bool(self.memory.get("s"))

    def times_gradient(self, g: Tensor) -> Tensor:
        """See `QuasiNewton`."""
        if not self.has_learned():
            return g
        steps, differences = self.memory["s"], self.memory["y"]
        q, shares = g.clone(), []
        inverses = [1.0 / (y @ s) for s, y in zip(steps, differences)]
        for s, y, inverse in zip(reversed(steps), reversed(differences), reversed(inverses)):
            shares.append(inverse * (s @ q))
            q -= shares[-1] * y
        s, y = steps[-1], differences[-1]
        q *= (s @ y) / (y @ y)
        for s, y, inverse, share in zip(steps, differences, inverses, reversed(shares)):
            q += (share - inverse * (y @ q)) * s
        return q

    def learn(self, s: Tensor, y: Tensor, g: Tensor, length: float) -> None:
        """See `QuasiNewton`."""
        for name, vector in (("s", s), ("y", y)):
            kept = [*self.memory.get(name, []), vector]
            self.memory[name] = kept[-self.param_groups[0]["history"] :]

    def forget(self) -> None:
        """See `QuasiNewton`."""
        self.memory.pop("s", None)
        self.memory.pop("y", None)
