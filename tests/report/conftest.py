from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from pdeflow.data import WellWriter
from pdeflow.grid import Grid


def smooth_field(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A random field with decaying spectrum that vanishes on the boundary."""
    field = np.zeros(shape)
    axes = np.meshgrid(*[np.linspace(0, 1, n) for n in shape], indexing="ij")
    for _ in range(12):
        waves = generator.integers(1, 5, size=len(shape))
        bump = np.ones(shape)
        for axis, wave in zip(axes, waves):
            bump = bump * np.sin(np.pi * wave * axis)
        field += generator.normal() / float((waves**2).sum()) * bump
    return field


def recorded(shape: tuple[int, ...], n: int = 50, channels: tuple[int, int] = (1, 1), level: float = 0.05):
    """Arrays of one test/<resolution>.npz, consistent with each other, and their metrics."""
    generator = np.random.default_rng(5)
    target = np.stack([[smooth_field(shape, generator) for _ in range(channels[1])] for _ in range(n)])
    noise = np.stack([[smooth_field(shape, generator) for _ in range(channels[1])] for _ in range(n)])
    flat = (n, -1)
    scale = np.linalg.norm(target.reshape(flat), axis=1) / np.linalg.norm(noise.reshape(flat), axis=1)
    errors = level * np.exp(0.5 * generator.normal(size=n))
    prediction = target + noise * (scale * errors).reshape((n,) + (1,) * (target.ndim - 1))
    order = np.argsort(errors)
    keep = [order[0], order[n // 2], order[-1]]
    inputs = np.stack([[np.where(smooth_field(shape, generator) > 0, 12.0, 3.0)] * channels[0] for _ in keep])
    k = np.arange(min(shape) // 2)
    truth_energy = 1.0 / (1.0 + k**4)
    arrays = {
        "l2": errors,
        "index": 900 + np.arange(n),
        "input": inputs.astype(np.float32),
        "target": target[keep].astype(np.float32),
        "prediction": prediction[keep].astype(np.float32),
        "rank": np.array(["best", "median", "worst"]),
        "spectrum_truth": truth_energy,
        "spectrum_error": truth_energy * np.clip(1e-3 * (1 + k) ** 1.7, 0, 1.3),
    }
    metrics = {
        "l2": float(errors.mean()),
        "h1": 2.31 * float(errors.mean()),
        "nrmse": 0.91 * float(errors.mean()),
        "vrmse": 1.2 * float(errors.mean()),
        "max_error": 0.0123456,
    }
    return arrays, metrics


def _write_data(path: Path, name: str, attributes: dict[str, str]) -> None:
    """A small data file with these facts."""
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (4, 4))
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    with WellWriter(
        path, name=name, grid=grid, n=2, fields={"u": 0}, times=(0.0, 1.0), attributes=attributes
    ) as writer:
        writer.write(0, {"u": np.zeros((2, 2, 4, 4))})


@pytest.fixture
def write_data() -> Callable[[Path, str, dict[str, str]], None]:
    """Replaces a data file by one with another name and other attributes."""
    return _write_data


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run folder as `pdeflow fit` and `pdeflow test` leave it."""

    def make(
        shapes: tuple[tuple[int, ...], ...] = ((16, 16), (32, 32)),
        name: str = "darcy_fno",
        channels: tuple[int, int] = (1, 1),
        epochs: int = 20,
    ) -> Path:
        run = tmp_path / name
        (run / "test").mkdir(parents=True)
        config = {
            "seed_everything": 7,
            "model": {"class_path": "pdeflow.operators.FNO", "init_args": {"modes": [16, 16], "width": 32}},
            "objective": {"class_path": "Supervised", "init_args": {"loss": "H1"}},
            "data": {
                "class_path": "GridData",
                "init_args": {
                    "path": str(tmp_path / "data" / "darcy.h5"),
                    "inputs": ["a"], "targets": ["u"], "batch_size": 16, "seed": 3,
                },
            },
            "optimizer": {"class_path": "AdamW", "init_args": {"lr": 2.0e-3}},
            "trainer": {"max_epochs": epochs},
        }  # fmt: skip
        (run / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        history = [
            {
                "epoch": epoch,
                "step": 25 * (epoch + 1),
                "seconds": 2.5 * (epoch + 1),
                "train/loss": 0.5 * 0.85**epoch + 0.02,
                "valid/loss": 0.6 * 0.86**epoch + 0.05 + 0.001 * max(epoch - 14, 0),
                "valid/l2": 0.4 * 0.83**epoch + 0.04 + 0.003 * max(epoch - 14, 0),
                "lr": 1e-3 * (1 + np.cos(np.pi * epoch / max(epochs, 1))),
            }
            for epoch in range(epochs)
        ]
        (run / "history.json").write_text(json.dumps(history))
        table = {}
        for shape in shapes:
            resolution = "x".join(map(str, shape))
            arrays, table[resolution] = recorded(shape, channels=channels, level=0.05 + 0.02 * len(table))
            np.savez_compressed(run / "test" / f"{resolution}.npz", **arrays)
        (run / "test" / "metrics.json").write_text(json.dumps(table))
        (run / "surrogate").mkdir()
        save_file(
            {"w": np.zeros((32, 7), np.float32), "b": np.zeros(5, np.complex64)},
            run / "surrogate" / "model.safetensors",
        )
        (run / "surrogate" / "surrogate.json").write_text(
            json.dumps({"operator": "FNO", "versions": {"torch": "2.99.0", "pdeflow": "0.1.0"}})
        )
        _write_data(
            tmp_path / "data" / "darcy.h5", "darcy_flow", {"equation": r"-\nabla \cdot (a \nabla u) = 1"}
        )
        return run

    return make
