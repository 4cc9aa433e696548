"""Matrix-free operators on a structured grid: every row couples to the same few neighbours."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import native
from pdeflow.linalg.arguments import coefficient_tensor, whole_numbers
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse

    from pdeflow.linalg.sparse import SparseOperator

Box = tuple[slice, ...]

MOST_BOXES = 128  # that the compiled product has room for


def boxes(shape: Sequence[int], offset: Sequence[int], periodic: Sequence[bool]) -> list[tuple[Box, Box]]:
    """Pairs (rows, columns) of boxes with ``column = row + offset``, wrapped on the periodic axes.

    Without a periodic axis there is at most one pair; each wrapped axis doubles their number.
    """
    axes: list[list[tuple[slice, slice]]] = []
    for n, step, wraps in zip(shape, offset, periodic):
        step = (step + n) % n if wraps else step
        pairs = [(slice(max(0, -step), n - max(0, step)), slice(max(0, step), n - max(0, -step)))]
        if wraps and step:
            pairs.append((slice(n - step, n), slice(0, step)))
        axes.append([pair for pair in pairs if pair[0].start < pair[0].stop])
    return [(tuple(p[0] for p in combo), tuple(p[1] for p in combo)) for combo in itertools.product(*axes)]


class StencilOperator(LinearOperator):
    """``(A x)[i] = sum_k coefficients[k, i] x[i + offsets[k]]``.

    Outside of the grid x is zero on a bounded axis (Dirichlet values eliminated) and wraps around
    on a periodic one.

    Parameters
    ----------
    offsets
        One tuple of ints an entry of the stencil, all different, as long as the grid has axes.
    coefficients
        ``(batch, len(offsets), *shape)``, real or complex, a tensor or a NumPy array. They are used as they
        are, not copied: do not change them afterwards. Those that reach outside of a bounded axis are never
        used.
    periodic
        Whether each axis wraps around; none by default.
    tags
        Properties that the caller vouches for.

    Raises
    ------
    InvalidInput
        If the shapes do not fit together, an offset comes twice, or an argument is of the wrong kind.
    """

    broadcasts = True

    def __init__(
        self,
        offsets: Sequence[tuple[int, ...]],
        coefficients: Tensor | np.ndarray,
        periodic: Sequence[bool] = (),
        tags: Iterable[Tag] = (),
    ) -> None:
        hint = "Along one axis they are (-1,), (0,) and (1,)."
        offsets = [whole_numbers("offsets", offset, hint) for offset in offsets]
        coefficients = coefficient_tensor("coefficients", coefficients)
        if not offsets or len(set(offsets)) != len(offsets):
            raise InvalidInput("offsets", offsets, "at least one, each once")
        dim = len(offsets[0])
        if any(len(offset) != dim for offset in offsets):
            raise InvalidInput("offsets", offsets, "tuples of one length, the number of axes")
        if coefficients.ndim != dim + 2 or coefficients.shape[1] != len(offsets):
            expected = f"(batch, {len(offsets)}, *shape) with {dim} axes"
            raise InvalidInput("coefficients.shape", tuple(coefficients.shape), expected)
        if 0 in coefficients.shape[2:]:
            raise InvalidInput("coefficients.shape", tuple(coefficients.shape), "at least one point an axis")
        wraps = (tuple(periodic) or (False,) * dim) if isinstance(periodic, Iterable) else None
        if wraps is None or len(wraps) != dim:
            hint = f"As in {(True,) * dim}."
            raise InvalidInput("periodic", periodic, f"one entry for each of the {dim} axes", hint)
        periodic = wraps
        super().__init__(
            coefficients.shape[2:], coefficients.shape[0], coefficients.dtype, coefficients.device, tags
        )
        self.offsets: tuple[tuple[int, ...], ...] = tuple(offsets)
        self.coefficients = coefficients
        self.periodic: tuple[bool, ...] = periodic
        # The diagonal comes first because it overwrites the result, the others add to it.
        order = sorted(range(len(offsets)), key=lambda k: any(offsets[k]))
        every = slice(None)
        self._terms = [
            (k, (every, *rows), (every, *columns))
            for k in order
            for rows, columns in boxes(self.shape, offsets[k], periodic)
        ]
        self._starts_full = not any(offsets[order[0]])
        self._plan: Tensor | None = None

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self.apply_into(x, torch.empty_like(x))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``A x`` written into ``out``, which must not share memory with x."""
        if self.compiled is not None and self._is_plain(x) and self._is_plain(out):
            return self._apply_compiled(x, out)
        terms = self._terms
        if self._starts_full:
            torch.mul(self.coefficients[:, terms[0][0]], x, out=out)
            terms = terms[1:]
        else:
            out.zero_()
        for k, rows, columns in terms:
            out[rows].addcmul_(self.coefficients[:, k][rows], x[columns])
        return out

    def _is_plain(self, x: Tensor) -> bool:
        """Whether the compiled product may read or write x as an array."""
        fits = x.dtype == self.dtype and x.device.type == "cpu" and tuple(x.shape[1:]) == self.shape
        samples = self.batch in (1, x.shape[0])
        return fits and samples and x.is_contiguous() and not (x.requires_grad and torch.is_grad_enabled())

    @property
    def compiled(self) -> ctypes.CDLL | None:
        """The compiled product, where it can be used."""
        c = self.coefficients
        real = self.dtype in (torch.float32, torch.float64) and self.device.type == "cpu"
        fits = len(self.shape) <= 3 and len(self._terms) <= MOST_BOXES and c[:1].is_contiguous()
        return native.library("stencil") if real and fits and not c.requires_grad else None

    @property
    def plan(self) -> Tensor:
        """Shape and boxes as integers, as ``native/stencil_real.h`` reads them."""
        if self._plan is None:
            fill = 3 - len(self.shape)
            numbers = [*(1,) * fill, *self.shape, len(self._terms)]
            for k, rows, columns in self._terms:
                pairs = list(zip(rows[1:], columns[1:]))
                ends = [end for row, _ in pairs for end in (row.start, row.stop)]
                numbers += [k, *(0, 1) * fill, *ends, *(0,) * fill, *(c.start - r.start for r, c in pairs)]
            self._plan = torch.tensor(numbers, dtype=torch.int64, device="cpu")
        return self._plan

    def _apply_compiled(self, x: Tensor, out: Tensor) -> Tensor:
        library = native.library("stencil")
        assert library is not None
        function = library.apply_f32 if self.dtype == torch.float32 else library.apply_f64
        # One operator may be applied to many vectors.
        numbers = (x.shape[0], self.coefficients.stride(0) if self.batch > 1 else 0, self.size)
        function(
            ctypes.c_void_p(self.plan.data_ptr()),
            *(ctypes.c_int64(number) for number in numbers),
            *(ctypes.c_void_p(tensor.data_ptr()) for tensor in (self.coefficients, x, out)),
        )
        return out

    def diagonal(self) -> Tensor:
        """The diagonal of every system, ``(batch, *shape)``."""
        centre = (0,) * len(self.shape)
        total = torch.zeros((self.batch, *self.shape), dtype=self.dtype, device=self.device)
        for k, offset in enumerate(self.offsets):
            # On a periodic axis of one or two points a neighbour may be the point itself.
            hits = all(s % n == 0 if w else s == 0 for s, n, w in zip(offset, self.shape, self.periodic))
            if offset == centre or hits:
                total += self.coefficients[:, k]
        return total

    @property
    def adjoint(self) -> StencilOperator:
        """``A*[i, i - offset] = conj(A[i - offset, i])``: mirrored offsets, shifted coefficients."""
        turned = torch.zeros_like(self.coefficients)
        for k, rows, columns in self._terms:
            turned[:, k][columns] = self.coefficients[:, k][rows].conj()
        mirrored = [tuple(-step for step in offset) for offset in self.offsets]
        return StencilOperator(mirrored, turned, self.periodic, self.tags)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> StencilOperator:
        """The same operator in another dtype or on another device."""
        coefficients = self.coefficients.to(device=device or self.device, dtype=dtype or self.dtype)
        return StencilOperator(self.offsets, coefficients, self.periodic, self.tags)

    @property
    def parameter(self) -> Tensor:
        """The coefficients."""
        return self.coefficients

    def with_parameter(self, parameter: Tensor) -> StencilOperator:
        """The same stencil with other coefficients."""
        return StencilOperator(self.offsets, parameter, self.periodic, self.tags)

    def parameter_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """``y[i] conj(x[i + offset])``, and zero for coefficients that are never used."""
        gradient = x.new_zeros((x.shape[0], *self.coefficients.shape[1:]))
        for k, rows, columns in self._terms:
            gradient[:, k][rows] = y[rows] * x[columns].conj()
        return gradient

    @property
    def absolute(self) -> StencilOperator:
        """The stencil of the absolute values."""
        return self.with_parameter(self.coefficients.detach().abs())

    def is_finite(self) -> Tensor:
        """Which systems have only finite coefficients."""
        return torch.isfinite(magnitude(self.coefficients))

    def pieces(self, samples: int) -> list[StencilOperator]:
        """The batch cut into runs of at most ``samples`` systems, sharing the coefficients."""
        if samples >= self.batch:
            return [self]
        parts = self.coefficients.split(samples)
        return [StencilOperator(self.offsets, part, self.periodic, self.tags) for part in parts]

    def to_scipy(self, index: int = 0) -> scipy.sparse.csr_array:
        """The matrix of one sample, on ``x.flatten()`` in row-major order, as a SciPy CSR array."""
        import scipy.sparse

        if not -self.batch <= index < self.batch:
            raise InvalidInput("index", index, f"a sample of a batch of {self.batch}")
        number = torch.arange(self.size, device="cpu").reshape(self.shape)
        sample = self.coefficients[index].detach().cpu()
        none = torch.empty(0, dtype=number.dtype, device="cpu")
        rows, columns, values = [none], [none], [torch.empty(0, dtype=self.dtype, device="cpu")]
        for k, row_box, column_box in self._terms:
            rows.append(number[row_box[1:]].flatten())
            columns.append(number[column_box[1:]].flatten())
            values.append(sample[k][row_box[1:]].flatten())
        ij = (torch.cat(rows).numpy(), torch.cat(columns).numpy())
        matrix = scipy.sparse.coo_array((torch.cat(values).numpy(), ij), shape=(self.size, self.size))
        return matrix.tocsr()

    def to_sparse(self) -> SparseOperator:
        """The same operator with its entries stored by rows, sharing nothing."""
        from pdeflow.linalg.sparse import SparseOperator  # here, because it needs this module

        return SparseOperator.from_stencil(self)
