"""PETSc: ``python -m benchmarks.peers.petsc_worker`` in the environment that ``make peers`` makes.

The method is ``ksp``, or ``struct`` for hypre's multigrids on boxes, which take a matrix of their own, made
on a DMDA; the setting is PETSc's own options. All systems have one pattern, so a solver is made once and its
matrix gets new values in place: orderings and symbolic factorisations are reused, as a PETSc user would have
it. What is timed is KSPSetOperators, KSPSetUp and KSPSolve; the values are in the matrices before.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from petsc4py import PETSc

from benchmarks.peers.protocol import RTOL, serve


class Petsc:
    def __init__(self) -> None:
        self.solvers: dict[str, Any] = {}

    def versions(self) -> dict[str, str | None]:
        return {"petsc": ".".join(map(str, PETSc.Sys.getVersion())), "numpy (of PETSc)": np.__version__}

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        self.data, self.right = arrays["data"], arrays["b"]
        self.pattern = arrays["indptr"].astype(PETSc.IntType), arrays["indices"].astype(PETSc.IntType)
        size = self.right.shape[1]
        self.matrix = PETSc.Mat().createAIJ(
            (size, size), csr=(*self.pattern, self.data[0]), comm=PETSc.COMM_SELF
        )
        self.matrix.setOption(PETSc.Mat.Option.SYMMETRIC, bool(arrays["symmetric"]))
        self.matrix.setOption(PETSc.Mat.Option.SPD, bool(arrays["positive_definite"]))
        self.x, self.b = self.matrix.createVecs()
        self.shape = tuple(map(int, arrays["shape"]))
        self.struct: Any = None

    def solve(self, method: str, setting: str, system: int) -> tuple[float, int | None, np.ndarray]:
        if setting not in self.solvers:
            self.solvers[setting] = self._solver(setting)
        solver = self.solvers[setting]
        self.matrix.setValuesCSR(*self.pattern, self.data[system])
        self.matrix.assemble()
        preconditioned = self._struct(system) if method == "struct" else self.matrix
        self.b.setArray(self.right[system])
        self.x.set(0)
        start = time.perf_counter()
        solver.setOperators(self.matrix, preconditioned)
        solver.setUp()
        solver.solve(self.b, self.x)
        seconds = time.perf_counter() - start
        return seconds, solver.getIterationNumber(), self.x.getArray().copy()

    def _struct(self, system: int) -> Any:
        if self.struct is None:
            # PETSc has it in three dimensions only; its first axis is the fastest, our last.
            sizes = [*reversed(self.shape), 1][:3]
            self.grid = PETSc.DMDA().create(
                sizes,
                dof=1,
                stencil_type="star",
                stencil_width=1,
                boundary_type=["none"] * 3,
                comm=PETSc.COMM_SELF,
            )
            self.grid.setMatType("hyprestruct")
            self.struct = self.grid.createMat()
        rows, columns = self.pattern
        for row in range(rows.size - 1):
            start, end = rows[row], rows[row + 1]
            self.struct.setValuesLocal([row], columns[start:end], self.data[system, start:end])
        self.struct.assemble()
        return self.struct

    def _solver(self, setting: str) -> Any:
        prefix = f"s{len(self.solvers)}_"
        options = PETSc.Options(prefix)
        words = setting.split()
        for name, value in zip(words[::2], words[1::2]):
            options[name.removeprefix("-")] = value
        solver = PETSc.KSP().create(PETSc.COMM_SELF)
        solver.setOptionsPrefix(prefix)
        solver.setTolerances(rtol=RTOL, atol=0, max_it=10_000)
        solver.setFromOptions()
        return solver


if __name__ == "__main__":
    serve(Petsc())
