"""A surrogate written, read back, used, and read from files that are not what they should be."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import pdeflow
from pdeflow import stored_operator
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GNO, TFNO, Ensemble, GaussianOperator, MeanVariance, MgNO, Operator
from pdeflow.stored_operator import is_storable
from pdeflow.surrogate import Surrogate

STATISTICS = Normalisation(("a",), ("u",), (7.0,), (4.5,), (0.4,), (0.3,))
GRID = Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (9, 9), (False, True))


def model(**settings: Any) -> FNO:
    torch.manual_seed(0)
    return FNO(**{"modes": [4, 4], "width": 4, "layers": 2} | settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pdeflow.save(model(), tmp_path / "kept", STATISTICS, grid=GRID, metrics={"valid/l2": 0.1})


@pytest.mark.parametrize(
    "operator",
    [
        model(),
        model(norm="group_norm", padding=0.1, positions=None),
        TFNO(modes=[4, 4], width=8, layers=2, rank=0.3),
        MgNO(mesh=[9, 9], width=4, layers=2, levels=3, boundary=["dirichlet", "periodic"]),
        FNO(modes=[4], width=4, layers=1),
        FNO(modes=[2, 2, 2], width=2, layers=1),
    ],
)
def test_round_trip(operator: Operator, tmp_path: Path) -> None:
    pdeflow.save(operator, tmp_path, STATISTICS)
    x = torch.randn(3, 1, *(9,) * operator.dim)
    with torch.no_grad():
        expected = operator((x - 7.0) / 4.5) * 0.3 + 0.4
    torch.testing.assert_close(pdeflow.load(tmp_path)(x), expected)


def test_what_is_kept(folder: Path) -> None:
    surrogate = pdeflow.load(folder)
    assert surrogate.grid == GRID
    assert surrogate.normalisation == STATISTICS
    assert surrogate.metrics == {"valid/l2": 0.1}
    assert (surrogate.input_names, surrogate.target_names) == (("a",), ("u",))
    assert not surrogate.model.training
    size = "x".join(map(str, GRID.points))
    assert repr(surrogate) == f"Surrogate(FNO: a -> u, trained on {size}, valid/l2 0.1)"
    assert {path.name for path in folder.iterdir()} == {"model.safetensors", "surrogate.json", "README.md"}
    card = (folder / "README.md").read_text()
    lines = ("x from 0 to 1: 9 points, both ends", "y from 0 to 2: 9 points, periodic")
    for said in ("FNO", "`a`: mean 7", *lines):
        assert said in card


def test_a_run_folder_will_do(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(folder, run / "surrogate")
    assert pdeflow.load(run).metrics == {"valid/l2": 0.1}


def test_every_shape_answers_in_kind(folder: Path) -> None:
    surrogate = pdeflow.load(folder)
    full = torch.randn(5, 1, 9, 11)
    expected = surrogate(full)
    assert expected.shape == (5, 1, 9, 11)
    torch.testing.assert_close(surrogate(full[:, 0]), expected[:, 0])
    torch.testing.assert_close(surrogate(full[2, 0]), expected[2, 0])
    assert surrogate(full[:0]).shape == (0, 1, 9, 11)
    torch.testing.assert_close(surrogate(full, batch_size=2), expected)


def test_every_dtype_answers_in_kind(folder: Path) -> None:
    surrogate = pdeflow.load(folder)
    x = np.random.default_rng(0).integers(0, 2, (2, 9, 9))
    expected = surrogate(x.astype(np.float64))
    assert isinstance(expected, np.ndarray)
    for kind, answer in (
        (np.float64, np.float64), (np.float32, np.float32), (np.float16, np.float16),
        (np.int64, np.float32), (np.uint8, np.float32), (np.bool_, np.float32), (">f8", np.float64),
    ):  # fmt: skip
        y = surrogate(x.astype(kind))
        assert y.dtype == answer
        np.testing.assert_allclose(y, expected, rtol=2e-3)
    assert surrogate(torch.from_numpy(x).double()).dtype == torch.float64
    np.testing.assert_allclose(surrogate(x.astype(np.float64)[:, ::-1]), surrogate(x[:, ::-1].copy() * 1.0))
    assert not surrogate(torch.randn(9, 9, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    "operator",
    [
        model(),
        TFNO(modes=[4, 4], width=8, layers=2, rank=0.3),
        MgNO(mesh=[9, 9], width=4, layers=2, levels=3),
        MeanVariance(model(out_channels=2)),
    ],
    ids=lambda operator: type(operator).__name__,
)
def test_weights_in_double_precision_are_computed_with(operator: Operator, tmp_path: Path) -> None:
    """As ``trainer.precision: 64-true`` leaves them."""
    x = np.random.default_rng(0).standard_normal((3, 1, 9, 9))
    single = pdeflow.load(pdeflow.save(operator, tmp_path, STATISTICS))
    double = pdeflow.load(pdeflow.save(copy.deepcopy(operator).double(), tmp_path, STATISTICS))
    assert (single.dtype, double.dtype) == (torch.float32, torch.float64)
    with torch.no_grad():
        expected = double.model((torch.from_numpy(x) - 7.0) / 4.5) * 0.3 + 0.4
    np.testing.assert_allclose(double(x), expected, rtol=1e-6)  # statistics are kept in single precision
    np.testing.assert_allclose(double(x), single(x), rtol=1e-3, atol=1e-4)
    if isinstance(operator, GaussianOperator):
        np.testing.assert_allclose(double.predict_with_std(x)[1], single.predict_with_std(x)[1], rtol=1e-3)
        return
    fed_back = Normalisation(("u",), ("u",), (0.0,), (1.0,), (0.0,), (1.0,))
    assert Surrogate(double.model, fed_back).rollout(x, 2).shape == (3, 2, 1, 9, 9)


def test_weights_in_double_precision_on_meshes() -> None:
    torch.manual_seed(0)
    operator = GNO(radius=0.5, width=4, kernel_width=4, layers=2)
    graph, points = Data(x=torch.randn(30, 1), pos=torch.rand(30, 2)), torch.rand(5, 2)
    single, double = Surrogate(operator), Surrogate(copy.deepcopy(operator).double())
    for ask in (
        lambda s: s(graph),
        lambda s: s.query(graph, points),
        lambda s: s.query(graph, points, graph.x[:5]),
    ):
        torch.testing.assert_close(ask(double).float(), ask(single), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [0, -1])
def test_samples_at_a_time_are_at_least_one(folder: Path, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"batch_size: got {size}, expected at least 1"):
        pdeflow.load(folder)(np.ones((2, 9, 9)), batch_size=size)


@pytest.mark.parametrize(
    ("names", "states"),
    [
        (("u",), 1),
        (("u", "a"), 1),
        (("u[-2]", "u[-1]", "u", "a"), 3),
        (("a", "u"), None),  # a is no older state, though it stands where one would
        (("u[-1]", "a", "u"), None),
        (("a",), None),
    ],
)
def test_what_is_fed_back_are_the_states_that_the_inputs_begin_with(
    names: tuple[str, ...], states: int | None
) -> None:
    count = len(names)
    named = Normalisation(names, ("u",), (0.0,) * count, (1.0,) * count, (0.0,), (1.0,))
    surrogate = Surrogate(model(in_channels=count), named)
    if states is not None:
        assert surrogate.state_channels == states
        return
    with pytest.raises(InvalidInput, match=r"(?s)begin with states of \('u',\).*Train on TrajectoryData"):
        surrogate.rollout(np.ones((1, count, 9, 9)), 2)


def test_older_states_of_several_fields() -> None:
    names, targets = ("u[-1]", "v[-1]", "u", "v", "k"), ("u", "v")
    named = Normalisation(names, targets, (0.0,) * 5, (1.0,) * 5, (0.0,) * 2, (1.0,) * 2)
    assert Surrogate(model(in_channels=5, out_channels=2), named).state_channels == 4


def test_input_is_left_alone(folder: Path) -> None:
    x = np.ones((9, 9))
    x.flags.writeable = False
    pdeflow.load(folder)(x)
    assert (x == 1).all()


def test_several_channels(tmp_path: Path) -> None:
    names = Normalisation(("a", "b"), ("u", "v", "w"), (0.0,) * 2, (1.0,) * 2, (0.0,) * 3, (1.0,) * 3)
    surrogate = pdeflow.load(pdeflow.save(model(in_channels=2, out_channels=3), tmp_path, names))
    assert surrogate(np.ones((4, 2, 9, 9))).shape == (4, 3, 9, 9)
    with pytest.raises(InvalidInput, match=r"(?s)got \(9, 9\), expected \(batch, 2, x, y\).*a, b"):
        surrogate(np.ones((9, 9)))
    one_in = pdeflow.load(pdeflow.save(model(out_channels=3), tmp_path / "other"))
    assert one_in(np.ones((9, 9))).shape == (3, 9, 9)
    assert one_in(np.ones((4, 9, 9))).shape == (4, 3, 9, 9)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ones(9), r"expected \(x, y\) or \(batch, x, y\) or \(batch, 1, x, y\)"),
        (np.ones((1, 1, 1, 9, 9)), r"expected \(x, y\)"),
        (np.ones((2, 3, 9, 9)), "1 channels in axis 1, not 3"),
        (np.ones((2, 3, 9, 9)), r"It was trained to read a, in this order\.$"),
        (np.ones((3, 9)), "at least 4 points for 4 modes"),
        (np.full((9, 9), np.nan), "81 values that are NaN"),
        (np.ones((9, 9), complex), "real numbers"),
        (torch.ones(9, 9, dtype=torch.cfloat), "real numbers"),
        (np.array([["a"] * 9] * 9), "real numbers"),
        ([[1.0] * 9] * 9, "a NumPy array or a torch tensor"),
    ],
)
def test_unusable_input(folder: Path, value: Any, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        pdeflow.load(folder)(value)


def test_columns_of_a_graph_are_named(tmp_path: Path) -> None:
    statistics = Normalisation(("a", "g"), ("u",), (0.0,) * 2, (1.0,) * 2, (0.0,), (1.0,))
    operator = GNO(radius=2.0, width=4, kernel_width=4, layers=1, in_channels=2)
    surrogate = pdeflow.load(pdeflow.save(operator, tmp_path, statistics))
    graph = Data(x=torch.ones(9, 1), pos=torch.rand(9, 2))
    said = r"graph\.x: got \(9, 1\), expected \(nodes, 2\)\.\nIt was trained to read a, g, in this order\.$"
    for call in (lambda: surrogate(graph), lambda: surrogate.query(graph, torch.rand(3, 2))):
        with pytest.raises(InvalidInput, match=said):
            call()


def test_a_folder_that_is_not_there_names_the_nearest(folder: Path) -> None:
    (folder.parent / "kepp").mkdir()  # which holds none
    shutil.copytree(folder, folder.parent / "keppt" / "surrogate")
    with pytest.raises(
        InvalidInput, match=rf"Nearest: ({folder}, {folder.parent}/keppt|.*/keppt, .*/kept)\."
    ):
        pdeflow.load(folder.parent / "kep")
    with pytest.raises(InvalidInput, match=r"surrogate\.json\.\nGive a folder"):
        pdeflow.load(folder.parent / "kepp")


def test_saving_again_replaces(folder: Path) -> None:
    pdeflow.save(model(width=6), folder)
    assert pdeflow.load(folder).model.settings["width"] == 6
    assert pdeflow.load(folder).normalisation is None


def test_unusable_models(tmp_path: Path) -> None:
    class Own(FNO):
        pass

    with pytest.raises(InvalidInput, match=r"got 'Own', expected one of pdeflow.operators or pdeflow.fields"):
        pdeflow.save(Own(modes=[4]), tmp_path)
    broken = model()
    with torch.no_grad():
        next(broken.parameters()).fill_(float("nan"))
    with pytest.raises(InvalidInput, match="finite weights"):
        pdeflow.save(broken, tmp_path)
    with pytest.raises(InvalidInput, match="model's 2 channels"):
        pdeflow.save(model(in_channels=2), tmp_path, STATISTICS)
    assert not list(tmp_path.iterdir())


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"surrogate.json(?s:.)*pdeflow.save"):
        pdeflow.load(tmp_path / "none")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(InvalidInput, match="training has not ended"):
        pdeflow.load(tmp_path)


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "surrogate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", ["os.system", "Operator", "builtins.eval", "__class__", "", 3, None])
def test_only_operators_are_made(folder: Path, name: Any) -> None:
    edit(folder, operator=name)
    with pytest.raises(UnsafeFile, match=r"expected one of .*FNO, .*TFNO"):
        pdeflow.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"modes": [4, 4], "width": 5, "layers": 2}},
        {"settings": {"modes": [4, 4], "width": 4, "layers": 2, "extra": 1}},
        {"settings": {"width": 4}},
        {"settings": {"modes": [4, 4], "width": 10**6, "layers": 2}},
        {"settings": {"modes": "ab"}},
        {"settings": [1]},
        {"normalisation": {"input_mean": [1.0]}},
        {"normalisation": {**STATISTICS.to_dict(), "input_std": [0.0]}},
        {"grid": {"axes": ["x"]}},
        {"grid": 3},
        {"metrics": 5},
        {"format": 99},
    ],
)
def test_settings_that_do_not_fit(folder: Path, changes: dict[str, Any]) -> None:
    edit(folder, **changes)
    with pytest.raises(CorruptFile, match=r"kept"):
        pdeflow.load(folder)


def test_damaged_files(folder: Path) -> None:
    weights, facts = folder / "model.safetensors", folder / "surrogate.json"
    good, text = weights.read_bytes(), facts.read_text()
    flipped = bytearray(good)
    flipped[-5] ^= 1
    for content in (b"", good[:100], good[:-1], bytes(flipped)):
        weights.write_bytes(content)
        with pytest.raises(CorruptFile, match=r"model\.safetensors"):
            pdeflow.load(folder)
    # A checksum that fits does not make the content fit.
    for content in (b"", b"\xff" * 64, good[:-1]):
        weights.write_bytes(content)
        edit(folder, sha256=hashlib.sha256(content).hexdigest())
        with pytest.raises(CorruptFile):
            pdeflow.load(folder)
    weights.unlink()
    with pytest.raises(CorruptFile, match="not there"):
        pdeflow.load(folder)
    for content in ("", "{", "[]", "3", text[: len(text) // 2], "{}"):
        facts.write_text(content)
        with pytest.raises(CorruptFile, match=r"surrogate\.json"):
            pdeflow.load(folder)


def with_variance(seed: int, channels: int = 1) -> MeanVariance:
    torch.manual_seed(seed)
    return MeanVariance(FNO(modes=[4, 4], width=4, layers=1, out_channels=2 * channels))


@pytest.mark.parametrize(
    "made",
    [
        with_variance(0),
        Ensemble([model(), FNO(modes=[4, 4], width=4, layers=2)]),
        Ensemble([with_variance(0), with_variance(1), with_variance(2)]),
    ],
    ids=["variance", "ensemble", "ensemble of variances"],
)
def test_means_and_deviations_are_kept(made: GaussianOperator, tmp_path: Path) -> None:
    surrogate = pdeflow.load(pdeflow.save(made, tmp_path, STATISTICS, grid=GRID))
    assert surrogate.std_names == ("u_std",)
    assert "predict_with_std" in (tmp_path / "README.md").read_text()
    x = torch.randn(5, 1, 9, 9)
    with torch.no_grad():
        wanted = made.distribution((x - 7.0) / 4.5)
    mean, std = surrogate.predict_with_std(x, batch_size=2)
    torch.testing.assert_close(mean, 0.4 + 0.3 * wanted.mean)
    torch.testing.assert_close(std, 0.3 * wanted.variance.sqrt())
    assert torch.equal(surrogate(x, batch_size=2), mean)
    for given, shown in ((x[:, 0], (mean[:, 0], std[:, 0])), (x[3, 0], (mean[3, 0], std[3, 0]))):
        for found, value in zip(surrogate.predict_with_std(given), shown):
            torch.testing.assert_close(found, value)
    arrays = surrogate.predict_with_std(x.double().numpy())
    assert [array.dtype for array in arrays] == [np.float64] * 2
    assert [len(part) for part in surrogate.predict_with_std(x[:0])] == [0, 0]


def test_several_channels_with_deviations(tmp_path: Path) -> None:
    surrogate = pdeflow.load(pdeflow.save(with_variance(0, channels=3), tmp_path))
    assert surrogate.std_names == ("output0_std", "output1_std", "output2_std")
    for given, shape in ((np.ones((9, 9)), (3, 9, 9)), (np.ones((2, 9, 9)), (2, 3, 9, 9))):
        assert [part.shape for part in surrogate.predict_with_std(given)] == [shape] * 2


def test_no_deviation_where_none_is_known(folder: Path) -> None:
    surrogate = pdeflow.load(folder)
    assert surrogate.std_names == ()
    with pytest.raises(InvalidInput, match="predict_with_std: got 'FNO', expected an ensemble"):
        surrogate.predict_with_std(np.ones((9, 9)))


@pytest.mark.parametrize("members", [0, -1, 10**12, "2", 2])
def test_members_that_the_weights_do_not_have(folder: Path, members: Any) -> None:
    facts = json.loads((folder / "surrogate.json").read_text())
    (folder / "surrogate.json").write_text(json.dumps(facts | {"members": members}))
    with pytest.raises(CorruptFile, match="do not fit"):
        pdeflow.load(folder)


def test_members_are_made_only_where_there_are_weights_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = Ensemble([model(), model()])
    folder = pdeflow.save(ensemble, tmp_path)
    facts = json.loads((folder / "surrogate.json").read_text())
    tensors = len(ensemble.state_dict())
    assert tensors > 4
    (folder / "surrogate.json").write_text(json.dumps(facts | {"members": tensors}))
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(
        stored_operator,
        "operator_classes",
        lambda: {"FNO": lambda **given: made.append(given) or FNO(**given)},
    )
    with pytest.raises(CorruptFile, match=rf"members: got {tensors}, expected {tensors} stored tensors over"):
        pdeflow.load(folder)
    assert len(made) == 1


def test_a_head_of_ones_own_is_not_stored_as_another() -> None:
    class Exponential(MeanVariance):
        """Reads variances otherwise."""

    assert is_storable(with_variance(0))
    assert not is_storable(Exponential(model(out_channels=2)))
    assert not is_storable(Ensemble([Exponential(model(out_channels=2)), Exponential(model(out_channels=2))]))
