"""Windows of trajectories: what a step reads, and what follows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pdeflow.data import TrajectoryData, WellReader, WellWriter
from pdeflow.data.trajectory_samples import TrajectorySamples
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


def write(path: Path, samples: int = 6, instants: int = 7, points: int = 8, times=None) -> Path:
    """A wave w and a vector v, whose values tell sample, instant and node; a constant a and a scalar k."""
    n, t, x = np.arange(samples)[:, None, None], np.arange(instants)[:, None], np.arange(points)
    w = 100.0 * n + 10.0 * t + x
    with WellWriter(
        path,
        name="waves",
        grid=Grid(("x",), (0.0,), (1.0,), (points,), (True,)),
        n=samples,
        fields={"w": 0, "v": 1},
        constant_fields={"a": 0},
        scalars=["k"],
        times=0.5 * np.arange(instants) if times is None else times,
    ) as writer:
        a = np.broadcast_to(-x, (samples, points)).astype(float)
        writer.write(0, {"w": w, "v": -w[..., None], "a": a, "k": np.arange(samples) + 0.5})
    return path


def samples(path: Path, **options) -> TrajectorySamples:
    return TrajectorySamples([WellReader(path)], np.array([4, 1]), ["w", "v"], ["a", "k"], **options)


@pytest.mark.parametrize("keep", [True, False])
def test_a_window_is_the_states_before_and_those_after(tmp_path: Path, keep: bool) -> None:
    part = samples(write(tmp_path / "w.h5"), points=4, history=2, horizon=3, stride=1)
    if keep:
        part = part.load()
        assert part.in_memory
    assert part.input_names == ("w[-1]", "v_x[-1]", "w", "v_x", "a", "k")
    assert part.target_names == ("w", "v_x")
    assert len(part) == 2 * 3
    batch = part[torch.tensor([4, 2])]  # the second window of sample 1, the third of sample 4
    assert batch["index"].tolist() == [1, 4]
    assert (batch["state"], batch["time_step"]) == (4, 0.5)
    nodes = torch.arange(0, 8, 2).float()
    for row, (sample, start) in enumerate(((1, 1), (4, 2))):
        w = [100.0 * sample + 10.0 * (start + k) + nodes for k in range(5)]
        expected = torch.stack([w[0], -w[0], w[1], -w[1], -nodes, torch.full((4,), sample + 0.5)])
        torch.testing.assert_close(batch["input"][row], expected)
        torch.testing.assert_close(batch["target"][row], torch.stack([torch.stack([u, -u]) for u in w[2:]]))


def test_without_a_horizon_there_is_one_window_up_to_the_end(tmp_path: Path) -> None:
    part = samples(write(tmp_path / "w.h5"), history=1, stride=2)
    assert (len(part), part.instants, part.time_step) == (2, 4, 1.0)
    batch = part[torch.tensor([1])]
    assert batch["target"].shape == (1, 3, 2, 8)
    assert batch["target"][0, :, 0, 0].tolist() == [120.0, 140.0, 160.0]


def test_states_have_one_mean_and_deviation_wherever_they_stand(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5")
    data = TrajectoryData(str(path), ["w"], ["k"], history=2, horizon=2, batch_size=2, split=(1.0, 0.0, 0.0))
    found = data.normalisation
    w = WellReader(path).read("w", slice(None))
    assert found.input_names == ("w[-1]", "w", "k")
    assert (data.in_channels, data.out_channels, data.dim) == (3, 1, 1)
    for mean, std in (
        (found.input_mean[0], found.input_std[0]),
        (found.input_mean[1], found.input_std[1]),
        (found.target_mean[0], found.target_std[0]),
    ):
        assert (mean, std) == pytest.approx((w.mean(), w.std()))
    batches = list(data.train_dataloader())
    assert len(batches) == 6 * (7 - 3) / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": ["a"]}, "data.fields.*depends on time"),
        ({"fields": ["w"], "constants": ["v"]}, "data.constants.*does not depend on time"),
        ({"fields": ["w"], "horizon": 7}, "data.horizon.*7 instants"),
        ({"fields": ["w"], "history": 0}, "data.history: got 0"),
        ({"fields": ["w"], "stride": 4, "horizon": 2}, "data.horizon.*2 instants"),
        ({"fields": []}, "data.fields: got"),
        ({"fields": ["nothing"]}, "data.fields: got 'nothing'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, options: dict, message: str) -> None:
    path = write(tmp_path / "w.h5")
    with pytest.raises(InvalidInput, match=message):
        TrajectoryData(str(path), **options, batch_size=1, split=(1.0, 0.0, 0.0)).setup("fit")


def test_steps_of_different_lengths_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "w.h5", times=np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 7.0]))
    with pytest.raises(InvalidInput, match=r"data.stride.*1 to 2"):
        samples(path)


def test_times_in_single_precision_are_equidistant_all_the_same(tmp_path: Path) -> None:
    times = (np.arange(201, dtype="f4") * np.float32(0.01)).astype(float)
    part = samples(write(tmp_path / "w.h5", instants=201, times=times))
    assert part.time_step == pytest.approx(0.01, rel=1e-4)


def test_a_test_file_has_the_step_of_training(tmp_path: Path) -> None:
    train, other = write(tmp_path / "a.h5"), write(tmp_path / "b.h5", times=np.arange(7.0))
    data = TrajectoryData(str(train), ["w"], batch_size=2, test_paths=[str(other)], split=(1.0, 0.0, 0.0))
    with pytest.raises(InvalidInput, match=r"b.h5.*states 1 apart.*training, 0.5"):
        data.setup("fit")
