"""Graph operators in the one training loop: batches, random nodes, losses, metrics, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import toy_trainer

from pdeflow.data import MeshData
from pdeflow.errors import InvalidInput, NumericalFailure
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators import GNO
from pdeflow.training import H1, Evaluator, RelativeL2, Supervised, TrainingTask
from pdeflow.training.callbacks import TestResults

SIZES = [6, 8, 7, 9, 6, 8, 7, 9, 10, 6]


@pytest.fixture
def file(write_squares: Callable[..., Path], tmp_path: Path) -> Path:
    return write_squares(tmp_path / "squares.h5", SIZES)


def data(file: Path, **changes: Any) -> MeshData:
    settings: dict[str, Any] = {"batch_size": 3, "split": (0.6, 0.2, 0.2)}
    return MeshData(str(file), ["a", "boundary"], ["u"], **(settings | changes))


def task(**options: Any) -> TrainingTask:
    torch.manual_seed(0)
    model = GNO(0.35, width=8, kernel_width=8, layers=3, in_channels=4)
    return TrainingTask(model, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2), **options)


def test_batches_hold_meshes_of_different_sizes(file: Path) -> None:
    module = data(file)
    module.setup("fit")
    assert (module.in_channels, module.out_channels, module.dim) == (4, 1, 2)
    assert module.normalisation.input_names == ("a", "boundary_outer", "boundary_hole", "boundary_base")
    seen = []
    for batch in [*module.train_dataloader(), *module.val_dataloader()[0], *module.test_dataloader()[0]]:
        counts = [SIZES[i] ** 2 for i in batch["index"].tolist()]
        assert torch.bincount(batch["grid"].sample).tolist() == counts
        assert batch["input"].x.shape == (sum(counts), 4)
        assert batch["target"].shape == (sum(counts), 1)
        torch.testing.assert_close(batch["grid"].mean(torch.ones(sum(counts), 2)), torch.ones(len(counts), 2))
        on_rim = (batch["input"].pos * (1 - batch["input"].pos)).prod(1) == 0
        assert torch.equal(batch["input"].x[:, 1] == 1, on_rim)
        seen += batch["index"].tolist()
    assert sorted(seen) == list(range(len(SIZES)))


def test_random_nodes_are_others_in_every_epoch(file: Path) -> None:
    module = data(file, subsample=40)
    module.setup("fit")
    loader = module.train_dataloader()

    def places(epoch: int) -> dict[int, torch.Tensor]:
        loader.sampler.set_epoch(epoch)
        parts = {}
        for batch in loader:
            for k, index in enumerate(batch["index"].tolist()):
                parts[index] = batch["input"].pos[batch["grid"].sample == k]
        return parts

    first, second, again = places(0), places(1), places(0)
    for index, part in first.items():
        # The smallest meshes have fewer nodes, and are taken whole.
        assert len(part) == min(40, SIZES[index] ** 2)
        assert torch.equal(part, again[index])
        assert len(part) < 40 or not torch.equal(part, second[index])
    (batch,) = module.val_dataloader()[0]
    assert len(batch["target"]) == sum(SIZES[i] ** 2 for i in batch["index"].tolist())


def test_neighbours_are_searched_once_a_mesh(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches = []
    plain = GNO.connect

    def counted(self: GNO, positions: np.ndarray, **options: Any) -> Any:
        searches.append(len(positions))
        return plain(self, positions, **options)

    monkeypatch.setattr(GNO, "connect", counted)
    toy_trainer(tmp_path, epochs=3, callbacks=[]).fit(task(), datamodule=data(file))
    assert len(searches) == 8  # six to train on, two to validate


def test_training_and_testing(file: Path, tmp_path: Path) -> None:
    module, trained = data(file), task()
    trainer = toy_trainer(tmp_path, epochs=40, callbacks=[TestResults()])
    trainer.fit(trained, datamodule=module)
    assert float(trainer.callback_metrics["valid/l2"]) < 0.1
    assert "valid/h1" not in trainer.callback_metrics
    trainer.test(trained, datamodule=module, verbose=False)
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())["squares"]
    assert set(metrics) == {"l2", "nrmse", "crmse", "brmse", "max_error"}
    results = np.load(tmp_path / "test" / "squares.npz")
    assert len(results["l2"]) == 2
    assert float(results["l2"].mean()) == pytest.approx(metrics["l2"], rel=1e-6)


def test_norms_weigh_nodes_by_the_area_they_stand_for() -> None:
    shares, boundary = torch.tensor([0.25, 0.75, 0.2, 0.3, 0.5]), torch.tensor([0, 1, 0, 1, 2])
    nodes = MeshNodes(torch.tensor([0, 0, 1, 1, 1]), shares, boundary, samples=2)
    target = torch.tensor([[2.0], [2.0], [1.0], [1.0], [1.0]])
    prediction = target + torch.tensor([[2.0], [0.0], [0.0], [0.0], [1.0]])
    # Squares of the errors: 0.25 * 4 of 4, and 0.5 * 1 of 1.
    assert float(RelativeL2()(prediction, target, nodes)) == pytest.approx((0.5 + 0.5**0.5) / 2)
    evaluator = Evaluator()
    evaluator.update(prediction, target, nodes)
    values = {name: float(value) for name, value in evaluator.compute().items()}
    assert values == pytest.approx(
        {
            "l2": (0.5 + 0.5**0.5) / 2,
            "nrmse": (0.5 + 0.5**0.5) / 2,
            "crmse": 0.5,  # both means are off by 0.5
            "brmse": (0.0 + 0.5**0.5) / 2,
            "max_error": 2.0,
        }
    )
    assert evaluator.curves() == {}


def test_samples_without_nodes_on_a_side_are_not_in_the_error_there() -> None:
    """Random nodes of a grid may all lie inside; on a box that wraps around all do."""
    sample, half, ones = torch.tensor([0, 0, 1, 1]), torch.full((4,), 0.5), torch.ones(4, 1)
    for boundary, expected in (([0, 0, 0, 1], {"brmse": 2.0}), ([0, 0, 0, 0], {})):
        evaluator = Evaluator(["brmse"])
        evaluator.update(3 * ones, ones, MeshNodes(sample, half, torch.tensor(boundary), samples=2))
        assert {name: float(value) for name, value in evaluator.compute().items()} == expected


def test_h1_is_refused(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="on meshes"):
        toy_trainer(tmp_path, callbacks=[]).fit(task(objective=Supervised(H1())), datamodule=data(file))


def test_a_zero_target_is_named(write_squares: Callable[..., Path], tmp_path: Path) -> None:
    def vanish(values: dict[str, list[np.ndarray]]) -> None:
        values["u"][4] *= 0

    file = write_squares(tmp_path / "squares.h5", SIZES, change=vanish)
    with pytest.raises(NumericalFailure, match="target of samples 4 is zero"):
        toy_trainer(tmp_path).fit(task(), datamodule=data(file, split=(1, 0, 0)))


def test_a_mesh_with_a_node_alone_is_named(file: Path, tmp_path: Path) -> None:
    lonely = TrainingTask(GNO(0.13, width=4, kernel_width=4, layers=1, in_channels=4))
    with pytest.raises(InvalidInput, match=r"in sample \d.*\nRaise model.radius"):
        toy_trainer(tmp_path, callbacks=[]).fit(lonely, datamodule=data(file))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"subsample": 1}, "data.subsample"),
        ({"batch_size": 0}, "data.batch_size"),
        ({"batch_size": 7}, "batch_size"),
        ({"split": (0.0, 0.5, 0.5)}, "data.split"),
        ({"test_paths": ["squares.h5"]}, "data.test_paths"),
    ],
)
def test_settings_that_cannot_be_used(
    file: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], key: str
) -> None:
    monkeypatch.chdir(file.parent)

    def prepare() -> None:
        module = data(file, **changes)
        module.setup("fit")
        module.train_dataloader()

    with pytest.raises(InvalidInput) as error:
        prepare()
    assert error.value.name == key


def test_names_and_values_that_cannot_be_used(write_squares: Callable[..., Path], tmp_path: Path) -> None:
    file = write_squares(tmp_path / "squares.h5", SIZES)
    with pytest.raises(InvalidInput, match="Nearest: boundary"):
        MeshData(str(file), ["a", "boundry"], ["u"]).setup("fit")
    with pytest.raises(InvalidInput, match="targets"):
        MeshData(str(file), ["a"], ["boundary"]).setup("fit")

    def spoil(values: dict[str, list[np.ndarray]]) -> None:
        values["a"][3][5] = np.nan

    file = write_squares(tmp_path / "spoilt.h5", SIZES, change=spoil)
    with pytest.raises(InvalidInput, match="inputs of sample 3"):
        data(file, split=(1, 0, 0)).setup("fit")
