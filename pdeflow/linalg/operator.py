"""The linear operator that every solver and preconditioner of this floor works on."""

from __future__ import annotations

import abc
import copy
import enum
import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import ONE_AXIS, check_count, whole_numbers

Self = TypeVar("Self", bound="LinearOperator")

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)


class Tag(enum.Enum):
    """A property that a solver may rely on; the caller vouches for it.

    ``SYMMETRIC`` means Hermitian where the operator is complex. ``CONSTANT_NULL_SPACE`` says that the
    operator and its adjoint map constants, and nothing else, to zero: pure Neumann and periodic problems.
    :func:`~pdeflow.linalg.solve` then gives the solution whose mean is zero.
    """

    SYMMETRIC = "symmetric"
    POSITIVE_DEFINITE = "positive definite"
    CONSTANT_NULL_SPACE = "constant null space"


class LinearOperator(abc.ABC):
    """A batch of independent linear maps ``x -> A x`` on arrays of one shape.

    Attributes
    ----------
    shape
        Shape of one unknown, for example ``(nx, ny)``.
    batch
        Number of systems; tensors that are applied to have shape ``(batch, *shape)``.
    dtype, device
        Of the coefficients and of the tensors that are applied to.
    tags
        Properties the caller vouches for.
    broadcasts
        Whether an operator of batch 1 can be applied to any number of vectors at once.
    traced
        Whether :meth:`apply` consists of operations of torch, which follows them for derivatives.
    """

    broadcasts: bool = False
    traced: bool = False

    def __init__(
        self,
        shape: Sequence[int],
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
        tags: Iterable[Tag] = (),
    ) -> None:
        if dtype not in DTYPES:
            # Half precision too: torch has no factorisations in it, and its range is that of few operators.
            hint = "Convert the coefficients with .to(torch.float64), or float32 for half precision."
            raise InvalidInput("dtype", dtype, "float32, float64, complex64 or complex128", hint)
        check_count("batch", batch, 0)
        self.shape = whole_numbers("shape", shape, ONE_AXIS)
        self.batch = batch
        self.dtype = dtype
        self.device = device
        self.tags = checked_tags(tags)

    @abc.abstractmethod
    def apply(self, x: Tensor) -> Tensor:
        """``A x`` in a new tensor, for x of shape ``(batch, *shape)``; nothing is checked.

        This is for the loops of solvers, and carries no derivative unless the operator is ``traced``: a
        compiled loop is nothing that torch could follow. ``A(x)`` can be differentiated.
        """

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``A x`` written into ``out``, which must not share memory with x."""
        return out.copy_(self.apply(x))

    @abc.abstractmethod
    def diagonal(self) -> Tensor:
        """The diagonal of every system, shape ``(batch, *shape)``."""

    @property
    @abc.abstractmethod
    def adjoint(self) -> LinearOperator:
        """The conjugate transpose: ``<A x, y> = <x, A* y>``."""

    @abc.abstractmethod
    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> LinearOperator:
        """The same operator in another dtype or on another device."""

    @property
    def size(self) -> int:
        """Unknowns of one system."""
        return math.prod(self.shape)

    @property
    def parameter(self) -> Tensor | None:
        """The tensor of coefficients that ``A x`` is linear in, if the operator has one."""
        return None

    def with_parameter(self: Self, parameter: Tensor) -> Self:
        """The same operator with other coefficients."""
        raise InvalidInput("A", type(self).__name__, "an operator with a tensor of coefficients")

    def parameter_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """The derivative of ``y* A x`` by the (conjugate) coefficients, one slice a sample of x and y."""
        raise InvalidInput("A", type(self).__name__, "an operator with a tensor of coefficients")

    @property
    def requires_grad(self) -> bool:
        """Whether a derivative of ``A x`` by the coefficients of A is asked for."""
        return self.parameter is not None and self.parameter.requires_grad

    @property
    def absolute(self) -> LinearOperator | None:
        """The operator of the absolute values of the entries of A, where they are at hand."""
        return None

    def detach(self: Self) -> Self:
        """The same operator, sharing everything, whose coefficients ask for no derivative."""
        parameter = self.parameter
        if parameter is None or not parameter.requires_grad:
            return self
        return self.with_parameter(parameter.detach())

    def retagged(self: Self, tags: Iterable[Tag]) -> Self:
        """The same operator, sharing everything, with these tags instead of its own."""
        other = copy.copy(self)
        other.tags = checked_tags(tags)
        return other

    def is_finite(self) -> Tensor:
        """Which systems are free of NaN and infinity, as far as the operator can know: ``(batch,)`` bool."""
        return torch.ones(self.batch, dtype=torch.bool, device=self.device)

    def pieces(self, samples: int) -> Sequence[LinearOperator]:
        """The batch cut into runs of at most ``samples`` systems; an operator that cannot be cut is one."""
        return [self]

    def expand(self, batch: int) -> LinearOperator:
        """An operator of batch 1 for ``batch`` right-hand sides; nothing is copied."""
        from pdeflow.linalg.expanded import ExpandedOperator  # here, because it needs this module

        return ExpandedOperator(self, batch)

    def __call__(self, x: Tensor) -> Tensor:
        """``A x``, with shape, dtype and device checked; see :mod:`~pdeflow.linalg.product_gradient`.

        It can be differentiated by x, through the adjoint, and by the coefficients of a stencil or sparse
        matrix. A preconditioner is a constant: the operator that it was made for gets no derivative, except
        through Jacobi and BlockJacobi.
        """
        check_vector("x", x, self)
        if torch.is_grad_enabled() and (x.requires_grad or self.requires_grad):
            from pdeflow.linalg.product_gradient import product  # here, because it needs this module

            return product(self, x)
        return self.apply(x)


def checked_tags(tags: Iterable[Tag]) -> frozenset[Tag]:
    """The tags as a set; raise InvalidInput for anything else."""
    if isinstance(tags, frozenset) and not tags:
        return tags
    if isinstance(tags, Tag):
        raise InvalidInput("tags", tags, "a collection of tags", f"Write [{tags}].")
    try:
        made = frozenset(tags)
    except TypeError:
        raise InvalidInput("tags", tags, "a collection of tags", "As in [Tag.SYMMETRIC].") from None
    for tag in made:
        if not isinstance(tag, Tag):
            raise InvalidInput("tags", tag, "members of Tag", choices=[str(known) for known in Tag])
    return made


def double_precision(dtype: torch.dtype) -> torch.dtype:
    """float64, or complex128 for a complex dtype."""
    return torch.complex128 if dtype.is_complex else torch.float64


def working_dtype(dtype: torch.dtype | None, A: LinearOperator) -> torch.dtype:
    """The real ``dtype``, or complex of its precision for a complex A; that of A where it is None."""
    dtype = dtype or A.dtype
    return dtype.to_complex() if A.dtype.is_complex else dtype


def column(values: Tensor, like: Tensor) -> Tensor:
    """One number a system, in a shape that multiplies ``like``."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def rough_vector(A: LinearOperator) -> Tensor:
    """A vector of many frequencies, the same in every run: ``shape`` of A, in float64."""
    numbers = torch.arange(1, A.size + 1, dtype=torch.float64, device=A.device)
    return (numbers * numbers).sin().reshape(A.shape)


