"""One operator for several right-hand sides."""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.preconditioner import Preconditioner


class ExpandedOperator(LinearOperator):
    """An operator of batch 1 seen as a batch of equal ones; coefficients are not copied.

    It is applied to all vectors at once where the operator can (``broadcasts``), else to one after the other.
    """

    def __init__(self, one: LinearOperator, batch: int) -> None:
        if one.batch != 1:
            raise InvalidInput("A.batch", one.batch, "1", "Only one operator can serve several vectors.")
        super().__init__(one.shape, batch, one.dtype, one.device, one.tags)
        self.one = one
        self.traced = one.traced

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self.one.apply(x) if self.one.broadcasts else self.apply_into(x, torch.empty_like(x))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``A x`` written into ``out``."""
        if self.one.broadcasts:
            return self.one.apply_into(x, out)
        for i in range(self.batch):
            self.one.apply_into(x[i : i + 1], out[i : i + 1])
        return out

    def diagonal(self) -> Tensor:
        """The diagonal, the same for every sample."""
        return self.one.diagonal().expand(self.batch, *self.shape)

    @property
    def adjoint(self) -> ExpandedOperator:
        """The conjugate transpose."""
        return ExpandedOperator(self.one.adjoint, self.batch)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> ExpandedOperator:
        """The same operator in another dtype or on another device."""
        return ExpandedOperator(self.one.to(dtype, device), self.batch)

    @property
    def parameter(self) -> Tensor | None:
        """The coefficients of the one operator."""
        return self.one.parameter

    def with_parameter(self, parameter: Tensor) -> ExpandedOperator:
        """The same with other coefficients."""
        return ExpandedOperator(self.one.with_parameter(parameter), self.batch)

    def parameter_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """The derivative of ``y* A x`` by the (conjugate) coefficients, one slice a sample of x and y."""
        return self.one.parameter_gradient(x, y)

    @property
    def requires_grad(self) -> bool:
        """Whether the one operator asks for a derivative."""
        return self.one.requires_grad

    @property
    def absolute(self) -> ExpandedOperator | None:
        """The operator of the absolute values of the entries, where they are at hand."""
        one = self.one.absolute
        return None if one is None else ExpandedOperator(one, self.batch)

    def is_finite(self) -> Tensor:
        """Whether the one operator is finite, for every sample."""
        return self.one.is_finite().expand(self.batch)

    def pieces(self, samples: int) -> list[LinearOperator]:
        """The batch cut into runs of at most ``samples`` right-hand sides."""
        starts = range(0, self.batch, samples)
        return [ExpandedOperator(self.one, min(samples, self.batch - start)) for start in starts]


class Shared(Preconditioner):
    """A preconditioner made once, for the operator that all right-hand sides share.

    On a CPU the cycle of one operator is applied to one right-hand side after the other, where it cannot
    take all at once. An accelerator would starve on that: there the preconditioner is made for repeated
    coefficients instead.
    """

    def __init__(self, preconditioner: Preconditioner, A: LinearOperator) -> None:
        self.preconditioner, self._A = preconditioner, A
        self._made: dict[torch.dtype, LinearOperator] = {}

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        """The one for the batch of ``A``, made at the first call from what ``previous`` expands."""
        one = self._A if A.dtype == self._A.dtype else self._A.to(A.dtype)
        M = self._made.get(A.dtype)
        if M is None:
            earlier = previous.one if isinstance(previous, ExpandedOperator) else None
            M = self._made[A.dtype] = self.preconditioner.init(one, earlier)
        parameter = one.parameter
        if M.broadcasts or A.device.type == "cpu" or parameter is None:
            return M.expand(A.batch)
        repeated = one.with_parameter(parameter.expand(A.batch, *parameter.shape[1:]))
        return self.preconditioner.init(repeated, previous)

    def anew(self) -> Shared:
        """The same with nothing made."""
        return Shared(self.preconditioner, self._A)


def broadcast(A: LinearOperator, b: Tensor) -> LinearOperator:
    """An operator of batch 1 expanded to the right-hand sides of b; any other as it is."""
    several = isinstance(b, Tensor) and b.ndim == len(A.shape) + 1 and b.shape[0] != 1
    return A.expand(b.shape[0]) if A.batch == 1 and several else A
