"""Steps of ETDRK4 by the loops of ``linalg/native/etdrk4.c``: many of some rows, while they are in the cache.

The eager form, with the same numbers up to rounding, is `pdeflow.problems.etdrk4` with
`pdeflow.problems.quadratic_rate`. A row's numbers do not depend on the rows beside it.

The transforms are by factors 2, 3, 4, 5 and 8 (C. Van Loan, "Computational Frameworks for the Fast Fourier
Transform", SIAM, 1992).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import native
from pdeflow.problems.quadratic_rate import QuadraticRest
from pdeflow.problems.spectral_function import fine_points, kept_modes


class _Array(ctypes.Structure):
    _fields_ = (("values", ctypes.c_void_p), ("stride", ctypes.c_int64))


class _Transform(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("length", "stages")),
        *((name, ctypes.c_void_p) for name in ("factors", "twiddles")),
    )


class _Rest(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("first", "last")),
        *((name, _Transform) for name in ("across", "along")),
        ("half_turn", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("factors", "products")),
        *((name, ctypes.c_void_p) for name in ("factor", "multiplier", "pairs", "ends")),
        *((name, _Array) for name in ("left", "known")),
        ("work", ctypes.c_void_p),
    )


class _Steps(ctypes.Structure):
    _fields_ = (
        ("rest", _Rest),
        *((name, ctypes.c_int64) for name in ("steps", "real")),
        *((name, _Array) for name in ("whole", "half", "q", "start", "middle", "end")),
    )


class _Look(ctypes.Structure):
    _fields_ = (
        ("rest", _Rest),
        *((name, _Array) for name in ("grows", "gathers")),
        ("negligible", ctypes.c_double),
    )


def factors_of(length: int) -> list[int] | None:
    """The factors of a transform, each 8, 5, 4, 3 or 2; None where there is another."""
    found = []
    for factor in (5, 3, 8, 4, 2):
        while length % factor == 0:
            # 16 as 4 * 4 and not 8 * 2: a pass over the memory with a butterfly of 2 does little.
            if factor == 8 and length == 16:
                break
            found.append(factor)
            length //= factor
    return found if length == 1 else None


def _lengths(points: Sequence[int]) -> tuple[int, int]:
    """Of the transforms across, over lines, and along a line, where two nodes are one complex number."""
    return math.prod(points[:-1]), points[-1] // 2


@functools.lru_cache(maxsize=64)
def _transform(length: int) -> tuple[_Transform, list[Tensor]]:
    """The transform of this length, and the tensors that it points into."""
    factors = factors_of(length)
    assert factors is not None
    parts, n = [torch.empty(0, dtype=torch.float64, device="cpu")], length
    for r in factors:
        powers = torch.outer(torch.arange(n // r, device="cpu"), torch.arange(1, r, device="cpu"))
        parts.append(_turns(-powers.flatten(), n))
        n //= r
    kept = [torch.tensor(factors, dtype=torch.int64, device="cpu"), torch.cat(parts)]
    return _Transform(length, len(factors), *(tensor.data_ptr() for tensor in kept)), kept


@functools.lru_cache(maxsize=64)
def _half_turn(length: int) -> Tensor:
    """What parts a transform of twice this length into two of it."""
    return _turns(torch.arange(length // 2 + 1, device="cpu"), 2 * length)


def _turns(powers: Tensor, n: int) -> Tensor:
    """``e^{2 pi i k / n}`` as pairs of numbers."""
    angle = powers.double() * (2 * math.pi / n)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).reshape(-1)


def fits(rest: QuadraticRest) -> bool:
    """Whether the loops can take this rate: one or two axes, whose finer grids are products of 2, 3 and 5."""
    return rest.grid.dim <= 2 and all(factors_of(n) is not None for n in _lengths(fine_points(rest.grid)))


def usable(v: Tensor, rest: QuadraticRest) -> bool:
    """Whether they take these coefficients: on a CPU with a C compiler, where no derivative is asked for."""
    if v.device.type != "cpu" or v.dtype != torch.complex128:
        return False
    given = (v, *rest.factors, *(m for _, m in rest.products), rest.left, rest.known)
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in given):
        return False
    return native.library("etdrk4") is not None


class CompiledRest:
    """A rate without its symbol; see `QuadraticRest`.

    It owns a buffer, so one thread at a time may use it.
    """

    def __init__(self, rest: QuadraticRest) -> None:
        library = native.library("etdrk4")
        assert library is not None  # usable() has seen that the machine can compile
        self.library, self.grid = library, rest.grid
        self.lanes = ctypes.c_int64.in_dll(library, "lanes").value
        highest, fine = kept_modes(rest.grid), fine_points(rest.grid)
        self.modes = (*(2 * k + 1 for k in highest[:-1]), highest[-1] + 1)
        self.samples = 1  # that the rate is for; 1 may stand for any number
        self._kept: list[object] = []
        across, along = _lengths(fine)
        call = self.call = _Rest(first=highest[0] if len(highest) == 2 else 0, last=highest[-1])
        (call.across, kept), (call.along, also_kept) = _transform(across), _transform(along)
        self._kept += [kept, also_kept]
        call.half_turn = self._data(_half_turn(along))
        call.factors, call.products = len(rest.factors), len(rest.products)
        plain = [None if plain else factor for factor, plain in zip(rest.factors, rest.plain)]
        call.factor = self._arrays(plain)
        call.multiplier = self._arrays([m for _, m in rest.products])
        together = [pairs for pairs, _ in rest.products]
        flat = [number for pairs in together for pair in pairs for number in pair]
        ends = list(itertools.accumulate(map(len, together)))
        call.pairs, call.ends = (
            self._data(torch.tensor(numbers, dtype=torch.int64, device="cpu")) for numbers in (flat, ends)
        )
        call.left, call.known = self._own(rest.left), self._own(rest.known)
        library.work_size.restype = ctypes.c_int64
        size = library.work_size(ctypes.byref(call))
        call.work = self._data(torch.empty(size, dtype=torch.float64, device="cpu"))

    def _data(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()

    def _arrays(self, tensors: Sequence[Tensor | None]) -> int:
        arrays = (_Array * len(tensors))(*(self._own(t) for t in tensors))
        self._kept.append(arrays)
        return ctypes.addressof(arrays)

    def array(self, tensor: Tensor) -> tuple[_Array, Tensor]:
        """What multiplies the modes, (batch or 1, *modes or 1), as [group][mode][re, im][lane].

        The last group is filled up with 0; of real numbers there is no im. The tensor is to be kept as long
        as the array is in use.
        """
        count, tensor = len(tensor), tensor.expand(-1, *self.modes)
        self.samples = max(self.samples, count)
        if count == 1:  # what all samples share, all rows of a group get
            tensor = tensor.expand(self.lanes, *self.modes)
        if tensor.is_complex():
            tensor = torch.view_as_real(tensor.resolve_conj())
        rows = tensor.reshape(len(tensor), -1)
        missing = -len(rows) % self.lanes
        if missing:
            rows = torch.cat([rows, rows.new_zeros((missing, rows.shape[1]))])
        packed = rows.reshape(-1, self.lanes, rows.shape[1]).transpose(1, 2).contiguous()
        return _Array(packed.data_ptr(), packed.stride(0) if count > 1 else 0), packed

    def _own(self, tensor: Tensor | None) -> _Array:
        """That, kept here; None is absent."""
        if tensor is None:
            return _Array()
        array, packed = self.array(tensor)
        self._kept.append(packed)
        return array

    def run(self, function: Any, call: ctypes.Structure, *tensors: Tensor) -> None:
        """Call a function of C on rows of modes."""
        rows, *modes = tensors[0].shape
        if tuple(modes) != self.modes or self.samples not in (1, rows):
            wanted = f"({self.samples if self.samples > 1 else 'any number'}, *{self.modes})"
            raise InvalidInput("shape of the coefficients", tuple(tensors[0].shape), wanted)
        pointers = (ctypes.c_void_p(t.data_ptr()) for t in tensors)
        function(ctypes.byref(call), ctypes.c_int64(len(tensors[0])), *pointers)

    def __call__(self, v: Tensor) -> Tensor:
        """Of coefficients (n, *modes)."""
        v = v.resolve_conj().contiguous()
        result = torch.empty_like(v)
        self.run(self.library.evaluate, self.call, v, result)
        return result


class CompiledSteps:
    """Steps of one length.

    Parameters
    ----------
    rest
        The rate without its symbol.
    coefficients
        What a step multiplies by, as `pdeflow.problems.etdrk4` has it: e^z, e^{z/2}, q, and those of the
        first, the two middle and the last stage; (batch or 1, *modes), all float64 or all complex128.
    """

    def __init__(self, rest: CompiledRest, coefficients: Sequence[Tensor]) -> None:
        self._rest, self._arrays = rest, []
        self._steps = _Steps(rest.call, real=int(not coefficients[0].is_complex()))
        for name, values in zip(("whole", "half", "q", "start", "middle", "end"), coefficients, strict=True):
            array, packed = rest.array(values)
            setattr(self._steps, name, array)
            self._arrays.append(packed)

    def advanced(self, v: Tensor, steps: int) -> Tensor:
        """Coefficients (n, *modes) after so many steps."""
        result = v.resolve_conj().clone(memory_format=torch.contiguous_format)
        self._steps.steps = steps
        self._rest.run(self._rest.library.etdrk4, self._steps, result)
        return result


class CompiledLook:
    """What modes are in use; see ``_Band.used`` of `pdeflow.problems.etdrk4`.

    Squares of moduli are compared.

    Parameters
    ----------
    rest
        The rate without its symbol.
    grows, gathers
        What the modulus of a mode, and that of its rate, are multiplied by; (batch or 1, *modes), float64.
    tail
        What is negligible, over the largest modulus.
    """

    def __init__(self, rest: CompiledRest, grows: Tensor, gathers: Tensor, tail: float) -> None:
        self._rest = rest
        self._arrays = [rest.array(grows**2), rest.array(gathers**2)]
        self._look = _Look(rest.call, *(array for array, _ in self._arrays), tail**2)

    def highest(self, v: Tensor) -> tuple[int, ...]:
        """The highest wave number along each axis that some sample of (n, *modes) uses."""
        found = torch.empty(2, dtype=torch.int64, device="cpu")
        self._rest.run(self._rest.library.highest, self._look, v.resolve_conj().contiguous(), found)
        return tuple(found.tolist()[-self._rest.grid.dim :])
