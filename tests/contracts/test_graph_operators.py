"""What every graph operator keeps to. For one of your own: inherit GraphOperatorContract, write ``make``."""

from __future__ import annotations

import copy
import io
import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.exported_program import export
from pdeflow.operators import (
    GINO,
    GNO,
    MKGN,
    Ensemble,
    GaussianGraphOperator,
    GraphOperator,
    MeanVariance,
    graph_operator,
)
from pdeflow.surrogate import Surrogate


def mesh(nodes: int, seed: int = 0, channels: int = 2) -> Data:
    rng = np.random.default_rng(seed)
    return Data(
        x=torch.from_numpy(rng.standard_normal((nodes, channels)).astype("f4")),
        pos=torch.from_numpy(rng.random((nodes, 2)).astype("f4")),
    )


def double(graph: Data) -> Data:
    return Data(x=graph.x.double(), pos=graph.pos.double())


class GraphOperatorContract:
    """Inherit, write ``make``, and set the attributes where they differ."""

    sizes: tuple[int, ...] = (90, 60, 75)  # meshes that it takes
    in_channels = 2
    out_channels = 3
    radius = "model.radius"  # the setting that decides who stands alone

    def make(self) -> GraphOperator:
        raise NotImplementedError

    @pytest.fixture
    def operator(self) -> GraphOperator:
        torch.manual_seed(0)
        return self.make()

    @pytest.fixture
    def meshes(self) -> list[Data]:
        return [mesh(nodes, seed) for seed, nodes in enumerate(self.sizes)]

    def test_shapes_and_dtype(self, operator: GraphOperator, meshes: list[Data]) -> None:
        for graph in meshes:
            y = operator(graph)
            assert y.shape == (len(graph.x), self.out_channels)
            assert y.dtype == torch.float32
            assert torch.isfinite(y).all()

    def test_every_parameter_learns(self, operator: GraphOperator, meshes: list[Data]) -> None:
        operator(meshes[0]).square().sum().backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name

    def test_mixed_precision(self, operator: GraphOperator, meshes: list[Data]) -> None:
        y = operator(meshes[0])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = operator(meshes[0])
        assert 0 < (mixed - y).norm() < 0.1 * y.norm()
        mixed.float().square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in operator.parameters() if p.grad is not None)

    def test_a_batch_of_meshes_is_each_of_them(self, operator: GraphOperator, meshes: list[Data]) -> None:
        alone = torch.cat([operator(graph) for graph in meshes])
        torch.testing.assert_close(operator(Batch.from_data_list(meshes)), alone, rtol=1e-4, atol=1e-6)
        # The same with what was found once for each mesh and kept, in another order.
        found = [operator.connect(graph.pos.numpy()) for graph in meshes]
        batch = operator.connected(meshes[::-1], found[::-1])
        backwards = torch.cat([operator(graph) for graph in meshes[::-1]])
        torch.testing.assert_close(operator(batch), backwards, rtol=1e-4, atol=1e-6)

    def test_neighbours_found_for_another_are_not_taken(
        self, operator: GraphOperator, meshes: list[Data]
    ) -> None:
        other = GNO(0.77, in_channels=self.in_channels)
        theirs = other.connected(meshes, [other.connect(graph.pos.numpy()) for graph in meshes])
        torch.testing.assert_close(operator(theirs), operator(Batch.from_data_list(meshes)))

    def test_nodes_that_were_moved_are_connected_anew(
        self, operator: GraphOperator, meshes: list[Data], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        moved = operator(Batch.from_data_list([Data(x=one.x, pos=0.8 * one.pos) for one in meshes]))
        still = operator(Batch.from_data_list(meshes))
        found = [operator.connect(graph.pos.numpy()) for graph in meshes]
        replaced, in_place, before, kept = (operator.connected(meshes, found) for _ in range(4))
        replaced.pos = 0.8 * replaced.pos
        in_place.pos.mul_(0.8)
        before.pos.mul_(0.8)  # and then copied
        for graph in (replaced, in_place, copy.copy(in_place), before.clone(), copy.deepcopy(before)):
            assert torch.equal(operator(graph), moved)
        # What is only copied, moved to a device, or given other inputs is not searched again.
        monkeypatch.setattr(graph_operator, "joined", lambda parts: pytest.fail("searched"))
        other = copy.copy(kept)
        other.x = other.x.clone()
        for graph in (kept, copy.copy(kept), kept.clone(), kept.clone().to("cpu"), other):
            torch.testing.assert_close(operator(graph), still)

    def test_the_numbering_of_nodes_does_not_matter(
        self, operator: GraphOperator, meshes: list[Data]
    ) -> None:
        graph = double(meshes[0])
        order = torch.randperm(len(graph.x), generator=torch.Generator().manual_seed(3))
        operator = operator.double()
        shuffled = operator(Data(x=graph.x[order], pos=graph.pos[order]))
        assert operator(graph).std() > 1e-5
        torch.testing.assert_close(shuffled, operator(graph)[order], rtol=1e-9, atol=1e-12)

    def test_nodes_far_away_count(self, operator: GraphOperator, meshes: list[Data]) -> None:
        """Every node hears of every other one, through the layers or the levels."""
        graph = meshes[0]
        graph.x.requires_grad_()
        corner = int(graph.pos.sum(1).argmin())
        operator(graph)[corner].sum().backward()
        assert graph.x.grad is not None
        assert (graph.x.grad.abs().sum(1) > 0).all()

    def test_at_nodes_a_query_gives_what_the_nodes_have(
        self, operator: GraphOperator, meshes: list[Data]
    ) -> None:
        graph, operator = double(meshes[0]), operator.double()
        expected = operator(graph)
        torch.testing.assert_close(operator.query(graph, graph.pos, graph.x), expected)
        torch.testing.assert_close(operator.query(graph, graph.pos), expected)
        # Between nodes it does not depend on which points are asked together.
        points = graph.pos[:5] * 0.5 + graph.pos[5:10] * 0.5
        together = operator.query(graph, points)
        assert together.shape == (5, self.out_channels)
        torch.testing.assert_close(operator.query(graph, points[2:3]), together[2:3])

    def test_state_survives_a_safe_file(self, operator: GraphOperator, meshes: list[Data]) -> None:
        file = io.BytesIO()
        torch.save(operator.state_dict(), file)
        file.seek(0)
        other = type(operator)(**json.loads(json.dumps(operator.settings)))
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert torch.equal(other(meshes[1]), operator(meshes[1]))

    def test_saved_and_loaded_as_a_surrogate(
        self, operator: GraphOperator, meshes: list[Data], tmp_path
    ) -> None:
        surrogate = pdeflow.load(pdeflow.save(operator, tmp_path))
        assert torch.equal(surrogate(meshes[0]), operator(meshes[0]))
        assert torch.equal(
            surrogate.query(meshes[0], meshes[1].pos), operator.query(meshes[0], meshes[1].pos)
        )
        wrong, names = self.in_channels + 1, ", ".join(surrogate.input_names)
        said = (
            rf"graph\.x: got \(60, {wrong}\), expected \(nodes, {self.in_channels}\)\.\n.* to read {names},"
        )
        with pytest.raises(InvalidInput, match=said):
            surrogate(mesh(60, channels=wrong))

    @pytest.mark.slow
    def test_exported_program(self, operator: GraphOperator, meshes: list[Data], tmp_path) -> None:
        """A file of ``torch.export`` for one mesh gives what the surrogate gives, for several inputs."""
        surrogate, nodes = Surrogate(operator), meshes[0].pos
        path = export(surrogate, tmp_path / "model.pt2", positions=nodes.numpy())
        program = torch.export.load(path).module()
        for batch in (1, 4):
            x = torch.randn(batch, len(nodes), self.in_channels)
            wanted = torch.stack([surrogate(Data(x=one, pos=nodes)) for one in x])
            assert (program(x) - wanted).abs().max() < 1e-6 * wanted.abs().max()

    def test_two_in_one_module_and_deep_copy(self, operator: GraphOperator, meshes: list[Data]) -> None:
        pair = nn.ModuleDict({"a": operator, "b": self.make()})
        assert all(isinstance(value, Tensor) for value in pair.state_dict().values())
        other = nn.ModuleDict({"a": self.make(), "b": self.make()})
        other.load_state_dict(pair.state_dict(), strict=True)
        assert torch.equal(other["a"](meshes[1]), operator(meshes[1]))
        assert torch.equal(copy.deepcopy(operator)(meshes[1]), operator(meshes[1]))

    def test_meta_device(self, operator: GraphOperator, meshes: list[Data]) -> None:
        batch = operator.connected(meshes, [operator.connect(graph.pos.numpy()) for graph in meshes])
        with torch.device("meta"):
            ghost = self.make()
            y = ghost(copy.copy(batch).to("meta"))
        assert y.device.type == "meta"
        assert y.shape == (sum(self.sizes), self.out_channels)
        ghost.load_state_dict(operator.state_dict(), assign=True)
        assert torch.equal(ghost(batch), operator(batch))

    def test_wrong_graphs(self, operator: GraphOperator, meshes: list[Data]) -> None:
        wrong = self.in_channels + 1
        good = meshes[0]
        for graph, message in (
            (mesh(60, channels=wrong), f"Set model.in_channels to {wrong}"),
            (Data(x=good.x), "with pos"),
            (Data(pos=good.pos), "with x"),
            (Data(x=good.x, pos=torch.zeros(len(good.x), 3)), r"\(nodes, 2\)"),
            (Data(x=good.x[1:], pos=good.pos), "a row for each"),
            (Data(x=good.x > 0, pos=good.pos), "float32"),
            (Data(x=good.x.double(), pos=good.pos), r"or the operator with \.double\(\)"),
            (mesh(0), "take meshes without nodes out"),
            (
                Batch.from_data_list([*meshes, mesh(0)]),
                "none in mesh 3 of 4(?s:.*)Take meshes without nodes out",
            ),
            (Data(x=good.x, pos=good.pos + torch.nan), "input.pos: got 'values that are NaN"),
        ):
            with pytest.raises(InvalidInput, match=message):
                operator(graph)
        with pytest.raises(InvalidInput, match="none in mesh 1 of 2"):
            operator.connected([good, mesh(0)], [operator.connect(good.pos.numpy())] * 2)

    def test_a_node_that_stands_alone(self, operator: GraphOperator, meshes: list[Data]) -> None:
        graph = meshes[0]
        graph.pos[7] = torch.tensor([9.0, 9.0])
        with pytest.raises(InvalidInput, match=r"nodes 7\)\.\nRaise " + self.radius.replace("[", r"\[")):
            operator(graph)
        # In a random part of a mesh that may happen.
        batch = operator.connected([graph], [operator.connect(graph.pos.numpy(), sampled=True)])
        assert torch.isfinite(operator(batch)).all()

    def test_wrong_queries(self, operator: GraphOperator, meshes: list[Data]) -> None:
        graph = meshes[0]
        for points, inputs, message in (
            (torch.zeros(4, 3), None, r"\(points, 2\)"),
            (torch.full((4, 2), 50.0), None, "not in the domain"),
            (graph.pos[:4], graph.x[:3], rf"\(4, {self.in_channels}\)"),
            (graph.pos[:4], graph.x[:4, :1], rf"\(4, {self.in_channels}\)"),
            (graph.pos[:4] + torch.nan, None, "points: got 'values that are NaN"),
        ):
            for asked in (operator, Surrogate(operator)):
                with pytest.raises(InvalidInput, match=message):
                    asked.query(graph, points, inputs)
        with pytest.raises(InvalidInput, match="one by one"):
            operator.query(Batch.from_data_list(meshes), graph.pos)


GINO_SETTINGS = {
    "grid": [9, 9],
    "modes": [4, 5],
    "in_radius": 0.2,
    "out_radius": 0.15,
    "lower": [0.0, 0.0],
    "upper": [1.0, 1.0],
    "width": 6,
    "kernel_width": 8,
    "layers": 2,
}


class TestGNO(GraphOperatorContract):
    def make(self) -> GNO:
        return GNO(radius=0.35, width=6, kernel_width=8, layers=4, in_channels=2, out_channels=3)


class TestMKGN(GraphOperatorContract):
    radius = "model.inner[0]"

    def make(self) -> MKGN:
        levels = {"coarse": [30, 10], "inner": [0.3, 0.5, 2.0], "inter": [0.4, 0.6]}
        return MKGN(**levels, width=6, kernel_width=8, layers=2, in_channels=2, out_channels=3)

    def test_too_few_nodes_for_the_levels(self, operator: MKGN) -> None:
        operator(mesh(60))
        with pytest.raises(InvalidInput, match="at least 30, the nodes of level 1"):
            operator(mesh(29))


class TestGINO(GraphOperatorContract):
    radius = "model.in_radius"

    def make(self) -> GINO:
        return GINO(**(GINO_SETTINGS | {"in_radius": 0.25}), in_channels=2, out_channels=3)

    def test_a_node_that_stands_alone(self, operator: GINO, meshes: list[Data]) -> None:
        """What is far from the grid is so in a random part of the mesh too."""
        graph = meshes[0]
        graph.pos[7] = torch.tensor([9.0, 9.0])
        for sampled in (False, True):
            with pytest.raises(InvalidInput, match=r"nodes 7\)\.\nRaise model.in_radius"):
                operator.connect(graph.pos.numpy(), sampled=sampled)
        with pytest.raises(InvalidInput, match=r"nodes 7\)\.\nRaise model.in_radius"):
            operator(graph)

    def test_where_there_is_no_mesh_nothing_is_known(self, operator: GINO) -> None:
        """The grid is everywhere in the box, the mesh in a corner of it."""
        graph = mesh(60)
        graph.pos = 0.4 * graph.pos
        graph.pos[0] = 0.0
        for point, name in (([0.9, 0.9], "in_radius"), ([-0.2, 0.0], "out_radius")):
            with pytest.raises(InvalidInput, match=f"within model.{name}"):
                operator.query(graph, torch.tensor([[0.2, 0.2], point]))
        points = np.array([[0.2, 0.2], [0.9, 0.9], [-0.2, 0.0]])
        assert operator.answers(points, graph.pos.numpy()).tolist() == [True, False, False]

    def test_inputs_at_points_are_not_made_up(
        self, operator: GINO, meshes: list[Data], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(graph_operator, "interpolated", lambda *given: pytest.fail("interpolated"))
        assert operator.query(meshes[0], meshes[0].pos[:5]).shape == (5, self.out_channels)

    @pytest.mark.slow
    def test_exported_where_most_of_the_grid_sees_no_mesh(self, operator: GINO, tmp_path) -> None:
        graph = mesh(60)
        graph.pos = 0.3 * graph.pos
        surrogate = Surrogate(operator)
        path = export(surrogate, tmp_path / "model.pt2", positions=graph.pos.numpy())
        found = torch.export.load(path).module()(graph.x[None])
        torch.testing.assert_close(found[0], surrogate(graph), rtol=1e-4, atol=1e-6)


class GaussianGraphContract(GraphOperatorContract):
    """Of what reads other operators: their settings make these, not the whole."""

    def test_is_a_graph_operator_with_a_variance(self, operator: GraphOperator) -> None:
        assert isinstance(operator, GaussianGraphOperator)
        assert isinstance(copy.deepcopy(operator), type(operator))

    def test_state_survives_a_safe_file(self, operator: GraphOperator, meshes: list[Data]) -> None:
        file = io.BytesIO()
        torch.save(operator.state_dict(), file)
        file.seek(0)
        other = self.make()
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert torch.equal(other(meshes[1]), operator(meshes[1]))

    def test_every_parameter_learns(self, operator: GraphOperator, meshes: list[Data]) -> None:
        """From mean and variance together."""
        assert isinstance(operator, GaussianGraphOperator)
        found = operator.distribution(meshes[0])
        (found.mean.square().sum() + found.variance.sum()).backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_distributions_of_a_batch_are_those_of_each_mesh(
        self, operator: GraphOperator, meshes: list[Data]
    ) -> None:
        assert isinstance(operator, GaussianGraphOperator)
        alone = [operator.distribution(graph) for graph in meshes]
        for found, parts in zip(operator.distribution(Batch.from_data_list(meshes)), zip(*alone)):
            assert found.shape == (sum(self.sizes), self.out_channels)
            torch.testing.assert_close(found, torch.cat(parts), rtol=1e-4, atol=1e-6)
        assert all((one.variance > 0).all() for one in alone)

    def test_at_nodes_a_query_gives_the_distribution_there(
        self, operator: GraphOperator, meshes: list[Data]
    ) -> None:
        assert isinstance(operator, GaussianGraphOperator)
        graph, operator = double(meshes[0]), operator.double()
        found = operator.query_distribution(graph, graph.pos, graph.x)
        torch.testing.assert_close(found, operator.distribution(graph))
        assert torch.equal(operator.query(graph, graph.pos, graph.x), found.mean)

    def test_saved_deviations(self, operator: GraphOperator, meshes: list[Data], tmp_path) -> None:
        assert isinstance(operator, GaussianGraphOperator)
        surrogate = pdeflow.load(pdeflow.save(operator, tmp_path))
        assert type(surrogate.model) is type(operator)
        wanted = operator.distribution(meshes[0]).variance.sqrt()
        torch.testing.assert_close(surrogate.predict_with_std(meshes[0])[1], wanted)
        points = meshes[1].pos
        mean, std = surrogate.query_with_std(meshes[0], points)
        there = operator.query_distribution(meshes[0], points)
        torch.testing.assert_close((mean, std), (there.mean, there.variance.sqrt()))

    @pytest.mark.slow
    def test_exported_program(self, operator: GraphOperator, meshes: list[Data], tmp_path) -> None:
        """Its channels are the means, then the deviations."""
        surrogate, nodes = Surrogate(operator), meshes[0].pos
        path = export(surrogate, tmp_path / "model.pt2", positions=nodes.numpy())
        program = torch.export.load(path).module()
        for batch in (1, 4):
            x = torch.randn(batch, len(nodes), self.in_channels)
            wanted = torch.stack(
                [torch.cat(surrogate.predict_with_std(Data(x=one, pos=nodes)), dim=1) for one in x]
            )
            assert (program(x) - wanted).abs().max() < 1e-5 * wanted.abs().max()


class TestMeanVarianceOfGNO(GaussianGraphContract):
    def make(self) -> GraphOperator:
        gno = GNO(radius=0.35, width=6, kernel_width=8, layers=4, in_channels=2, out_channels=6)
        return MeanVariance(gno)


class TestMeanVarianceOfGINO(GaussianGraphContract):
    radius = "model.in_radius"
    test_a_node_that_stands_alone = TestGINO.test_a_node_that_stands_alone

    def make(self) -> GraphOperator:
        gino = GINO(**(GINO_SETTINGS | {"in_radius": 0.25}), in_channels=2, out_channels=6)
        return MeanVariance(gino)


class TestEnsembleOfMKGN(GaussianGraphContract):
    radius = "model.inner[0]"

    def make(self) -> GraphOperator:
        return Ensemble([TestMKGN().make() for _ in range(2)])


class TestEnsembleOfMeanVariancesOfGNO(GaussianGraphContract):
    def make(self) -> GraphOperator:
        return Ensemble([TestMeanVarianceOfGNO().make() for _ in range(2)])


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"coarse": [10, 10], "inner": [0.1] * 3, "inter": [0.1] * 2}, "model.coarse"),
        ({"coarse": [], "inner": [0.1], "inter": []}, "model.coarse"),
        ({"coarse": [10], "inner": [0.1], "inter": [0.1]}, "model.inner"),
        ({"coarse": [10], "inner": [0.1, 0.2], "inter": [0.0]}, "model.inter"),
        ({"coarse": [10], "inner": [0.1, 0.2], "inter": [0.1], "width": 0}, "model.width"),
    ],
)
def test_settings_of_mkgn_out_of_range(settings, key: str) -> None:
    with pytest.raises(InvalidInput) as error:
        MKGN(**settings)
    assert error.value.name == key


