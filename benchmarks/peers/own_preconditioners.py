"""pdeflow's preconditioners for SciPy's methods, so that both sides of a comparison have the same one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg as sla
import torch

from pdeflow import linalg

torch.set_num_threads(1)
PRECONDITIONERS = {"ilu": linalg.ILU(), "multigrid": linalg.Multigrid()}


def prepare(name: str, arrays: dict[str, np.ndarray], system: int) -> Callable[[], Any]:
    """What makes the preconditioner of a system, which is read into an operator here and now."""
    values = torch.from_numpy(arrays["data"][system])
    shape = tuple(map(int, arrays["shape"]))
    tags = [linalg.Tag.SYMMETRIC] if bool(arrays["symmetric"]) else []
    operator: linalg.LinearOperator
    if len(shape) == 1:
        operator = linalg.SparseOperator.from_csr(arrays["indptr"], arrays["indices"], values, shape, tags)
    else:
        operator = _stencil(arrays, values, shape, tags)

    def make() -> Any:
        M = PRECONDITIONERS[name].init(operator)

        def apply(r: np.ndarray) -> np.ndarray:
            return M.apply(torch.from_numpy(np.ascontiguousarray(r)).reshape(1, *shape)).numpy().ravel()

        return sla.LinearOperator(
            (values.new_empty(shape).numel(),) * 2, matvec=apply, dtype=arrays["b"].dtype
        )

    return make


def _stencil(
    arrays: dict[str, np.ndarray], values: torch.Tensor, shape: tuple[int, ...], tags: list[Any]
) -> linalg.StencilOperator:
    """Entries by the difference of their column's and row's grid indices."""
    size = values.new_empty(shape).numel()
    rows = np.repeat(np.arange(size), np.diff(arrays["indptr"]))
    at = np.array(np.unravel_index(rows, shape))
    difference = np.array(np.unravel_index(arrays["indices"], shape)) - at
    offsets, which = np.unique(difference.T, axis=0, return_inverse=True)
    coefficients = torch.zeros((1, len(offsets), *shape), dtype=values.dtype)
    coefficients[(0, torch.from_numpy(which.ravel()), *map(torch.from_numpy, at))] = values
    return linalg.StencilOperator([tuple(map(int, o)) for o in offsets], coefficients, tags=tags)
