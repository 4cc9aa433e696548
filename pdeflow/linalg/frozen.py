"""A preconditioner kept from an earlier system of a sequence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.linalg.arguments import check_instance, check_number
from pdeflow.linalg.operator import LinearOperator, rough_vector
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass(frozen=True)
class Frozen(Preconditioner):
    """The M of an earlier A, for as long as it is about as good for the A at hand.

    How good M is for A is measured by one product each with a fixed vector v, free of any scale::

        q = sin angle(v, A M v),   0 for an exact inverse

    ``init`` keeps what ``previous`` holds while q has grown by at most ``slack`` in every system since M was
    made, and makes M anew otherwise; so also where shape, batch, dtype or device have changed.

    Parameters
    ----------
    preconditioner
        The one to keep.
    slack
        Growth of q that is put up with; 0 makes M anew unless it is as good as it was, 1 never does.
    """

    preconditioner: Preconditioner
    slack: float = 0.3

    def __post_init__(self) -> None:
        check_instance("preconditioner", self.preconditioner, Preconditioner, "Frozen(SparseDirect())")
        check_number("slack", self.slack, lambda slack: 0 <= slack <= 1, "a number from 0 to 1")

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> FrozenOperator:
        """Keep the M of ``previous``, or make one for A."""
        A = A.detach()
        earlier = previous if isinstance(previous, FrozenOperator) and previous.fits(A) else None
        if earlier is not None:
            worse = misfit(A, earlier.inner) > earlier.misfit + self.slack
            if not bool(worse.any()):  # a system of NaN is not worse, and does not cost the others their M
                return earlier
        # Not in the memory of the earlier one, which still stands for its own A.
        inner = self.preconditioner.init(A)
        return FrozenOperator(inner, misfit(A, inner))


def misfit(A: LinearOperator, M: LinearOperator) -> Tensor:
    """``sin angle(v, A M v)`` of every system, ``(batch,)``, for a vector v of many frequencies."""
    v = rough_vector(A).to(A.dtype).expand(A.batch, *A.shape)
    w = A.apply(M.apply(v.contiguous())).flatten(1)
    v = v.flatten(1)
    cosine = torch.linalg.vecdot(v, w).abs() / (torch.linalg.norm(v, dim=1) * torch.linalg.norm(w, dim=1))
    return (1 - cosine.square()).clamp(min=0).sqrt()


class FrozenOperator(LinearOperator):
    """A preconditioner with what it was worth when it was made."""

    def __init__(self, inner: LinearOperator, misfit: Tensor) -> None:
        super().__init__(inner.shape, inner.batch, inner.dtype, inner.device, inner.tags)
        self.inner, self.misfit = inner, misfit
        self.broadcasts = inner.broadcasts

    def fits(self, A: LinearOperator) -> bool:
        """Whether it can be applied to the vectors of ``A``."""
        mine = (self.shape, self.batch, self.dtype, self.device)
        return mine == (A.shape, A.batch, A.dtype, A.device)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.inner.apply(x)

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``."""
        return self.inner.apply_into(x, out)

    def diagonal(self) -> Tensor:
        """The diagonal of M, if it knows one."""
        return self.inner.diagonal()

    @property
    def adjoint(self) -> FrozenOperator:
        """The conjugate transpose."""
        return FrozenOperator(self.inner.adjoint, self.misfit)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> FrozenOperator:
        """The same in another dtype or on another device."""
        return FrozenOperator(self.inner.to(dtype, device), self.misfit.to(device or self.device))