def test_settings_of_gno_out_of_range() -> None:
    for name in ("radius", "width", "kernel_width", "layers", "dim"):
        with pytest.raises(InvalidInput, match=f"model.{name}"):
            GNO(**({"radius": 0.1} | {name: 0}))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"in_radius": 0.0}, "model.in_radius"),
        ({"in_radius": 0.08}, "model.in_radius"),
        ({"out_radius": 0.08}, "model.out_radius"),  # half the diagonal of a cell is 0.088
        ({"grid": [9]}, "model.grid"),
        ({"grid": [9, 1]}, "model.grid"),
        ({"lower": [0.0]}, "model.lower"),
        ({"upper": [1.0, 0.0]}, "model.upper"),
        ({"modes": [4, 12]}, "resolution of axis 1"),
        ({"modes": [4, 1]}, "model.modes"),
        ({"modes": [], "grid": [], "lower": [], "upper": []}, "model.modes"),
        ({"padding": -0.1}, "model.padding"),
        ({"kernel_width": 1}, "model.kernel_width"),
        ({"layers": 0}, "model.layers"),
    ],
)
def test_settings_of_gino_out_of_range(changes, key: str) -> None:
    with pytest.raises(InvalidInput) as error:
        GINO(**(GINO_SETTINGS | changes))
    assert error.value.name == key


