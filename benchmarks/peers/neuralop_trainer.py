"""neuraloperator's models, losses and Trainer: ``python -m benchmarks.peers.neuralop_trainer JOB.json``.

The job is that of ``benchmarks.operators_train``. The Trainer has no limit of time and sets the rate once an
epoch: its loader ends it, and sets the rate at each step, by the clock that ours goes by.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from neuralop import H1Loss, Trainer
from neuralop.data.transforms.data_processors import DefaultDataProcessor
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from neuralop.models import FNO, TFNO, UNO
from neuralop.training import AdamW
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset

from benchmarks.operators_cases import Case, case_of
from benchmarks.operators_clock import Clock
from benchmarks.operators_models import count, model_of
from benchmarks.peers.operator_data import Samples, errors, samples


class OutOfTime(Exception):
    """The training has had its seconds."""


class Pairs(Dataset[dict[str, Tensor]]):
    """As the Trainer reads them."""

    def __init__(self, held: Samples) -> None:
        self.held = held

    def __len__(self) -> int:
        return len(self.held.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.held.x[index], "y": self.held.y[index]}


class Timed:
    """A loader that ends the training."""

    def __init__(self, loader: DataLoader[Any], clock: Clock, schedule: LambdaLR) -> None:
        self.loader, self.clock, self.schedule = loader, clock, schedule
        self.dataset = loader.dataset

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.loader:
            if self.clock.begin is not None:
                self.clock.tick()  # the step before is over
                if self.clock.over:
                    raise OutOfTime
                self.schedule.step()
            self.clock.start()
            yield batch


def network(case: Case, job: dict[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """The library's model of this name, with our settings."""
    model = model_of(case, job["model"])
    modes, width = tuple(model.arguments["modes"]), model.arguments["width"]
    if model.name == "UNO":
        depth = 2
        down = [0, *range(depth + 1)]
        grids = [*down, *reversed(down)]
        layers = list(pairwise(grids))
        return UNO(
            in_channels,
            out_channels,
            hidden_channels=width,
            lifting_channels=2 * width,
            projection_channels=2 * width,
            n_layers=len(layers),
            uno_out_channels=[width << given for _, given in layers],
            uno_n_modes=[[m >> max(layer) for m in modes] for layer in layers],
            uno_scalings=[[2.0 ** (read - given)] * case.dim for read, given in layers],
            channel_mlp_skip="linear",
        )
    if model.name == "TFNO":
        rank = model.arguments["rank"]
        return TFNO(modes, in_channels, out_channels, width, n_layers=4, rank=rank, factorization="Tucker")
    return FNO(modes, in_channels, out_channels, width, n_layers=4)


def main(job: dict[str, Any]) -> dict[str, Any]:
    """As ours."""
    torch.set_num_threads(1)
    case = case_of(job)
    held = samples(case, job["files"])
    torch.manual_seed(job["seed"])
    model = network(case, job, held.x.shape[1], held.y.shape[1])
    mean_x, std_x, mean_y, std_y = held.statistics
    processor = DefaultDataProcessor(
        UnitGaussianNormalizer(mean_x, std_x), UnitGaussianNormalizer(mean_y, std_y)
    )
    clock = Clock(job["seconds"], job["steps"], job["device"])
    optimizer = AdamW(model.parameters(), lr=model_of(case, job["model"]).lr, weight_decay=1e-2)
    schedule = LambdaLR(optimizer, clock.factor)
    loader = Timed(DataLoader(Pairs(held), batch_size=case.batch, shuffle=True), clock, schedule)
    trainer = Trainer(model=model, n_epochs=10**6, device=job["device"], data_processor=processor)
    trainer.eval_interval = 10**6 + 1
    wraps = case.positions == "periodic"
    loss = H1Loss(d=case.dim, periodic_in_x=wraps, periodic_in_y=wraps)
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(OutOfTime), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.train(loader, {}, optimizer, schedule, training_loss=loss)
    told: dict[str, Any] = {"parameters": count(model), **clock.told}
    if job["steps"] is not None:
        return told
    model.eval()
    device = job["device"]
    mean_x, std_x, mean_y, std_y = (t.to(device) for t in (mean_x, std_x, mean_y, std_y))

    def step(x: Tensor) -> Tensor:
        return model((x - mean_x) / std_x) * std_y + mean_y

    return told | {"errors": errors(case, step, held, device)}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
