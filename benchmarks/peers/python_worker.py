"""SciPy, PyAMG and torch-sla: ``python -m benchmarks.peers.python_worker`` in pdeflow's own environment.

A setting is the method's keyword arguments. CSR, CSC, COO and torch tensors of a system are ready before the
clock starts.
"""

from __future__ import annotations

import importlib.metadata
import math
import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
import scipy.sparse.linalg

from benchmarks.peers.protocol import RTOL, serve

Answer = tuple[np.ndarray, int | None]


@dataclass
class System:
    """One matrix in the forms that the methods take, and its right-hand side."""

    csr: scipy.sparse.csr_matrix
    csc: scipy.sparse.csc_matrix
    b: np.ndarray
    shape: tuple[int, ...]
    torch: tuple[Any, ...] = ()


def superlu(system: System, symmetric: bool = False, **kwargs: Any) -> Answer:
    if symmetric:
        kwargs |= {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    return scipy.sparse.linalg.splu(system.csc, **kwargs).solve(system.b), None


def ruge_stuben(system: System, **kwargs: Any) -> Answer:
    import pyamg

    return _pyamg_cg(pyamg.ruge_stuben_solver(system.csr, **_tuples(kwargs)), system.b)


def smoothed_aggregation(system: System, **kwargs: Any) -> Answer:
    import pyamg

    return _pyamg_cg(pyamg.smoothed_aggregation_solver(system.csr, **_tuples(kwargs)), system.b)


def _pyamg_cg(levels: Any, b: np.ndarray) -> Answer:
    residuals: list[float] = []
    x = levels.solve(b, tol=RTOL, maxiter=1000, accel="cg", residuals=residuals)
    return x, len(residuals) - 1


def _tuples(value: Any) -> Any:
    """JSON's lists, as the tuples that PyAMG wants."""
    if isinstance(value, list):
        return tuple(map(_tuples, value))
    return {k: _tuples(v) for k, v in value.items()} if isinstance(value, dict) else value


def torch_sla(system: System, backend: str, **kwargs: Any) -> Answer:
    from torch_sla import spsolve

    # Its own Krylov methods stop at an absolute tolerance, its PyAMG back end at a relative one.
    kwargs["atol"] = RTOL * (1.0 if backend == "pyamg" else float(np.linalg.norm(system.b)))
    val, row, col, b = system.torch
    return spsolve(val, row, col, system.csr.shape, b, backend=backend, **kwargs).numpy(), None


def fast_poisson(system: System, scaled: bool = False, single: bool = False) -> Answer:
    """SciPy's CG, preconditioned by the Poisson operator, which sine transforms invert.

    ``scaled`` puts it between the inverse square roots of the diagonal: exact for a coefficient that is a
    square of a harmonic function, good for smooth ones.
    """
    dtype = np.float32 if single else np.float64
    inverse = np.zeros(system.shape)
    for axis, n in enumerate(system.shape):
        eigenvalues = (2 * (n + 1) * np.sin(np.pi * np.arange(1, n + 1) / (2 * (n + 1)))) ** 2
        inverse += eigenvalues.reshape(-1, *(1,) * (len(system.shape) - 1 - axis))
    inverse = (1 / inverse).astype(dtype)
    weight = (1 / np.sqrt(system.csr.diagonal())).reshape(system.shape).astype(dtype) if scaled else 1

    def precondition(r: np.ndarray) -> np.ndarray:
        spectrum = scipy.fft.dstn(weight * r.reshape(system.shape).astype(dtype), type=1, norm="ortho")
        spectrum *= inverse
        z = weight * scipy.fft.idstn(spectrum, type=1, norm="ortho", overwrite_x=True)
        return z.ravel().astype(np.float64)

    size = math.prod(system.shape)
    M = scipy.sparse.linalg.LinearOperator((size, size), matvec=precondition, dtype=np.float64)
    steps = [0]

    def count(_: np.ndarray) -> None:
        steps[0] += 1

    x, code = scipy.sparse.linalg.cg(system.csr, system.b, rtol=RTOL, maxiter=2000, M=M, callback=count)
    if code:
        raise RuntimeError(f"SciPy's CG ended with code {code}")
    return x, steps[0]


def sine_transforms(system: System) -> Answer:
    """SciPy's fast sine transforms, exact where coefficients do not vary and u is 0 on the sides.

    What stands on the diagonal beside the second differences may be any number, as of a wave number.
    """
    dim, coupling = len(system.shape), -system.csr[0, 1]
    spectrum = np.full(system.shape, system.csr[0, 0] - 2 * dim * coupling)
    for axis, n in enumerate(system.shape):
        eigenvalues = 4 * coupling * np.sin(np.pi * np.arange(1, n + 1) / (2 * (n + 1))) ** 2
        spectrum = spectrum + eigenvalues.reshape(-1, *(1,) * (dim - 1 - axis))
    modes = scipy.fft.dstn(system.b.reshape(system.shape), type=1, norm="ortho")
    modes /= spectrum
    return scipy.fft.idstn(modes, type=1, norm="ortho", overwrite_x=True).ravel(), None


METHODS = {
    f.__name__: f
    for f in (superlu, ruge_stuben, smoothed_aggregation, torch_sla, fast_poisson, sine_transforms)
}


class Python:
    def versions(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in ("numpy", "scipy", "pyamg", "torch-sla"):
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                found[name] = None
        return found

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def solve(
        self, method: str, setting: dict[str, Any], system: int
    ) -> tuple[float, int | None, np.ndarray]:
        held = self.arrays
        size = held["b"].shape[1]
        # The matrix class of old: torch-sla's scipy calls and PyAMG take both, SuperLU has no preference.
        csr = scipy.sparse.csr_matrix((held["data"][system], held["indices"], held["indptr"]), (size, size))
        prepared = System(csr, csr.tocsc(), held["b"][system], tuple(held["shape"]))
        if method == "torch_sla":
            prepared.torch = _torch_tensors(prepared)
        start = time.perf_counter()
        x, iterations = METHODS[method](prepared, **setting)
        return time.perf_counter() - start, iterations, x


def _torch_tensors(system: System) -> tuple[Any, ...]:
    import torch
    from torch_sla.solver_cache import SOLVER_CACHE

    torch.set_num_threads(1)
    # Every system is new to it: a hierarchy kept from an earlier round would be no set-up at all.
    SOLVER_CACHE.clear()
    coo = system.csr.tocoo()
    row, col = (torch.from_numpy(index.astype(np.int64)) for index in (coo.row, coo.col))
    return torch.from_numpy(coo.data), row, col, torch.from_numpy(system.b)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # they go to the parent's terminal; what matters is the residual
    serve(Python())
