"""One unknown or several: how a statement speaks of them, and how tensors hold them.

Of one unknown, all is as if there could be no other: a function, a value, a tensor. Of several, a statement
reads them by name and gives a tuple in their order, and tensors have an axis for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Names


def check_names(name: str, fields: Sequence[str]) -> None:
    """Raise InvalidInput, by ``name``, unless the unknowns have names of their own."""
    usable = not isinstance(fields, str) and all(f.isidentifier() and f[0] != "_" for f in fields)
    if not usable or not fields or len(set(fields)) < len(fields):
        raise InvalidInput(name, fields, "a tuple of names, one for each unknown", 'Say ("u", "v").')


def named(fields: Sequence[str], parts: Sequence[Any]) -> Any:
    """What a residual or a rate is given: the one unknown itself, or several by name, ``w.u`` and ``w.v``."""
    return parts[0] if len(fields) == 1 else Names("field", dict(zip(fields, parts)))


def components(fields: Sequence[str], value: Any, method: str) -> tuple[Any, ...]:
    """What ``method`` gave, one entry an unknown.

    Raises
    ------
    InvalidInput
        If it is a tuple of fewer or more entries, or there are several unknowns, and it is none.
    """
    several = isinstance(value, (tuple, list))
    if len(fields) == 1 and not several:
        return (value,)
    if not several or len(value) != len(fields):
        got, names = f"{len(value)} of them" if several else type(value).__name__, ", ".join(fields)
        count = f"a tuple of {len(fields)} expressions" if len(fields) > 1 else "one expression"
        raise InvalidInput(method, got, f"{count}, for {names}")
    return tuple(value)


def parted(fields: Sequence[str], values: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
    """The tensor of each unknown, from one of all of them that :func:`joined` made."""
    return (values,) if len(fields) == 1 else values.unbind(dim)


def joined(parts: Sequence[Tensor], dim: int = 1) -> Tensor:
    """One tensor of all unknowns: that of the only one itself, or several along a new axis ``dim``."""
    return parts[0] if len(parts) == 1 else torch.stack(tuple(parts), dim)


def stored_names(fields: Sequence[str], complex_valued: bool) -> tuple[str, ...]:
    """The real fields that a file holds of the unknowns."""
    if not complex_valued:
        return tuple(fields)
    return tuple(f"{name}_{part}" for name in fields for part in ("real", "imag"))


def stored_parts(parts: Sequence[Tensor]) -> list[Tensor]:
    """The values of these fields, from those of the unknowns."""
    return [part for u in parts for part in ((u.real, u.imag) if u.is_complex() else (u,))]
