"""Spectral-Refiner: from any spectral operator to the stepper's own trajectory, with every weight kept."""

from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.operators import CODANO, FNO, GINO, TFNO, UNO, LocalNO, MgNO, Operator
from pdeflow.problems import NavierStokes
from pdeflow.training import Rollout, StepperResidual, TrainingTask
from pdeflow.training.callbacks import SpectralRefiner
from pdeflow.training.callbacks import spectral_refiner as callback
from pdeflow.training.rollout_error import held
from pdeflow.training.spectral_refiner import Refinement, RefinementFailed, refine

SQUARE = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (16, 16), (True, True))
FLOW = NavierStokes()
STATISTICS = Normalisation(("w",), ("w",), (0.0,), (0.5,), (0.0,), (0.5,))


@functools.cache
def flows(samples: int = 6, steps: int = 4) -> Tensor:
    """Vorticities in steps of 0.5, (samples, steps + 1, 1, 16, 16), smooth at first."""
    generator = torch.Generator().manual_seed(3)
    modes = torch.randn(samples, 2, 2, 2, generator=generator, dtype=torch.float64)
    x, y = (2 * torch.pi * v for v in SQUARE.mesh().values())
    waves = torch.stack([f(x) * g(y) for f in (torch.cos, torch.sin) for g in (torch.cos, torch.sin)])
    start = 0.5 * torch.einsum("sk,kxy->sxy", modes[:, 0].flatten(1), waves)
    start = start + 0.3 * torch.einsum("sk,kxy->sxy", modes[:, 1].flatten(1), waves.square())
    start = start - start.mean((1, 2), keepdim=True)
    return FLOW.evolve(SQUARE, {"w0": start}, 0.5 * steps, steps + 1, rtol=1e-7).u[:, :, None].float()


def trajectory(samples: int = 1) -> dict[str, Any]:
    """The first ones, as a batch."""
    w = flows()[:samples].clone()
    return {
        "input": w[:, 0],
        "target": w[:, 1:],
        "index": torch.arange(samples),
        "state": 1,
        "time_step": 0.5,
        "names": ("w",),
        "grid": SQUARE,
    }


def task_of(model: Operator) -> TrainingTask:
    """Trained a little on the steps of the other trajectories."""
    task = TrainingTask(model, Rollout(), normalisation=STATISTICS)
    before, after = flows()[2:, :-1].flatten(0, 1).clone(), flows()[2:, 1:].flatten(0, 1).clone()
    optimiser = torch.optim.Adam(task.parameters(), 1e-2)
    for _ in range(25):
        optimiser.zero_grad()
        (task(before) - after).square().mean().backward()
        optimiser.step()
    optimiser.zero_grad()
    return task.eval()


def fno(**settings: Any) -> FNO:
    torch.manual_seed(0)
    return FNO(modes=[7, 7], width=8, layers=2, positions="periodic", **settings)


def error(states: Tensor, batch: dict[str, Any]) -> float:
    return float((states - batch["target"]).norm() / batch["target"].norm())


