"""Means and variances on meshes: by hand, at points, searched once, weighed by area, trained and tested."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import softplus
from torch_geometric.data import Batch, Data
from toy import toy_trainer

from pdeflow.data import MeshData
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.exported_program import exported
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators import (
    FNO,
    GNO,
    Ensemble,
    Gaussian,
    GaussianGraphOperator,
    GaussianOperator,
    MeanVariance,
    Operator,
)
from pdeflow.operators.ensemble import GraphEnsemble
from pdeflow.operators.gaussian_operator import VARIANCE_FLOOR
from pdeflow.operators.mean_variance import GraphMeanVariance
from pdeflow.operators.neighbours import joined
from pdeflow.surrogate import Surrogate
from pdeflow.training import Evaluator, GaussianNLL, TrainingTask

SIZES = [6, 8, 7, 9, 6, 8, 7, 9, 10, 6]


def gno(seed: int, out_channels: int = 2, in_channels: int = 2) -> GNO:
    torch.manual_seed(seed)
    sizes = {"radius": 0.4, "width": 6, "kernel_width": 8, "layers": 2}
    return GNO(**sizes, in_channels=in_channels, out_channels=out_channels)  # pyright: ignore[reportArgumentType]


def graph(nodes: int, seed: int = 0) -> Data:
    rng = np.random.default_rng(seed)
    x, pos = rng.standard_normal((nodes, 2)), rng.random((nodes, 2))
    return Data(x=torch.from_numpy(x.astype("f4")), pos=torch.from_numpy(pos.astype("f4")))


def test_head_reads_means_and_softplus_of_what_follows() -> None:
    operator = gno(0, out_channels=4)
    model, mesh, points = MeanVariance(operator), graph(80), torch.rand(9, 2) * 0.6 + 0.2
    assert isinstance(model, GaussianGraphOperator)
    assert (model.dim, model.in_channels, model.out_channels) == (2, 2, 2)
    for found, raw in (
        (model.distribution(mesh), operator(mesh)),
        (model.query_distribution(mesh, points), operator.query(mesh, points)),
    ):
        assert torch.equal(found.mean, raw[:, :2])
        torch.testing.assert_close(found.variance, softplus(raw[:, 2:]) + VARIANCE_FLOOR)
    assert torch.equal(model(mesh), model.distribution(mesh).mean)


@pytest.mark.parametrize("head", [True, False])
def test_ensemble_has_the_moments_of_the_mixture_at_nodes_and_points(head: bool) -> None:
    members = [MeanVariance(gno(seed, 2)) if head else gno(seed, 1) for seed in range(3)]
    model = Ensemble(members)
    assert isinstance(model, GaussianGraphOperator)
    mesh, points = Batch.from_data_list([graph(70)]), torch.rand(9, 2) * 0.6 + 0.2

    def each(at: Callable[[Any], Any]) -> tuple[Tensor, Tensor]:
        found = [at(member) for member in members]
        if not head:
            return torch.stack(found), torch.zeros(())
        return torch.stack([one.mean for one in found]), torch.stack([one.variance for one in found])

    for found, (means, within) in (
        (
            model.distribution(mesh),
            each(lambda one: one.distribution(mesh) if head else one(mesh)),
        ),
        (
            model.query_distribution(mesh, points),
            each(lambda one: one.query_distribution(mesh, points) if head else one.query(mesh, points)),
        ),
    ):
        torch.testing.assert_close(found.mean, means.mean(0))
        torch.testing.assert_close(found.variance, within.mean(0) + means.var(0, correction=0))
        assert found.variance.min() > VARIANCE_FLOOR


def test_neighbours_are_searched_once_for_all_members(monkeypatch: pytest.MonkeyPatch) -> None:
    searches, plain = [], GNO.connect

    def counted(self: GNO, positions: np.ndarray, **options: Any) -> Any:
        searches.append(len(positions))
        return plain(self, positions, **options)

    monkeypatch.setattr(GNO, "connect", counted)
    model, meshes = Ensemble([MeanVariance(gno(seed)) for seed in range(3)]), [graph(60), graph(50, 1)]
    assert isinstance(model, GaussianGraphOperator)
    model.distribution(Batch.from_data_list(meshes))
    assert searches == [60, 50]
    model.query_distribution(meshes[0], meshes[0].pos[:5])
    assert searches == [60, 50, 60]
    known = model.connected(meshes, [model.connect(mesh.pos.numpy()) for mesh in meshes])
    model.distribution(known)
    assert len(searches) == 5
    assert set(meshes[0].to_dict()) == {"x", "pos"}  # what was found is not left behind in a mesh


def test_a_surrogate_gives_deviations_in_physical_units() -> None:
    names = ("a", "b")
    statistics = Normalisation(names, ("u",), (0.5, 1.0), (2.0, 4.0), (-1.0,), (3.0,))
    model = Ensemble([gno(seed, 1) for seed in range(3)])
    assert isinstance(model, GaussianGraphOperator)
    surrogate, mesh, points = Surrogate(model, statistics), graph(80), torch.rand(9, 2) * 0.6 + 0.2
    assert surrogate.std_names == ("u_std",)
    scaled = Data(x=(mesh.x - torch.tensor([0.5, 1.0])) / torch.tensor([2.0, 4.0]), pos=mesh.pos)
    with torch.no_grad():
        wanted = model.distribution(scaled), model.query_distribution(scaled, points)
    found = surrogate.predict_with_std(mesh), surrogate.query_with_std(mesh, points)
    for (mean, std), normalised in zip(found, wanted):
        torch.testing.assert_close(mean, 3.0 * normalised.mean - 1.0)
        torch.testing.assert_close(std, 3.0 * normalised.variance.sqrt())
    torch.testing.assert_close(surrogate(mesh), found[0][0])
    torch.testing.assert_close(surrogate.query(mesh, points), found[1][0])
    with pytest.raises(InvalidInput, match="an ensemble or a model with a variance"):
        Surrogate(gno(0)).query_with_std(mesh, points)
    with pytest.raises(InvalidInput, match=r"query_with_std: got 'Ensemble', expected an operator on meshes"):
        Surrogate(Ensemble([FNO([4, 4], width=4, layers=1)] * 2)).query_with_std(mesh, points)


class OwnEnsemble(Ensemble):
    """A user's, on grids."""

    def __init__(self, members: Sequence[Operator], note: str = "") -> None:
        super().__init__(members)
        self.note = note