def test_gino_takes_meshes_that_fill_a_part_of_the_box_and_says_what_is_not_in_it() -> None:
    torch.manual_seed(0)
    operator = GINO(**GINO_SETTINGS, in_channels=2)
    corner = mesh(40)
    corner.pos = corner.pos * 0.4
    assert torch.isfinite(operator(corner)).all()
    assert operator(mesh(1)).shape == (1, 1)
    corner.pos[3] = torch.tensor([1.18, 0.2])  # a grid node is within 0.2, but not within 0.15
    with pytest.raises(InvalidInput, match=r"nodes 3\)\.\nRaise model.out_radius"):
        operator(corner)


@pytest.mark.parametrize("name", ["GNO", "GINO"])
def test_finer_meshes_give_the_same_function(name: str) -> None:
    """Discretisation convergence: means over more nodes come nearer to the integrals they stand for."""
    torch.manual_seed(0)
    operator = GNO(radius=0.4, width=6, kernel_width=8, layers=2) if name == "GNO" else GINO(**GINO_SETTINGS)
    operator = operator.double()
    points = torch.rand(20, 2, dtype=torch.float64) * 0.6 + 0.2

    def at(nodes: int, seed: int) -> Tensor:
        pos = torch.from_numpy(np.random.default_rng(seed).random((nodes, 2)))
        inputs = [torch.sin(3 * places[:, :1]) * places[:, 1:] for places in (pos, points)]
        with torch.no_grad():
            return operator.query(Data(x=inputs[0], pos=pos), points, inputs[1])

    exact = at(6000, 9)
    coarse, fine = (
        torch.stack([(at(n, seed) - exact).square().mean() for seed in range(3)]).mean().sqrt()
        for n in (100, 1000)
    )
    assert fine < 0.5 * coarse