MODELS = {
    "FNO": fno,
    "TFNO": lambda: TFNO(modes=[7, 7], width=8, layers=2, positions="periodic", rank=0.5),
    "LocalNO": lambda: LocalNO(modes=[8, 8], mesh=[16, 16], width=8, layers=2, positions="periodic"),
    "UNO": lambda: UNO(modes=[8, 8], width=8, depth=1, positions="periodic"),
    "CODANO": lambda: CODANO(modes=[8, 8], width=8, layers=1, positions="periodic"),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_spectral_operator_comes_to_the_solution(name: str) -> None:
    # Of seeds 0 to 2 only with the last does what follows the layer in UNO let every correction through.
    torch.manual_seed({"UNO": 2}.get(name, 0))
    task, batch = task_of(MODELS[name]()), trajectory()
    weights = {key: value.clone() for key, value in task.state_dict().items()}
    before = task.predict(batch).detach()
    found = refine(task, batch, StepperResidual(FLOW, steps=4, order=0.0), sweeps=5, iterations=12)
    assert error(before, batch) > 0.1
    # The one channel of the layer in CODANO never does.
    most = {"CODANO": 0.7}.get(name, 2e-2)
    assert error(found.states, batch) < most * error(before, batch)
    assert found.residuals[-1] < most * found.residuals[0]
    # Nothing is left behind.
    for key, value in task.state_dict().items():
        torch.testing.assert_close(value, weights[key], rtol=0, atol=0)
    torch.testing.assert_close(task.predict(batch), before)
    assert all(p.grad is None and p.requires_grad for p in task.parameters())


def test_the_modes_that_the_layer_cuts_off_are_corrected_too() -> None:
    batch = trajectory()
    found = refine(task_of(fno()), batch, StepperResidual(FLOW, order=0.0), sweeps=5, tolerance=0.0)
    high = torch.fft.rfft(found.states - batch["target"])[..., 4:].norm()
    assert float(high / torch.fft.rfft(batch["target"])[..., 4:].norm()) < 0.05


def test_the_states_of_the_smallest_residual_are_returned() -> None:
    """An operator that has learned nothing: in H^-1 the first sweeps make things worse."""
    torch.manual_seed(0)
    task = TrainingTask(fno(), Rollout(), normalisation=STATISTICS).eval()
    batch, residual = trajectory(), StepperResidual(FLOW, steps=2)
    found = refine(task, batch, residual, sweeps=3, iterations=20)
    assert max(found.residuals[1:]) > min(found.residuals)
    with torch.no_grad():
        again = float(residual(found.states, batch))
    assert again == pytest.approx(min(found.residuals), rel=1e-3)


def test_sweeps_end_at_the_tolerance_and_the_target_is_not_looked_at() -> None:
    batch = trajectory()
    batch["target"] = torch.full_like(batch["target"], torch.nan)
    residual = StepperResidual(FLOW, order=-1.0)
    found = refine(task_of(fno()), batch, residual, sweeps=12, tolerance=0.05)
    assert found.residuals[-1] <= 0.05 < found.residuals[-2]
    assert torch.isfinite(found.states).all()
    assert len(refine(task_of(fno()), batch, residual, sweeps=2, tolerance=0.0).residuals) == 3


def test_history_and_constants_are_read_as_in_the_march() -> None:
    """Without a sweep to speak of, the states are those of the march itself."""
    batch = trajectory()
    states = torch.cat([batch["input"][:, None], batch["target"]], dim=1)
    constant = torch.rand(1, 1, 16, 16)
    batch |= {
        "input": torch.cat([states[:, 0], states[:, 1], constant], dim=1),
        "target": states[:, 2:],
        "state": 2,
        "names": ("w[-1]", "w", "c"),
    }
    model = fno(in_channels=3)
    task = TrainingTask(model, Rollout()).eval()
    found = refine(task, batch, StepperResidual(FLOW), tolerance=1e9)
    torch.testing.assert_close(found.states, task.predict(batch).detach(), rtol=1e-4, atol=1e-5)
    assert len(found.residuals) == 1


def test_what_is_refused() -> None:
    residual = StepperResidual(FLOW)
    layerless = task_of(MgNO(mesh=[16, 16], width=4, layers=1, levels=2))
    with pytest.raises(InvalidInput, match="FNO, TFNO, UNO, LocalNO or CODANO"):
        SpectralRefiner(FLOW).on_fit_start(None, layerless)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="FNO, TFNO, UNO, LocalNO or CODANO"):
        refine(layerless, trajectory(), residual)
    box = {"grid": [9, 9], "modes": [4, 4], "lower": [0.0, 0.0], "upper": [1.0, 1.0]}
    latent = TrainingTask(GINO(**box, in_radius=0.2, out_radius=0.2, width=4, kernel_width=4, layers=1))
    with pytest.raises(InvalidInput, match="on grids with spectral layers"):
        SpectralRefiner(FLOW).on_fit_start(None, latent)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidInput, match="one trajectory"):
        refine(task_of(fno()), trajectory(2), residual)
    for name, value in (("sweeps", 0), ("iterations", 0), ("tolerance", -1.0)):
        with pytest.raises(InvalidInput, match=rf"SpectralRefiner\.{name}"):
            SpectralRefiner(FLOW, **{name: value})
    with pytest.raises(InvalidInput, match=r"SpectralRefiner\.trajectories"):
        SpectralRefiner(FLOW, trajectories=0)


