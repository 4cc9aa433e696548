"""A field written, read back, asked at points, exported, and read from files that should not be read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch

import pdeflow
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile
from pdeflow.exported_program import exported, facts
from pdeflow.fields import (
    MLP,
    Field,
    FourierFeatures,
    Gaussians,
    HardConditions,
    JoinedFields,
    Lagrangian,
    PirateNet,
    Separable,
    Subdomains,
    TimeWindows,
)
from pdeflow.operators import FNO
from pdeflow.problems import Ball, Box, Cylinder, Polygon

X, T = sympy.symbols("x t", real=True)
NAMES = Normalisation(("x", "t"), ("u",), (0.0, 0.0), (1.0, 1.0), (0.0,), (1.0,))
LOWER, UPPER = [-1.0, 0.0], [1.0, 0.5]


def made(kind: str = "hard") -> Field:
    torch.manual_seed(0)
    if kind == "gaussians":
        return Gaussians(LOWER, UPPER, periodic=(True, False), gaussians=7).double()
    if kind == "fourier":
        field = FourierFeatures(LOWER, UPPER, modes=(1, 1), periods=(1.0, 2.0)).double()
        field.rescale([1.0, 0.5, 0.4, 0.3, 0.2])
        return field
    if kind == "full":
        return Gaussians(LOWER, UPPER, gaussians=7, covariance="full").double()
    if kind in ("separable", "pirate"):
        make = Separable if kind == "separable" else PirateNet
        return make(LOWER, UPPER, periodic=(True, False)).double()
    if kind == "joined":
        parts = MLP(LOWER, UPPER, widths=(5,)), MLP(LOWER[:1], UPPER[:1], widths=(4,))
        one, zero, at = sympy.Integer(1), sympy.Integer(0), {"x": X, "t": T}
        bounds = [(-math.inf, math.inf), (0.5, 2.0)]
        return HardConditions(JoinedFields(parts), [T, zero], [X, one], at, bounds).double()
    network: Field = MLP(LOWER, UPPER, 2 if kind == "two" else 1, widths=(5,)).double()
    if kind == "windows":
        network = TimeWindows(LOWER, UPPER, windows=3, widths=(5,)).double().eval()
        network.train_window(1)
    elif kind == "lagrangian":
        network = Lagrangian(LOWER, UPPER, widths=(5,)).double()
        network.follow([3.0])
    elif kind == "subdomains":
        network = Subdomains(LOWER, UPPER, subdomains=[2, [0.1]], widths=(5,)).double()
    elif kind != "hard":
        return network
    return HardConditions(network, [sympy.exp(-0.1 * T) * sympy.cos(X)], [T * (1 - X**2)], {"x": X, "t": T})


def points(n: int = 6) -> torch.Tensor:
    torch.manual_seed(1)
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in (LOWER, UPPER))
    return low + (high - low) * torch.rand(n, 2, dtype=torch.float64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return pdeflow.save(made(), tmp_path / "kept", NAMES, metrics={"valid/loss": 1e-9})


@pytest.mark.parametrize(
    "kind",
    [
        "hard",
        "mlp",
        "gaussians",
        "full",
        "separable",
        "pirate",
        "fourier",
        "two",
        "joined",
        "windows",
        "subdomains",
        "lagrangian",
    ],
)
def test_round_trip(kind: str, tmp_path: Path) -> None:
    field = made(kind)
    again = pdeflow.load(pdeflow.save(field, tmp_path / kind))
    assert isinstance(again, pdeflow.FieldSurrogate)
    assert again.dtype == torch.float64
    wanted = [(0, 0), (2, 1)]
    expected, found = (f.derivatives(points(), wanted) for f in (field, again.model))
    for index in wanted:
        torch.testing.assert_close(found[index], expected[index], rtol=1e-13, atol=1e-13)


def test_waves_in_single_precision(tmp_path: Path) -> None:
    """Their factors are stored in double precision, whatever that of the weights is."""
    torch.manual_seed(0)
    field, x = FourierFeatures(LOWER, UPPER, modes=(2, 1), widths=(4,)), points()
    field.rescale([1.0 / (k + 3) for k in range(len(field.wave_vectors))])
    again = pdeflow.load(pdeflow.save(field, tmp_path / "kept"))
    assert again.dtype == torch.float32
    assert again.model.scales.dtype == torch.float64
    expected, index = field.double().derivatives(x, [(2, 1)])[2, 1], (2, 1)
    torch.testing.assert_close(again.model.double().derivatives(x, [index])[index], expected, rtol=0, atol=0)
    single = again.model.float().derivatives(x.float(), [index])[index]
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-4, atol=1e-4)


def test_points_of_any_shape_are_answered_in_kind(folder: Path) -> None:
    u, x = pdeflow.load(folder), points(12)
    expected = made().at(x)[:, 0].detach()
    torch.testing.assert_close(u(x), expected)
    torch.testing.assert_close(u(x.reshape(3, 4, 2)), expected.reshape(3, 4))
    torch.testing.assert_close(u(x[0]), expected[0])
    torch.testing.assert_close(u(x, batch_size=5), expected)
    assert u(x[:0]).shape == (0,)
    single = u(x.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-6)
    array = u(x.numpy())
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, u(x).numpy())
    assert u(torch.tensor([[0, 0]])).dtype == torch.float64
    assert repr(u) == "Surrogate(MLP: x, t -> u, valid/loss 1e-09)"


def test_several_unknowns_are_the_last_axis(tmp_path: Path) -> None:
    u = pdeflow.load(pdeflow.save(made("two"), tmp_path))
    assert u(points(6).reshape(2, 3, 2)).shape == (2, 3, 2)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (np.zeros((4, 3)), r"shape of points: got \(4, 3\), expected \(..., 2\): the coordinates x, t"),
        (np.array([[0.0, 0.1], [0.0, np.nan]]), "points: got '1 that are NaN or infinite'"),
        (np.array([[0.0, 0.1], [0.0, 0.6]]), r"points: got 't = 0.6', expected t from 0 to 0.5(?s:.*)1 of 2"),
        (np.array([["a", "b"]]), "real numbers"),
    ],
)
def test_wrong_points(folder: Path, given: np.ndarray, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        pdeflow.load(folder)(given)


def test_points_without_a_value_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sides meet a quotient may be 0 / 0."""
    surrogate, given = pdeflow.load(folder), points(3).numpy()
    monkeypatch.setattr(
        surrogate.model, "at", lambda x: torch.where(x[:, :1] == x[1, 0], torch.nan, x[:, :1])
    )
    with pytest.raises(InvalidInput, match=r"1 of 3 lie on corners or edges"):
        surrogate(given)


