"""Points in a domain that is no box, with our reference there: what all contenders are compared with.

A reference takes longer than some trainings, so it is taken once a run and kept in a file.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.result import WORK
from pdeflow.problems import Problem
from pdeflow.problems.space_filling import space_filling

FOLDER = WORK / "physics"
POINTS, SEED = 4000, 2026
"""About so many, of which no training knows."""


def reference_at_points(problem: Problem) -> tuple[Tensor, Tensor]:
    """Points (N, d) inside, float64, and the reference there (N, 1); from the file, if it is there."""
    path = FOLDER / f"{problem.name}.npz"
    if not path.is_file():
        seed = np.random.SeedSequence(SEED)
        points = problem.domain.inside(POINTS, lambda n, dim: space_filling("sobol", n, dim, seed))
        values = problem.reference(points)
        assert values is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, points=points, values=values)
    found = np.load(path)
    return torch.from_numpy(found["points"]), torch.from_numpy(found["values"])[:, None]
