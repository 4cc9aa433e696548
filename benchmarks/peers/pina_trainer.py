"""PINA's FNO, solver and Trainer: ``python -m benchmarks.peers.pina_trainer JOB.json``.

The job is that of ``benchmarks.operators_train``. Its solver gives a loss only the difference of prediction
and truth; a further channel, of zeros in the prediction, brings the size of the truth, and the loss is the
relative H1 of ours. Inputs and outputs are normalised before, and the coordinates of the nodes are channels,
as in the FNO paper: PINA leaves both to its user.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import lightning
import torch
from pina import Trainer
from pina.model import FNO
from pina.optim import TorchOptimizer, TorchScheduler
from pina.problem.zoo import SupervisedProblem
from pina.solver import SupervisedSingleModelSolver
from torch import Tensor, nn
from torch.nn.modules.loss import _Loss
from torch.optim.lr_scheduler import LambdaLR

from benchmarks.operators_cases import Case, case_of
from benchmarks.operators_clock import Clock
from benchmarks.operators_models import count, model_of
from benchmarks.operators_train import Pace
from benchmarks.peers.operator_data import Samples, errors, samples
from pdeflow.training.norms import squared_h1


class WithSize(nn.Module):
    """The model with a channel of zeros, where the target has minus the H1 norm of the truth."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, *grid, out_channels + 1)``."""
        y = self.model(x)
        return torch.cat((y, torch.zeros_like(y[..., :1])), dim=-1)


def targets(held: Samples) -> Tensor:
    """Normalised, with that channel: ``(samples, *grid, out_channels + 1)``."""
    _, _, mean, std = held.statistics
    size = squared_h1(held.y, held.grid).sqrt().view(-1, *(1,) * (held.y.ndim - 1))
    return (
        torch.cat(((held.y - mean) / std, -size.expand_as(held.y[:, :1])), dim=1).movedim(1, -1).contiguous()
    )


class RelativeH1(_Loss):
    """H1 of each sample, in physical units, of what their solver gives: ``WithSize`` minus ``targets``."""

    def __init__(self, held: Samples) -> None:
        super().__init__()
        self.grid = held.grid
        self.register_buffer("std", held.statistics[3])

    def forward(self, residual: Tensor, zeros: Tensor) -> Tensor:
        """Of a batch."""
        both = residual.as_subclass(Tensor).movedim(-1, 1)
        size = both[:, -1].flatten(1)[:, 0]
        return squared_h1(both[:, :-1] * self.std, self.grid).sqrt() / size


class Rates(Pace):
    """The clock of ours; Lightning sets the rate once an epoch by itself."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *given: Any) -> None:
        """Sets the rate for the next step."""
        super().on_train_batch_end(trainer, *given)
        for config in trainer.lr_scheduler_configs:
            config.scheduler.step()


def with_places(x: Tensor, periodic: bool) -> Tensor:
    """``(batch, channels, *grid)`` to ``(batch, *grid, channels + axes)``."""
    lines = []
    for points in x.shape[2:]:
        lines.append(torch.arange(points, device=x.device) / (points if periodic else points - 1))
    places = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    return torch.cat((x.movedim(1, -1), places.expand(len(x), *places.shape)), dim=-1)


def network(case: Case, job: dict[str, Any], in_channels: int, out_channels: int) -> FNO:
    """Of our modes, width and layers."""
    settings = model_of(case, job["model"]).arguments
    width = settings["width"]
    # Theirs are counted from one end of the spectrum, and the first ones from both.
    modes = [m // 2 for m in settings["modes"]]
    return FNO(
        nn.Linear(in_channels + case.dim, width),
        nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out_channels)),
        modes if case.dim > 1 else modes[0],
        dimensions=case.dim,
        padding=0 if case.positions == "periodic" else 8,
        inner_size=width,
        n_layers=4,
        func=nn.GELU,
    )


def main(job: dict[str, Any]) -> dict[str, Any]:
    """As ours."""
    torch.set_num_threads(1)
    case = case_of(job)
    held = samples(case, job["files"])
    torch.manual_seed(job["seed"])
    mean_x, std_x, mean_y, std_y = held.statistics
    wraps = case.positions == "periodic"
    x = with_places((held.x - mean_x) / std_x, wraps)
    model = network(case, job, held.x.shape[1], held.y.shape[1])
    clock = Clock(job["seconds"], job["steps"], job["device"])
    solver = SupervisedSingleModelSolver(
        SupervisedProblem(x, targets(held)),
        WithSize(model),
        TorchOptimizer(torch.optim.AdamW, lr=model_of(case, job["model"]).lr),
        TorchScheduler(LambdaLR, lr_lambda=clock.factor),
        loss=RelativeH1(held),
        use_lt=False,
    )
    with contextlib.redirect_stdout(sys.stderr):
        trainer = Trainer(
            solver,
            batch_size=case.batch,
            accelerator="gpu" if job["device"] == "cuda" else "cpu",
            devices=1,
            callbacks=[Rates(clock)],
            max_epochs=10**6,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.train()
    told: dict[str, Any] = {"parameters": count(model), **clock.told}
    if job["steps"] is not None:
        return told
    device = job["device"]
    model = model.to(device).eval()
    mean_x, std_x, mean_y, std_y = (t.to(device) for t in (mean_x, std_x, mean_y, std_y))

    def step(x: Tensor) -> Tensor:
        return model(with_places((x - mean_x) / std_x, wraps)).movedim(-1, 1) * std_y + mean_y

    return told | {"errors": errors(case, step, held, device)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