L_SHAPE = Polygon.of([(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)])
DOMAINS = {
    "L": (L_SHAPE, [0.3, -0.2], [[0, 0], [1, 0], [0.5, 0], [0, -0.7], [-1, -1], [0.2, 0.3]]),
    "ring": (
        Ball(1.0, "outer", x=0.0, y=0.0) - Ball(0.3, "inner", x=0.1, y=0.0),
        [0.2, 0.1],
        [[0.6, 0.8], [-0.28, 0.96], [0.4, 0.0], [0.1, 0.3], [0.0, 0.5]],
    ),
    "disc in time": (
        Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.0, 2.0)),
        [0.8, 0.7, 1.0],
        [[0.6, 0.8, 0.0], [0.6, -0.8, 2.0], [0.0, 0.0, 1.0]],
    ),
}


@pytest.mark.parametrize("name", DOMAINS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_outside_of_a_domain_are_refused(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    domain, outside, inside = DOMAINS[name]
    field = MLP(domain.lower, domain.upper, widths=(5,)).to(dtype)
    u = pdeflow.load(pdeflow.save(field, tmp_path, domain=domain))
    given = torch.tensor(inside, dtype=dtype)
    torch.testing.assert_close(u(given), field.at(given)[:, 0].detach())
    told = re.escape(f"points: got '({', '.join(f'{x:g}' for x in outside)})', expected points of {domain}")
    with pytest.raises(InvalidInput, match=f"{told}(?s:.*)1 of {len(inside) + 1} points lie outside"):
        u(torch.cat([given, torch.tensor([outside], dtype=dtype)]))
    assert f"what lies in {domain}" in (tmp_path / "README.md").read_text()


def test_a_box_is_all_of_itself(tmp_path: Path) -> None:
    box = Box(x=(-1.0, 1.0), t=(0.0, 0.5), periodic=["x"])
    u = pdeflow.load(pdeflow.save(made("gaussians"), tmp_path, NAMES, domain=box))
    assert isinstance(u, pdeflow.FieldSurrogate)
    assert u.domain is None


def test_domains_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"domain: got .*Cylinder.*, expected one of 2 coordinates"):
        pdeflow.save(made(), tmp_path, domain=DOMAINS["disc in time"][0])
    with pytest.raises(InvalidInput, match="FNO is no field"):
        pdeflow.save(FNO(modes=[4, 4], width=4, layers=1), tmp_path, domain=L_SHAPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"signed_distance": "__import__('os').system('true')"}, UnsafeFile),
        ({"signed_distance": "Symbol('z')"}, UnsafeFile),
        ({"signed_distance": None}, UnsafeFile),
        ({"coordinates": ["x", "y; import os"]}, CorruptFile),
        ({"coordinates": ["x", "y", "z"]}, CorruptFile),
        ({"words": None}, CorruptFile),
        ({"else": 1}, CorruptFile),
    ],
)
def test_domains_that_are_none(tmp_path: Path, change: dict[str, Any], error: type[Exception]) -> None:
    field = MLP(L_SHAPE.lower, L_SHAPE.upper, widths=(5,))
    folder = pdeflow.save(field, tmp_path, domain=L_SHAPE)
    stored = json.loads((folder / "surrogate.json").read_text())["domain"]
    with pytest.raises(error):
        pdeflow.load(changed(folder, {"domain": stored | change}))