def magnitude(x: Tensor) -> Tensor:
    """The largest absolute entry of every sample, ``(batch,)``; NaN or infinite if an entry is."""
    flat = x.flatten(1)
    # Two passes without a temporary beat one over abs().
    return flat.abs().amax(1) if x.is_complex() else torch.maximum(flat.amax(1), -flat.amin(1))


def check_vector(name: str, x: Tensor, A: LinearOperator) -> None:
    """Raise InvalidInput unless ``A`` can be applied to ``x``."""
    if not isinstance(x, Tensor):
        raise InvalidInput(name, type(x).__name__, "a torch.Tensor", "Convert it with torch.as_tensor.")
    expected = (A.batch, *A.shape)
    if tuple(x.shape) != expected:
        raise InvalidInput(
            f"{name}.shape", tuple(x.shape), f"(batch, *shape) = {expected}", "One sample still has batch 1."
        )
    if x.dtype != A.dtype:
        hint = f"Use {name}.to({A.dtype})."
        if x.is_complex() and not A.dtype.is_complex:  # to() would drop the imaginary part
            hint = f"Use A.to({A.dtype.to_complex()}), and {name} in the same dtype."
        raise InvalidInput(f"{name}.dtype", x.dtype, f"the operator's {A.dtype}", hint)
    if x.device.type != A.device.type:
        raise InvalidInput(f"{name}.device", x.device, f"the operator's {A.device}", "Move one to the other.")