class OwnHead(MeanVariance):
    """A user's, on grids."""


class OwnGraphEnsemble(GraphEnsemble):
    """A user's, on meshes."""


class Own(GaussianOperator, GNO):
    """On meshes, with a variance that it knows at the nodes alone."""

    def distribution(self, x: Any) -> Gaussian:
        return Gaussian(x.x[:, :2], torch.ones_like(x.x[:, :2]))


def fno() -> FNO:
    return FNO([4, 4], width=4, layers=1, out_channels=2)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda: OwnEnsemble([gno(0), gno(1)]),
            r"ensemble: got 'GNO', .* on grids.*\n.*OwnEnsemble from .*GraphEns",
        ),
        (
            lambda: OwnHead(gno(0)),
            r"operator: got 'GNO', .* on grids.*\n.*OwnHead from .*mean_variance.GraphMean",
        ),
        (lambda: GraphEnsemble([fno(), fno()]), r"ensemble: got 'FNO', .* on meshes.*\n.*Take Ensemble"),
        (lambda: OwnGraphEnsemble([fno(), fno()]), r"got 'FNO', .* on meshes, of which OwnGraphEnsemble"),
        (lambda: GraphMeanVariance(fno()), r"operator: got 'FNO', .* on meshes.*\n.*Take MeanVariance"),
        (
            lambda: Ensemble([Own(0.4, in_channels=2, out_channels=2)] * 2),
            "got 'Own', .*GaussianGraphOperators",
        ),
    ],
)
def test_a_class_on_grids_is_made_of_operators_on_grids(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make()


def test_a_variance_that_a_program_would_leave_out_is_refused() -> None:
    own, mesh = Own(0.4, in_channels=2, out_channels=2), graph(60)
    assert torch.equal(Surrogate(own).predict_with_std(mesh)[1], torch.ones(60, 2))
    with pytest.raises(InvalidInput, match=r"model: got 'Own', .* a GaussianGraphOperator"):
        exported(Surrogate(own), positions=mesh.pos.numpy())


def test_own_classes_of_either_kind() -> None:
    mesh, x = graph(60), torch.randn(2, 1, 8, 8)
    members = [gno(seed) for seed in range(2)]
    torch.testing.assert_close(
        OwnGraphEnsemble(members).distribution(mesh), Ensemble(members).distribution(mesh)
    )
    own = OwnEnsemble([fno(), fno()], note="mine")
    assert own.distribution(x).mean.shape == (2, 2, 8, 8)
    assert copy.deepcopy(own).note == "mine"


def test_queries_are_read_by_each_in_turn() -> None:
    model, mesh = Ensemble([gno(0), gno(1)]), graph(60)
    assert isinstance(model, GaussianGraphOperator)
    edges = {name: joined([part]) for name, part in model.connect(mesh.pos.numpy()).items()}
    torch.testing.assert_close(model.evaluate(mesh.x, mesh.pos, edges), model(mesh))
    with pytest.raises(InvalidInput, match="query_distribution"):
        model.evaluate(mesh.x, mesh.pos, edges, iter([]))


def some_nodes() -> tuple[MeshNodes, Gaussian, Tensor]:
    """Two meshes of two and three nodes of different shares."""
    shares, inside = torch.tensor([0.25, 0.75, 0.2, 0.3, 0.5]), torch.zeros(5, dtype=torch.int64)
    nodes = MeshNodes(torch.tensor([0, 0, 1, 1, 1]), shares, inside, samples=2)
    generator = torch.Generator().manual_seed(0)
    mean, target, raw = torch.randn(3, 5, 2, generator=generator)
    return nodes, Gaussian(mean, raw.exp()), target


def test_likelihood_and_scores_weigh_nodes_by_the_area_they_stand_for() -> None:
    nodes, found, target = some_nodes()
    nll = -Normal(found.mean, found.variance.sqrt()).log_prob(target)
    each = [(nodes.weight[mine, None] * nll[mine]).sum(0).mean() for mine in (slice(0, 2), slice(2, 5))]
    expected = float(sum(each)) / 2
    assert float(GaussianNLL()(found, {"target": target, "grid": nodes})) == pytest.approx(expected)
    evaluator = Evaluator(("l2",))
    evaluator.update(found.mean, target, nodes, found.variance)
    scores = evaluator.compute()
    assert float(scores["nll"]) == pytest.approx(expected)
    near = ((target - found.mean).abs() <= found.variance.sqrt()).float()
    assert 0 < float(near.mean()) < 1
    share = float((nodes.weight[:, None] * near).sum()) / 4
    assert float(scores["coverage_1std"]) == pytest.approx(share)
    # All inside of the smallest interval: the shares add up to 1, and to no more.
    evaluator.reset()
    evaluator.update(target, target, nodes, found.variance)
    coverage = evaluator.curves()["coverage"]
    assert 1 - 1e-12 < coverage.min() <= coverage.max() <= 1


@pytest.fixture
def file(write_squares: Callable[..., Path], tmp_path: Path) -> Path:
    return write_squares(tmp_path / "squares.h5", SIZES)


def data(file: Path, **changes: Any) -> MeshData:
    return MeshData(str(file), ["a"], ["u"], **({"batch_size": 3, "split": (0.6, 0.2, 0.2)} | changes))


def test_training_and_testing(file: Path, tmp_path: Path) -> None:
    module, torch_adam = data(file), lambda p: torch.optim.AdamW(p, lr=1e-2)
    task = TrainingTask(MeanVariance(gno(0, in_channels=1)), GaussianNLL(), torch_adam)
    trainer = toy_trainer(tmp_path, epochs=15, callbacks=[])
    trainer.fit(task, datamodule=module)
    spread = module.normalisation.target_std[0]
    # Better than a constant of that deviation, whose likelihood is this.
    assert float(trainer.callback_metrics["valid/loss"]) < 0.5 + np.log(spread * np.sqrt(2 * np.pi))
    trainer.test(task, datamodule=module, verbose=False)
    logged = trainer.callback_metrics
    with torch.no_grad():
        losses = [
            float(task.objective(task.objective.predict(task, batch), batch)) * len(batch["index"])
            for batch in module.test_dataloader()[0]
        ]
    assert float(logged["test/squares/nll"]) == pytest.approx(sum(losses) / 2, rel=1e-4)
    assert {f"test/squares/{name}" for name in ("crps", "coverage_1std", "calibration", "l2")} <= set(logged)


def test_members_have_one_split_and_orders_and_nodes_of_their_own(file: Path) -> None:
    def seen(order_seed: int) -> tuple[list[int], Tensor, list[int]]:
        module = data(file, subsample=40)
        module.order_seed = order_seed
        module.setup("fit")
        batches = list(module.train_dataloader())
        order = torch.cat([batch["index"] for batch in batches]).tolist()
        largest = max(order, key=SIZES.__getitem__)
        found = next(batch for batch in batches if largest in batch["index"].tolist())
        nodes = found["input"].pos[found["grid"].sample == found["index"].tolist().index(largest)]
        valid = torch.cat([batch["index"] for batch in module.val_dataloader()[0]]).tolist()
        return order, nodes, valid

    (first, nodes, valid), (other, drawn, same) = seen(0), seen(12345)
    assert first != other
    assert sorted(first) == sorted(other)
    assert valid == same
    assert len(nodes) == len(drawn) == 40
    assert not torch.equal(nodes, drawn)