def test_an_axis_that_wraps_around_has_no_outside(tmp_path: Path) -> None:
    u = pdeflow.load(pdeflow.save(made("gaussians"), tmp_path, NAMES))
    x = points()
    torch.testing.assert_close(u(x + torch.tensor([2.0, 0.0])), u(x))
    with pytest.raises(InvalidInput, match=r"t from 0 to 0\.5"):
        u(x + torch.tensor([0.0, 1.0]))


def test_nothing_is_marched(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="Time is one of its coordinates"):
        pdeflow.load(folder).rollout(points(), 3)


def test_the_card_says_how_to_ask(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    for said in (
        "values = u(points)",
        "x, t of each point",
        "t from 0 to 0.5",
        "met by the form of the field",
    ):
        assert said in card


@pytest.mark.parametrize("kind", ["hard", "gaussians", "full", "separable", "pirate", "fourier", "windows"])
def test_an_exported_field_takes_any_number_of_points(kind: str, tmp_path: Path) -> None:
    surrogate = pdeflow.load(pdeflow.save(made(kind), tmp_path, NAMES))
    program, x = exported(surrogate).module(), points(9)
    for n in (1, 2, 9):
        torch.testing.assert_close(program(x[:n])[:, 0], surrogate(x[:n]))
    said = facts(surrogate)
    assert (said["inputs"], said["outputs"], said["dtype"]) == (["x", "t"], ["u"], "float64")
    assert said["periodic"] == list(surrogate.model.periodic)
    with pytest.raises(InvalidInput, match="a field is not on a grid"):
        exported(surrogate, [5, 5])


def changed(folder: Path, change: dict[str, Any]) -> Path:
    path = folder / "surrogate.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return folder


@pytest.mark.parametrize(
    ("formulas", "error"),
    [
        ({"lift": ["__import__('os').system('true')"]}, UnsafeFile),
        ({"lift": ["Symbol('y')"]}, UnsafeFile),
        ({"lift": []}, CorruptFile),
        ({"lift": None}, CorruptFile),
        ({"coordinates": ["x", "t; import os"]}, CorruptFile),
        ({"else": []}, CorruptFile),
    ],
)
def test_formulas_that_are_none(folder: Path, formulas: dict[str, Any], error: type[Exception]) -> None:
    stored = json.loads((folder / "surrogate.json").read_text())["hard_conditions"]
    with pytest.raises(error):
        pdeflow.load(changed(folder, {"hard_conditions": stored | formulas}))


def test_formulas_of_an_operator(tmp_path: Path) -> None:
    folder = pdeflow.save(FNO(modes=[4, 4], width=4, layers=1), tmp_path)
    with pytest.raises(CorruptFile, match="FNO is no field"):
        pdeflow.load(changed(folder, {"hard_conditions": {"lift": [], "distance": [], "coordinates": []}}))


def test_a_formula_that_cannot_be_stored_is_told_before_anything_is_written(tmp_path: Path) -> None:
    field = HardConditions(made("mlp"), [sympy.Max(X, 0)], [T], {"x": X, "t": T})
    with pytest.raises(InvalidInput, match=r"pdeflow\.fields"):
        pdeflow.save(field, tmp_path / "kept", NAMES)
    assert not (tmp_path / "kept").exists()


def test_weights_that_are_damaged(folder: Path) -> None:
    stored = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(stored[:-4])
    with pytest.raises(CorruptFile, match="checksum"):
        pdeflow.load(folder)
    changed(folder, {"sha256": hashlib.sha256(stored[:-4]).hexdigest()})
    with pytest.raises(CorruptFile, match="do not fit"):
        pdeflow.load(folder)
