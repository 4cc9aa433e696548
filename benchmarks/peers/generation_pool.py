"""What a good user would write to make an elliptic data set: a pool of processes around a solver.

``python -m benchmarks.peers.generation_pool JOB.json`` draws coefficients or sources, assembles, solves, and
writes two float32 ``.npy`` files, inputs and solutions. A job has ``family`` (darcy or helmholtz), ``n``
(interior nodes along each axis), ``samples``, ``method``, ``setting``, ``workers``, ``seed``, ``out`` and
``check`` (whether to work out the true residuals). It tells the largest ``residual``, and ``sample_s``, the
median over chunks of the seconds that a worker takes a sample.

The pattern of the matrix is worked out once a worker; matrices get new values in place, as do PETSc's
solvers. Nothing is compressed, checked or recorded.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse

WAVE_NUMBERS = (4.0, 8.0)
CHUNK = 8


class Grid:
    """The pattern of five-point matrices on n x n unknowns, and fields on the nodes around them."""

    def __init__(self, n: int) -> None:
        self.n, self.h = n, 1.0 / (n + 1)
        index = np.arange(n * n, dtype=np.int32).reshape(n, n)
        pairs = [(index, index)]
        for a, b in ((index[1:], index[:-1]), (index[:, 1:], index[:, :-1])):
            pairs += [(a, b), (b, a)]
        rows = np.concatenate([a.ravel() for a, _ in pairs])
        columns = np.concatenate([b.ravel() for _, b in pairs])
        self.order = np.lexsort((columns, rows))
        self.indices = columns[self.order]
        self.indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n * n))]).astype(np.int32)
        k = np.arange(n + 2)
        self.amplitude = 1.0 / (np.pi**2 * (k[:, None] ** 2 + k**2) + 9.0)  # alpha = 2, tau = 3
        self.amplitude[0, 0] = 0.0
        self.scale = 1.0 / np.sqrt(np.sum(self.amplitude**2))

    def gaussian(self, rng: np.random.Generator) -> np.ndarray:
        """A field of the FNO paper on all nodes, standard deviation about 1."""
        noise = rng.standard_normal(self.amplitude.shape) * self.amplitude
        return self.scale * (self.n + 2) * scipy.fft.idctn(noise, norm="ortho")

    def diffusion(self, a: np.ndarray) -> list[np.ndarray]:
        """-div(a grad u) times h^2, by diagonals in the order of the pattern, means at the faces."""
        across = (a[1:, 1:-1] + a[:-1, 1:-1]) / 2
        along = (a[1:-1, 1:] + a[1:-1, :-1]) / 2
        centre = across[1:] + across[:-1] + along[:, 1:] + along[:, :-1]
        inner = [-across[1:-1], -across[1:-1], -along[:, 1:-1], -along[:, 1:-1]]
        return [centre, *inner]

    def values(self, diagonals: list[np.ndarray]) -> np.ndarray:
        """In the order of CSR."""
        return np.concatenate([d.ravel() for d in diagonals])[self.order]


def darcy(grid: Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The coefficient, the entries of the matrix, the right-hand side."""
    a = np.where(grid.gaussian(rng) >= 0, 12.0, 3.0)
    return a, grid.values(grid.diffusion(a)), np.full(grid.n**2, grid.h**2)


def helmholtz(grid: Grid, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The source, the entries of the matrix, the right-hand side."""
    k, f = rng.uniform(*WAVE_NUMBERS), grid.gaussian(rng)
    diagonals = grid.diffusion(np.ones((grid.n + 2, grid.n + 2)))
    diagonals[0] = diagonals[0] - (k * grid.h) ** 2
    return f, grid.values(diagonals), (grid.h**2 * f[1:-1, 1:-1]).ravel()


FAMILIES = {"darcy": darcy, "helmholtz": helmholtz}
_state: dict[str, Any] = {}


def start(job: dict[str, Any]) -> None:
    """Of a worker."""
    _state.update(job=job, grid=Grid(job["n"]), solver=None)


def solve(values: np.ndarray, b: np.ndarray) -> np.ndarray:
    """By the method of the job."""
    job, grid = _state["job"], _state["grid"]
    if job["method"] == "ksp":
        if _state["solver"] is None:
            from benchmarks.peers.petsc_worker import Petsc

            _state["solver"] = Petsc()
            spd = job["family"] == "darcy"
            shape = (grid.n, grid.n)
            first = {"data": values[None], "b": b[None], "indptr": grid.indptr, "indices": grid.indices}
            _state["solver"].load({**first, "shape": shape, "symmetric": True, "positive_definite": spd})
        petsc = _state["solver"]
        petsc.data, petsc.right = values[None], b[None]
        return petsc.solve("ksp", job["setting"], 0)[2]
    from benchmarks.peers.python_worker import METHODS, System

    size = grid.n**2
    csr = scipy.sparse.csr_matrix((values, grid.indices, grid.indptr), (size, size))
    csc = csr if job["method"] != "superlu" else scipy.sparse.csc_matrix((values, grid.indices, grid.indptr))
    return METHODS[job["method"]](System(csr, csc, b, (grid.n, grid.n)), **job["setting"])[0]


def chunk(indices: range) -> tuple[range, np.ndarray, np.ndarray, float, float]:
    """Samples, their fields, the largest true residual among them, and the seconds of each."""
    begin = time.perf_counter()
    job, grid = _state["job"], _state["grid"]
    shape = (len(indices), grid.n + 2, grid.n + 2)
    inputs, solutions = np.empty(shape, np.float32), np.zeros(shape, np.float32)
    worst = 0.0
    for row, index in enumerate(indices):
        rng = np.random.default_rng((job["seed"], index))
        inputs[row], values, b = FAMILIES[job["family"]](grid, rng)
        x = solve(values, b)
        if job["check"]:
            A = scipy.sparse.csr_matrix((values, grid.indices, grid.indptr))
            worst = max(worst, float(np.linalg.norm(b - A @ x) / np.linalg.norm(b)))
        solutions[row, 1:-1, 1:-1] = x.reshape(grid.n, grid.n)
    return indices, inputs, solutions, worst, (time.perf_counter() - begin) / len(indices)


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    shape = (job["samples"], job["n"] + 2, job["n"] + 2)
    out = Path(job["out"])
    inputs, solutions = (
        np.lib.format.open_memmap(out.with_suffix(f".{name}.npy"), "w+", np.float32, shape) for name in "au"
    )
    chunks = [range(i, min(i + CHUNK, shape[0])) for i in range(0, shape[0], CHUNK)]
    worst, each = 0.0, []
    with multiprocessing.get_context("spawn").Pool(job["workers"], start, (job,)) as pool:
        for indices, a, u, residual, seconds in pool.imap_unordered(chunk, chunks):
            inputs[indices.start : indices.stop], solutions[indices.start : indices.stop] = a, u
            worst = max(worst, residual)
            each.append(seconds)
    inputs.flush()
    solutions.flush()
    print(json.dumps({"sample_s": statistics.median(each), "residual": worst}))


if __name__ == "__main__":
    main()
