"""A small data module that speaks GridData's batch dict, and a small run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.data import DataLoader

from pdeflow.data.normalisation import Normalisation
from pdeflow.grid import Grid
from pdeflow.operators import FNO
from pdeflow.training import Checkpoints, History, NonFiniteLoss, RandomState, SafeCheckpointIO, TrainingTask

STATISTICS = Normalisation(("a",), ("u",), (0.5,), (2.0,), (-1.0,), (3.0,))


def toy_grid(points: int = 8) -> Grid:
    return Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (points, points))


class ToySet(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """Random inputs, their running sums as targets."""

    def __init__(self, samples: int, points: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(samples, 1, points, points, generator=generator)
        self.targets = 1.0 + self.inputs.cumsum(-1) / points

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        return self.inputs[index], self.targets[index], index


def collate(samples: list[tuple[torch.Tensor, torch.Tensor, int]]) -> dict[str, Any]:
    inputs, targets, indices = zip(*samples)
    stacked = torch.stack(inputs)
    return {
        "input": stacked,
        "target": torch.stack(targets),
        "index": torch.tensor(indices),
    }


class ToyData(lightning.LightningDataModule):
    normalisation = STATISTICS

    def __init__(
        self, samples: int = 24, batch_size: int = 4, test_points: tuple[int, ...] = (8, 12)
    ) -> None:
        super().__init__()
        self.samples, self.batch_size, self.test_points = samples, batch_size, test_points

    @property
    def test_names(self) -> list[str]:
        return [f"{n}x{n}" for n in self.test_points]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        return {**batch, "grid": toy_grid(batch["input"].shape[-1])}

    def _loader(self, samples: int, points: int, seed: int, shuffle: bool = False) -> DataLoader[Any]:
        return DataLoader(
            ToySet(samples, points, seed), batch_size=self.batch_size, shuffle=shuffle, collate_fn=collate
        )

    def train_dataloader(self) -> DataLoader[Any]:
        return self._loader(self.samples, 8, seed=1, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return self._loader(6, 8, seed=2)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [self._loader(7, n, seed=3) for n in self.test_points]

    def predict_dataloader(self) -> DataLoader[Any]:
        return self._loader(3, 8, seed=4)


def toy_task(
    lr: float = 1e-2,
    schedule: Any = None,
    optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] | None = None,
    **options: Any,
) -> TrainingTask:
    torch.manual_seed(0)
    model = FNO(modes=[4, 4], width=4, layers=2)
    make = optimizer if optimizer is not None else lambda p: torch.optim.AdamW(p, lr=lr)
    return TrainingTask(model, optimizer=make, lr_scheduler=schedule, **options)


def toy_trainer(folder: Path, epochs: int = 3, callbacks: Iterable[Any] | None = None, **options: Any) -> Any:
    if callbacks is None:
        callbacks = [RandomState(), NonFiniteLoss(), History(), Checkpoints()]
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "plugins": [SafeCheckpointIO()],
    }
    return lightning.Trainer(
        max_epochs=epochs, default_root_dir=folder, callbacks=list(callbacks), **(settings | options)
    )