def test_a_failure_has_the_best_states_until_then(monkeypatch: pytest.MonkeyPatch) -> None:
    residual = StepperResidual(FLOW, steps=1)
    task, wild = task_of(fno()), trajectory()
    wild["input"] = 1e25 * wild["input"]
    with pytest.raises(RefinementFailed, match="left all bounds in sweep 1") as caught:
        refine(task, wild, residual)
    torch.testing.assert_close(caught.value.best.states, held(task.predict(wild).detach()))
    assert caught.value.best.residuals == []
    fail_from(residual, monkeypatch, 3)
    with pytest.raises(RefinementFailed, match="left all bounds in sweep 3") as caught:
        refine(task, trajectory(), residual)
    monkeypatch.undo()
    best, residuals = caught.value.best.states, caught.value.best.residuals
    assert len(residuals) == 2
    with torch.no_grad():
        assert float(residual(best, trajectory())) == pytest.approx(min(residuals), rel=1e-3)


def fail_from(residual: StepperResidual, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    """From this call on the stepper gives NaN."""
    flow, calls = residual.flow, itertools.count(1)

    def failing(states: Tensor, batch: dict[str, Any]) -> Tensor:
        return flow(states, batch) * (torch.nan if next(calls) >= call else 1.0)

    monkeypatch.setattr(residual, "flow", failing)


class OneBatch(lightning.LightningDataModule):
    def test_dataloader(self) -> DataLoader[Any]:
        tensors = {name: value for name, value in trajectory(3).items() if name != "grid"}
        return DataLoader([tensors], batch_size=None)  # pyright: ignore[reportArgumentType]

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        return batch | {"grid": SQUARE}


def rows_of(refiner: SpectralRefiner) -> list[dict[str, Any]]:
    """The rows of the file that a test writes."""
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[refiner],
    )
    trainer.test(task_of(fno()), datamodule=OneBatch(), verbose=False)
    assert refiner.folder is not None
    return json.loads(Path(refiner.folder, "refined.json").read_text())


def test_the_callback_refines_in_a_test_and_writes_what_that_gained(tmp_path: Path) -> None:
    rows = rows_of(SpectralRefiner(FLOW, trajectories=2, order=0.0, sweeps=5, folder=tmp_path))
    assert [row["index"] for row in rows] == [0, 1]
    for row in rows:
        assert row["factor"] == pytest.approx(row["l2"] / row["l2_refined"])
        assert row["factor"] > 10
        assert row["seconds"] > 0
        assert row["residuals"][-1] < row["residuals"][0]
        assert "failure" not in row


@pytest.mark.parametrize(("call", "factor"), [(1, 1.0), (3, None)])
def test_a_failed_refinement_is_a_row_and_the_others_are_refined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, factor: float | None
) -> None:
    refiner = SpectralRefiner(FLOW, trajectories=2, order=0.0, sweeps=5, folder=tmp_path)
    real, calls = callback.refine, itertools.count()

    def first_fails(task: TrainingTask, batch: Any, residual: StepperResidual, **limits: Any) -> Refinement:
        with monkeypatch.context() as patch:
            if next(calls) == 0:
                fail_from(residual, patch, call)
            return real(task, batch, residual, **limits)

    monkeypatch.setattr(callback, "refine", first_fails)
    with pytest.warns(UserWarning, match="trajectory 0 is not refined to the end: the stepper of"):
        failed, other = rows_of(refiner)
    assert f"left all bounds in sweep {call}" in failed["failure"]
    assert failed["factor"] == pytest.approx(factor) if factor else 1 < failed["factor"] < other["factor"]
    assert len(failed["residuals"]) == call - 1
    assert other["factor"] > 10
    assert "failure" not in other


def test_a_training_removes_what_an_earlier_test_has_refined(tmp_path: Path) -> None:
    path = tmp_path / "refined.json"
    refiner = SpectralRefiner(FLOW, folder=tmp_path)
    for dry in (True, False):
        path.write_text("[]")
        trainer = lightning.Trainer(accelerator="cpu", logger=False, fast_dev_run=dry)
        refiner.on_fit_start(trainer, task_of(fno()))
        assert path.exists() == dry
