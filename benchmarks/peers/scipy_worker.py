"""SciPy on sequences of systems: ``python -m benchmarks.peers.scipy_worker`` in pdeflow's own environment.

A setting names its preconditioner; what a method carries from one system to the next is kept by method and
setting, for as long as the process lives. ``ilu`` and ``multigrid`` are pdeflow's own, so that all methods
have the same one; making it counts. An iteration is a product with the matrix.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg as sla

from benchmarks.peers.protocol import RTOL, serve

PRODUCTS = 10_000
"""After about so many products a method gives up."""


class Scipy:
    def __init__(self) -> None:
        self.carried: dict[str, list[Any]] = {}

    def versions(self) -> dict[str, str | None]:
        return {name: importlib.metadata.version(name) for name in ("numpy", "scipy")}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays
        self.shape = tuple(map(int, arrays["shape"]))

    def solve(
        self, method: str, setting: dict[str, Any], system: int
    ) -> tuple[float, int | None, np.ndarray]:
        A, b = self._matrix(system), self.arrays["b"][system]
        if method == "splu":
            csc = A.tocsc()
            start = time.perf_counter()
            x = _splu(csc, **setting).solve(b)
            return time.perf_counter() - start, None, x
        kept = self.carried.setdefault(json.dumps([method, setting]), [])
        setting = dict(setting)
        make = self._preconditioner(setting.pop("preconditioner"), system)
        products = [0]

        def product(x: np.ndarray) -> np.ndarray:
            products[0] += 1
            return A @ x

        operator = sla.LinearOperator(A.shape, matvec=product, dtype=A.dtype)
        start = time.perf_counter()
        M = make()
        x = METHODS[method](operator, b, M, kept, **setting)
        return time.perf_counter() - start, products[0], x

    def _matrix(self, system: int) -> scipy.sparse.csr_array:
        held = self.arrays
        size = held["b"].shape[1]
        return scipy.sparse.csr_array((held["data"][system], held["indices"], held["indptr"]), (size, size))

    def _preconditioner(self, name: str, system: int) -> Callable[[], Any]:
        """What makes M; what of it is ready before the clock starts is the operator alone."""
        if name == "none":
            return lambda: None
        if name == "jacobi":
            A = self._matrix(system)

            def jacobi() -> Any:
                inverse = 1 / A.diagonal()
                return sla.LinearOperator(A.shape, matvec=lambda r: inverse * r, dtype=A.dtype)

            return jacobi
        from benchmarks.peers.own_preconditioners import prepare

        return prepare(name, self.arrays, system)


def _splu(A: Any, symmetric: bool = False, **kwargs: Any) -> Any:
    if symmetric:
        kwargs |= {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    return sla.splu(A, **kwargs)


def gmres(A: Any, b: np.ndarray, M: Any, kept: list[Any]) -> np.ndarray:
    return sla.gmres(A, b, rtol=RTOL, restart=40, maxiter=PRODUCTS // 40, M=M)[0]


def lgmres(A: Any, b: np.ndarray, M: Any, kept: list[Any], carry: bool = False) -> np.ndarray:
    # 37 + 3 vectors. The products of what is carried belong to another matrix and are not stored.
    return sla.lgmres(
        A,
        b,
        rtol=RTOL,
        inner_m=37,
        outer_k=3,
        maxiter=PRODUCTS // 40,
        M=M,
        outer_v=kept if carry else [],
        store_outer_Av=not carry,
    )[0]


def gcrotmk(A: Any, b: np.ndarray, M: Any, kept: list[Any], carry: bool = False) -> np.ndarray:
    return sla.gcrotmk(
        A,
        b,
        rtol=RTOL,
        m=20,
        k=20,
        maxiter=PRODUCTS // 20,
        M=M,
        CU=kept if carry else [],
        discard_C=True,
        truncate="smallest",
    )[0]


METHODS = {f.__name__: f for f in (gmres, lgmres, gcrotmk)}

if __name__ == "__main__":
    warnings.simplefilter("ignore")  # they go to the parent's terminal; what matters is the residual
    serve(Scipy())
