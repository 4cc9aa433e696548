"""Checks of the kind of an argument, worded the same in every constructor."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    import numpy as np

ONE_AXIS = "The shape of n unknowns along one axis is (n,)."


def check_count(name: str, value: object, least: int = 1, expected: str = "") -> None:
    """Raise InvalidInput unless the value is a whole number, at least ``least``."""
    whole = type(value) is int or isinstance(value, numbers.Integral)  # the second alone is slow
    if not whole or int(value) < least:  # type: ignore[call-overload]
        raise InvalidInput(name, value, expected or f"a whole number, at least {least}")


def check_precision(dtype: object) -> None:
    """Raise InvalidInput unless the dtype that a method is to work in is real, single or double, or None."""
    if dtype not in (None, torch.float32, torch.float64):
        raise InvalidInput("dtype", dtype, "torch.float32, torch.float64 or None")


def real_number(name: str, value: object, expected: str = "a number") -> float:
    """The value as a float; a tensor or an array is a number where it has no axes."""
    if type(value) is float or isinstance(value, numbers.Real):  # the second alone is slow
        return float(value)  # type: ignore[arg-type]
    if getattr(value, "ndim", None) == 0:
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, RuntimeError):  # it holds text, or a complex number
            pass
    raise InvalidInput(name, value, expected)


def check_number(name: str, value: object, fits: Callable[[float], bool], expected: str) -> None:
    """Raise InvalidInput unless the value is a real number that fits."""
    if not fits(real_number(name, value, expected)):
        raise InvalidInput(name, value, expected)


def whole_numbers(name: str, values: Any, hint: str = "") -> tuple[int, ...]:
    """The values as a tuple of ints."""
    try:
        values = tuple(values)
    except TypeError:
        raise InvalidInput(name, values, "a tuple of whole numbers", hint) from None
    if set(map(type, values)) <= {int}:  # as nearly always
        return values
    values = tuple(value.item() if getattr(value, "ndim", None) == 0 else value for value in values)
    if not all(isinstance(value, numbers.Integral) for value in values):
        raise InvalidInput(name, values, "whole numbers", hint)
    return tuple(int(value) for value in values)


def coefficient_tensor(name: str, values: object) -> Tensor:
    """A tensor as it is, or a NumPy array as a tensor; NumPy's integers and long doubles become float64.

    A list is refused: torch would read its numbers in single precision.
    """
    if isinstance(values, Tensor):
        return values
    import numpy as np

    if not isinstance(values, np.ndarray):
        hint = "Convert it with torch.as_tensor(..., dtype=torch.float64)."
        raise InvalidInput(name, type(values).__name__, "a torch.Tensor or NumPy array", hint)
    dtype = values.dtype if values.dtype.char in "fdFD" else wide_dtype(values.dtype)
    # Torch shares the memory of an array, but not of one that is read-only or runs backwards.
    shared = values.flags.writeable and all(stride >= 0 for stride in values.strides)
    return torch.from_numpy(values.astype(np.dtype(dtype).newbyteorder("="), copy=not shared))


def wide_dtype(dtype: np.dtype) -> type[np.generic]:
    """The double precision that holds numbers of a dtype that torch has no products for."""
    import numpy as np

    if not (np.issubdtype(dtype, np.number) or dtype == np.bool_):
        raise InvalidInput("dtype", dtype, "numbers")
    return np.complex128 if np.issubdtype(dtype, np.complexfloating) else np.float64


def check_instance(name: str, value: object, kind: type, example: str, *, optional: bool = False) -> None:
    """Raise InvalidInput unless the value is of a kind, for example a Preconditioner such as ``Jacobi()``."""
    if isinstance(value, kind) or (optional and value is None):
        return
    expected = f"a {kind.__name__}" + (" or None" if optional else "")
    if isinstance(value, type):
        hint = f"Make one of the class: {value.__name__}()." if issubclass(value, kind) else ""
        raise InvalidInput(name, f"the class {value.__name__}", expected, hint or f"For example {example}.")
    got = value if isinstance(value, (str, int, float)) else type(value).__name__
    raise InvalidInput(name, got, expected, f"For example {example}.")