def test_mkgn_tends_to_a_function_where_all_its_levels_are_finer() -> None:
    """On random meshes answers scatter about one function, the less the more nodes there are on each level.

    With as many coarse nodes on finer meshes they scatter as before.
    """
    torch.manual_seed(0)
    settings = {"inner": [0.25, 0.3, 0.4], "inter": [0.25, 0.3], "width": 6, "kernel_width": 8, "layers": 2}
    weights = MKGN([50, 25], **settings).double().state_dict()
    points = torch.rand(20, 2, dtype=torch.float64) * 0.6 + 0.2

    def answers(nodes: int, coarse: list[int]) -> Tensor:
        """On eight meshes."""
        operator, found = MKGN(coarse, **settings).double(), []
        operator.load_state_dict(weights)
        for seed in range(8):
            pos = torch.from_numpy(np.random.default_rng((nodes, seed)).random((nodes, 2)))
            inputs = [torch.sin(3 * places[:, :1]) * places[:, 1:] for places in (pos, points)]
            with torch.no_grad():
                found.append(operator.query(Data(x=inputs[0], pos=pos), points, inputs[1]))
        return torch.stack(found)

    coarse, fine, kept = answers(100, [50, 25]), answers(1000, [500, 250]), answers(1000, [50, 25])
    scatter = [found.std(0).square().mean().sqrt() for found in (coarse, fine, kept)]
    assert scatter[1] < 0.5 * scatter[0] < scatter[2]
    # And it is one function that they scatter about.
    assert (coarse.mean(0) - fine.mean(0)).square().mean().sqrt() < scatter[0]
