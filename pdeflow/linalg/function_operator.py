"""An operator given by a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.operator import LinearOperator, Tag


class FunctionOperator(LinearOperator):
    """``A x = function(x)`` for x of shape ``(batch, *shape)``.

    torch differentiates ``A(x)`` through the function, also by what the function closes over; where it loses
    sight of x, the adjoint is used. The function should call another operator B as ``B(x)``, because
    ``B.apply(x)`` may carry no derivative. The x of ``solve`` gets a derivative by b alone, none by what the
    function closes over: for one by the coefficients take a StencilOperator or a SparseOperator.

    Parameters
    ----------
    function
        The linear map; it must not change its argument, and it must follow the dtype and device of it.
    shape, batch, dtype, device, tags
        As for :class:`~pdeflow.linalg.operator.LinearOperator`.
    adjoint
        The conjugate transpose. An operator tagged ``SYMMETRIC`` is its own.
    diagonal
        The diagonal, ``(batch, *shape)``; only needed by preconditioners that use it.
    broadcasts
        Whether the functions of an operator of batch 1 take any number of vectors at once.
    """

    traced = True

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        shape: Sequence[int],
        batch: int,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        tags: Iterable[Tag] = (),
        adjoint: Callable[[Tensor], Tensor] | None = None,
        diagonal: Tensor | None = None,
        broadcasts: bool = False,
    ) -> None:
        if not callable(function) or not (adjoint is None or callable(adjoint)):
            name, value = ("adjoint", adjoint) if callable(function) else ("function", function)
            raise InvalidInput(name, type(value).__name__, "a function of a tensor (batch, *shape)")
        super().__init__(shape, batch, dtype, torch.device(device), tags)
        self.broadcasts = broadcasts
        self._function = function
        self._adjoint = function if adjoint is None and Tag.SYMMETRIC in self.tags else adjoint
        expected = (batch, *self.shape)
        if diagonal is not None and tuple(diagonal.shape) != expected:
            raise InvalidInput("diagonal.shape", tuple(diagonal.shape), f"(batch, *shape) = {expected}")
        self._diagonal = None if diagonal is None else diagonal.to(self.device, dtype)

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self._function(x)

    def diagonal(self) -> Tensor:
        """The diagonal of every system, ``(batch, *shape)``."""
        if self._diagonal is None:
            raise InvalidInput(
                "diagonal", None, "the diagonal of the operator", "Pass diagonal= to FunctionOperator."
            )
        return self._diagonal

    @property
    def adjoint(self) -> FunctionOperator:
        """The conjugate transpose."""
        if self._adjoint is None:
            raise InvalidInput(
                "adjoint", None, "the conjugate transpose", "Pass adjoint= to FunctionOperator, or tag it."
            )
        diagonal = None if self._diagonal is None else self._diagonal.conj().resolve_conj()
        return FunctionOperator(
            self._adjoint,
            self.shape,
            self.batch,
            self.dtype,
            self.device,
            self.tags,
            self._function,
            diagonal,
            self.broadcasts,
        )

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> FunctionOperator:
        """The same operator in another dtype or on another device."""
        dtype, device = dtype or self.dtype, torch.device(device or self.device)
        return FunctionOperator(
            self._function,
            self.shape,
            self.batch,
            dtype,
            device,
            self.tags,
            self._adjoint,
            self._diagonal,
            self.broadcasts,
        )

    def is_finite(self) -> Tensor:
        """Which systems are free of NaN and infinity, as far as the diagonal tells."""
        if self._diagonal is None:
            return super().is_finite()
        return torch.isfinite(self._diagonal).flatten(1).all(1)
