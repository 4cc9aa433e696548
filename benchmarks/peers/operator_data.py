"""What the peers of ``benchmarks.operators`` are given: our samples as tensors, and our metric."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.operators_cases import Case, data
from pdeflow.grid import Grid
from pdeflow.training import Evaluator, Rollout


@dataclass
class Samples:
    """Inputs and outputs ``(samples, channels, *grid)``, in training pairs of a step for a trajectory."""

    x: Tensor
    y: Tensor
    grid: Grid
    tests: list[list[dict[str, Any]]]
    """The batches of each test set, their grids among them."""

    @property
    def statistics(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Mean and deviation of each channel, of inputs and outputs."""
        others = (0, *range(2, self.x.ndim))
        found = [f(t, others, keepdim=True) for t in (self.x, self.y) for f in (torch.mean, torch.std)]
        return found[0], found[1], found[2], found[3]


def samples(case: Case, files: list[str]) -> Samples:
    """All of a case."""
    module = data(case, files)
    module.setup("fit")
    module.setup("test")
    batches = list(module.train_dataloader())
    x = torch.cat([batch["input"] for batch in batches])
    y = torch.cat([batch["target"] for batch in batches])
    if case.kind == "trajectory":
        y = y[:, 0]  # one step
    tests = [
        [{**batch, "grid": grid} for batch in loader]
        for grid, loader in zip(module.test_grids, module.test_dataloader())
    ]
    return Samples(x, y, module.grid, tests)


def errors(case: Case, step: Callable[[Tensor], Tensor], held: Samples, device: str) -> list[float]:
    """Mean relative L2 error on each test set; ``step`` takes and gives physical values.

    Trajectories are marched as ours are, since neither library feeds predictions back in a test.
    """
    march, found = Rollout().eval(), []
    for batches in held.tests:
        evaluator = Evaluator(("l2",))
        for batch in batches:
            moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            with torch.no_grad():
                got = march.predict(step, moved) if case.kind == "trajectory" else step(moved["input"])
            evaluator.update(got.cpu(), batch["target"], batch["grid"])
        found.append(float(evaluator.compute()["l2"]))
    return found
