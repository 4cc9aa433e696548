"""Every metric against its definition written out in NumPy, and against exact values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.training import Evaluator
from pdeflow.training.metrics import RelativeL2Error
from pdeflow.training.spectral_error import shell_energy

GRID = Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (10, 13))


def pair(samples: int = 5, channels: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(samples, channels, *GRID.shape, generator=generator, dtype=torch.float64)
    return target + 0.1 * torch.randn(target.shape, generator=generator, dtype=torch.float64), target


def evaluate(prediction: Tensor, target: Tensor, grid: Grid = GRID, batch: int = 2) -> dict[str, float]:
    evaluator = Evaluator()
    for p, t in zip(prediction.split(batch), target.split(batch)):
        evaluator.update(p, t, grid)
    return {name: float(value) for name, value in evaluator.compute().items()}


def test_against_definitions() -> None:
    p, t = (u.numpy() for u in pair())
    e = p - t
    got = evaluate(torch.from_numpy(p), torch.from_numpy(t))
    space = (2, 3)
    sample = (1, 2, 3)
    norm = lambda u: np.sqrt((u**2).sum(axis=sample))  # noqa: E731
    edge = np.ones(GRID.shape, bool)
    edge[1:-1, 1:-1] = False
    slopes = [[np.gradient(u, h, axis=a, edge_order=2) for a, h in zip(space, GRID.spacing)] for u in (e, t)]
    h1 = [np.sqrt(norm(u) ** 2 + sum(norm(d) ** 2 for d in ds)) for u, ds in zip((e, t), slopes)]
    expected = {
        "l2": (norm(e) / norm(t)).mean(),
        "h1": (h1[0] / h1[1]).mean(),
        "nrmse": (np.sqrt((e**2).mean(space)) / np.sqrt((t**2).mean(space))).mean(),
        "vrmse": np.sqrt((e**2).mean(space) / (t.var(axis=space) + 1e-7)).mean(),
        "crmse": np.sqrt((e.mean(space) ** 2).mean(0)).mean(),
        "brmse": np.sqrt((e[:, :, edge] ** 2).mean(2)).mean(),
        "max_error": np.abs(e).max(),
    }
    for name, value in expected.items():
        assert got[name] == pytest.approx(value, rel=1e-12), name
    assert set(got) == {*expected, "frmse_low", "frmse_mid", "frmse_high"}


def test_frmse_of_single_waves() -> None:
    """An error cos(2 pi k x) has energy 1/2, all of it in shell k."""
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (32, 32), (True, True))
    x = grid.mesh()["x"]
    t = torch.ones(1, 1, 32, 32, dtype=torch.float64)
    highest = math.floor(math.hypot(16, 16))
    rows = ((0, "low", 4), (3, "low", 4), (4, "mid", 8), (11, "mid", 8), (12, "high", highest - 11))
    for k, band, shells in rows:
        got = evaluate(t + torch.cos(2 * math.pi * k * x), t, grid)
        energy = 1.0 if k == 0 else 0.5
        for name in ("low", "mid", "high"):
            expected = math.sqrt(energy / shells) if name == band else 0.0
            assert got[f"frmse_{name}"] == pytest.approx(expected, abs=1e-12), (k, name)


def test_shells_hold_all_the_energy() -> None:
    u = torch.randn(3, 2, *GRID.shape, dtype=torch.float64)
    torch.testing.assert_close(shell_energy(u, GRID).sum(-1), u.square().flatten(2).mean(2))


def test_a_whole_wavenumber_is_in_its_own_shell() -> None:
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (16, 16), (True, True))
    mesh = grid.mesh()
    u = torch.cos(2 * math.pi * (3 * mesh["x"] + 4 * mesh["y"]))
    assert int(shell_energy(u, grid).argmax()) == 5


def test_spectra() -> None:
    p, t = pair(4, 1)
    evaluator = Evaluator(["frmse"])
    evaluator.update(p, t, GRID)
    spectra = evaluator.curves()
    assert spectra["spectrum_error"].shape == spectra["spectrum_truth"].shape == (8,)
    assert float(spectra["spectrum_error"].sum()) == pytest.approx(float((p - t).square().mean()))


def test_no_boundary_on_a_periodic_box() -> None:
    grid = Grid(("x",), (0.0,), (1.0,), (8,), (True,))
    got = evaluate(torch.zeros(2, 1, 8), torch.ones(2, 1, 8), grid)
    assert "brmse" not in got
    assert got["l2"] == pytest.approx(1.0)


def test_batches_do_not_matter() -> None:
    p, t = pair(7)
    whole, parts = evaluate(p, t, batch=7), evaluate(p, t, batch=2)
    assert parts == pytest.approx(whole, rel=1e-13)


def test_computed_in_float64() -> None:
    """A small error on a large mean survives, where float32 sums would lose it."""
    t = torch.full((1, 1, 10, 13), 1000.0)
    p = t.clone()
    p[..., 0, 0] += 0.125
    assert evaluate(p, t)["l2"] == pytest.approx(0.125 / (1000.0 * math.sqrt(130)), rel=1e-9)


def test_reset_forgets() -> None:
    metric = RelativeL2Error()
    metric.update(*pair(), GRID)
    metric.reset()
    _, t = pair(2)
    metric.update(t, t, GRID)
    assert float(metric.compute()) == 0.0
    assert float(metric.count) == 2


def test_unknown_metric() -> None:
    with pytest.raises(InvalidInput, match="Nearest: nrmse"):
        Evaluator(["nrms"])
