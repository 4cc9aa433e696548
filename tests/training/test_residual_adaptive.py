"""Points that are chosen anew while a field is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import LShapedPoisson, Problem, SinePoisson
from pdeflow.training import (
    R3,
    RAD,
    Collocation,
    PhysicsInformed,
    Redraw,
    Resampling,
    SafeCheckpointIO,
    TrainingTask,
)
from pdeflow.training.physics_informed import INSIDE


def draw(n: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(5).random((n, 2)))


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def large_on_the_right(points: Tensor) -> Tensor:
    """9 where x > 1/2, else 1."""
    return 1.0 + 8.0 * (points[:, 0] > 0.5)


def test_rad_draws_in_proportion_to_residuals() -> None:
    """With k = 1, c = 0 nine of ten points are on the right; with c = 1, (9/5 + 1) / (10/5 + 2) of them."""
    points = draw(2000)
    for floor, share in ((0.0, 0.9), (1.0, 0.7)):
        chosen = RAD(floor=floor, candidates=50).choose(points, draw, large_on_the_right, rng())
        assert chosen.shape == points.shape
        assert len(torch.unique(chosen, dim=0)) == len(chosen)
        assert float((chosen[:, 0] > 0.5).double().mean()) == pytest.approx(share, abs=0.03)
    strong = RAD(floor=0.0, power=2.0, candidates=100).choose(points, draw, large_on_the_right, rng())
    assert float((strong[:, 0] > 0.5).double().mean()) == pytest.approx(81 / 82, abs=0.02)


def test_rad_is_even_where_the_equation_holds_and_stays_where_the_model_is_lost() -> None:
    points = draw(500)
    even = RAD().choose(points, draw, lambda x: torch.zeros(len(x), dtype=x.dtype), rng())
    assert float((even[:, 0] > 0.5).double().mean()) == pytest.approx(0.5, abs=0.08)
    lost = RAD().choose(points, draw, lambda x: torch.full((len(x),), torch.nan, dtype=x.dtype), rng())
    assert lost is points


def test_r3_keeps_what_is_above_the_mean_and_draws_the_rest() -> None:
    points = draw(400)
    chosen = R3().choose(points, lambda n: draw(n) + 10, large_on_the_right, rng())
    kept = points[points[:, 0] > 0.5]
    assert chosen.shape == points.shape
    torch.testing.assert_close(chosen[: len(kept)], kept)
    assert (chosen[len(kept) :] > 9).all()


@pytest.mark.parametrize("make", [Redraw, RAD, R3])
def test_the_choice_is_a_function_of_its_arguments(make: Callable[[], Resampling]) -> None:
    one, two = (make().choose(draw(50), draw, large_on_the_right, rng()) for _ in range(2))
    torch.testing.assert_close(one, two)


class Seen(lightning.Callback):
    """The points inside, and on a side, that each step has seen."""

    def __init__(self) -> None:
        self.inside: list[Tensor] = []
        self.sides: list[Tensor] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.inside.append(batch["points"][INSIDE].clone())
        self.sides.append(next(v for k, v in batch["points"].items() if k != INSIDE).clone())


def run(
    resample: Resampling | None,
    epochs: int,
    problem: Problem | None = None,
    resumed: Path | None = None,
    saved: Path | None = None,
    callbacks: Sequence[lightning.Callback] = (),
) -> Seen:
    torch.manual_seed(0)
    problem = problem or SinePoisson()
    model = MLP(problem.domain.lower, problem.domain.upper, widths=(8,))
    task = TrainingTask(model, PhysicsInformed(problem), optimizer=lambda p: torch.optim.Adam(p, lr=1e-2))
    seen = Seen()
    trainer = lightning.Trainer(
        max_epochs=epochs, precision="64-true", accelerator="cpu", logger=False, callbacks=[seen, *callbacks],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[SafeCheckpointIO()],
    )  # fmt: skip
    data = Collocation(
        problem, inside=60, on_sides=4, steps=4, held_back=8, test_resolutions=(5,), resample=resample
    )
    trainer.fit(task, datamodule=data, ckpt_path=resumed)
    if saved is not None:
        trainer.save_checkpoint(saved)
    return seen


def changes(parts: list[Tensor]) -> list[int]:
    """The steps at which they were new."""
    return [
        k
        for k in range(1, len(parts))
        if parts[k].shape != parts[k - 1].shape or not torch.equal(parts[k], parts[k - 1])
    ]


@pytest.mark.parametrize("resample", [None, Redraw(3), RAD(3), R3(3)], ids=["never", "redraw", "rad", "r3"])
def test_points_change_every_so_many_steps(resample: Resampling | None) -> None:
    seen = run(resample, epochs=2)
    assert changes(seen.inside) == ([] if resample is None else [3, 6])
    assert changes(seen.sides) == ([] if resample is None else [3, 6])
    assert {len(points) for points in seen.inside} == {60}


def test_chosen_points_lie_in_the_domain() -> None:
    problem = LShapedPoisson()
    for resample in (RAD(2), R3(2)):
        seen = run(resample, 1, problem)
        assert changes(seen.inside) == [2]
        for points in seen.inside:
            assert problem.domain.contains(points.numpy()).all()


@pytest.mark.parametrize("resample", [Redraw(3), RAD(3), R3(3)], ids=["redraw", "rad", "r3"])
def test_a_run_that_goes_on_sees_the_points_it_would_have_seen(resample: Resampling, tmp_path: Path) -> None:
    whole = run(resample, epochs=4)
    run(resample, epochs=2, saved=tmp_path / "half.ckpt")
    rest = run(resample, epochs=4, resumed=tmp_path / "half.ckpt")
    assert len(rest.inside) == 8
    for mine, expected in zip(rest.inside + rest.sides, whole.inside[8:] + whole.sides[8:]):
        torch.testing.assert_close(mine, expected, rtol=0, atol=0)


class Saves(lightning.Callback):
    """Writes a checkpoint after so many steps."""

    def __init__(self, steps: int, path: Path) -> None:
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *given: Any) -> None:
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)


@pytest.mark.parametrize("resample", [Redraw(3), RAD(3), R3(3)], ids=["redraw", "rad", "r3"])
def test_a_run_that_goes_on_in_mid_epoch_sees_those_points_too(resample: Resampling, tmp_path: Path) -> None:
    """After step 7 of 16, in epochs of 4: the draw of step 6 is still in use."""
    whole = run(resample, epochs=4, callbacks=[Saves(7, tmp_path / "mid.ckpt")])
    rest = run(resample, epochs=4, resumed=tmp_path / "mid.ckpt")
    assert len(rest.inside) == 9
    for mine, expected in zip(rest.inside + rest.sides, whole.inside[7:] + whole.sides[7:]):
        torch.testing.assert_close(mine, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Redraw(0), "data.resample.every: got 0"),
        (lambda: RAD(power=0.0), "data.resample.power"),
        (lambda: RAD(floor=-1.0), "data.resample.floor"),
        (lambda: RAD(candidates=1), "data.resample.candidates"),
        (lambda: Collocation(SinePoisson(), test_resolutions=[]), "data.test_resolutions"),
        (lambda: Collocation(SinePoisson(), sampler="grid", resample=R3()), "data.sampler: got 'grid'"),
    ],
)
def test_what_is_wrong_is_named(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()
