"""Boundary conditions and outputs of a recipe: what is solved, stored, read and verified."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from the_well.data import WellDataset

from pdeflow.data import MeshReader, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.generate.rebuild import NotRebuilt, read_number, rebuild_problem
from pdeflow.generate.verify import verify
from pdeflow.linalg import Auto
from pdeflow.problems import (
    ComplexHelmholtz,
    Constant,
    ConvectionDiffusion,
    Darcy,
    Dirichlet,
    GaussianField,
    GrayScott,
    Helmholtz,
    ImpedanceHelmholtz,
    LogUniform,
    Neumann,
    NonlinearPoisson,
    PlaneWave,
    Poisson,
    PolygonDiffusion,
    Problem,
    Robin,
    Uniform,
)

WALL, OPEN, PERIODIC = 0, 1, 2
SOURCE = GaussianField(std=1.0)
FLOATING = {"x": Neumann(), "y": Neumann()}

# problem, kinds of the sides in The Well's numbers
PROBLEMS = {
    "mixed": (
        Poisson(conditions={"x-": Dirichlet(1.0), "x+": Robin(2.0, 0.5), "y": Neumann(-0.3)}),
        [[WALL, OPEN], [WALL, WALL]],
    ),
    "strip": (
        Darcy(source=SOURCE, conditions={"y": Neumann()}, periodic=["x"]),
        [[PERIODIC] * 2, [WALL] * 2],
    ),
    "floating": (Darcy(source=SOURCE, conditions=FLOATING), [[WALL] * 2] * 2),
    "fluxes": (Poisson(conditions={"x": Neumann(1.5), "y": Neumann()}), [[WALL] * 2] * 2),
    "periodic": (Poisson(3, periodic=["x", "y", "z"]), [[PERIODIC] * 2] * 3),
    "wind": (
        ConvectionDiffusion(2, LogUniform(0.2, 0.5), periodic=["x", "y"]),
        [[PERIODIC] * 2] * 2,
    ),
    "helmholtz": (Helmholtz(conditions=FLOATING), [[WALL] * 2] * 2),
    "complex": (
        ComplexHelmholtz(2, Uniform(4.0, 8.0), conditions={"x-": Dirichlet(1 + 2j), "x+": Robin(-3j, 0.1j)}),
        [[WALL, OPEN], [WALL, WALL]],
    ),
    "waveguide": (
        ImpedanceHelmholtz(2, Uniform(4.0, 8.0), conditions={"y": Dirichlet()}),
        [[OPEN] * 2, [WALL] * 2],
    ),
    "newton": (NonlinearPoisson(conditions={"x": Neumann(0.1)}), [[WALL] * 2] * 2),
}


def made(path: Path, problem: Problem, **changes) -> Path:
    settings = {"resolution": 15, "samples": 4, "chain": 3, "seed": 3} | changes
    report = generate(Recipe(problem, **settings), path / "d.h5", progress=False)
    assert report.failed == 0, report.text()
    return path / "d.h5"


def results(path: Path) -> dict[str, bool | None]:
    return {check.name: check.passed for check in verify(path).checks}


@pytest.mark.parametrize("case", PROBLEMS)
def test_conditions_are_stored_and_the_residuals_are_theirs(tmp_path: Path, case: str) -> None:
    problem, kinds = PROBLEMS[case]
    path = made(tmp_path, problem)
    sample = WellDataset(path=str(tmp_path), normalize_time_grid=False)[0]
    np.testing.assert_array_equal(sample["boundary_conditions"], kinds)
    assert results(path) == {"checksum": True, "parameters": True, "residual": True}, verify(path).text()
    field = problem.stored_fields[0]
    with h5py.File(path, "r+") as file:
        u = file[f"t0_fields/{field}"][2]
        u[1, (0,) * problem.domain.dim] += 0.01 * np.abs(u).max()  # a node of a side
        file[f"t0_fields/{field}"][2] = u
    assert results(path)["residual"] is False


def test_what_is_open_up_to_a_constant_has_integral_0(tmp_path: Path) -> None:
    with WellReader(made(tmp_path, PROBLEMS["fluxes"][0], dtype="float64")) as file:
        u, f = file.read("u", slice(None))[:, 1], file.read("f", slice(None))
    weights = np.ones(15)
    weights[[0, -1]] = 0.5
    weights /= weights.sum()
    assert np.abs(np.einsum("nij,i,j->n", u, weights, weights)).max() < 1e-12
    # Inside, -lap u is the source less its mean and the 3 that come in.
    h = 1 / 14
    laplacian = (
        u[:, 2:, 1:-1] + u[:, :-2, 1:-1] + u[:, 1:-1, 2:] + u[:, 1:-1, :-2] - 4 * u[:, 1:-1, 1:-1]
    ) / h**2
    mean = np.einsum("nij,i,j->n", f, weights, weights)
    wanted = f[:, 1:-1, 1:-1] - (mean + 3.0)[:, None, None]
    np.testing.assert_allclose(-laplacian, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("problem", [Poisson(2), PROBLEMS["floating"][0]], ids=["values", "floating"])
def test_a_constant_that_the_equation_does_not_see_is_found(tmp_path: Path, problem: Problem) -> None:
    path = made(tmp_path, problem)
    with h5py.File(path, "r+") as file:
        file["t0_fields/u"][:, 1] += 1.0
    assert results(path)["residual"] is False
    assert "that its conditions give" in verify(path).text()


@pytest.mark.parametrize("settings", [{"solver": Auto()}, {"order": "similar", "guess": "neighbour"}])
def test_a_pilot_and_a_sequence_solve_what_is_open_up_to_a_constant(tmp_path: Path, settings: dict) -> None:
    assert results(made(tmp_path, PROBLEMS["floating"][0], **settings))["residual"] is True


def test_a_source_that_does_not_count_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one that varies"):
        made(tmp_path, Darcy(conditions=FLOATING))


@pytest.mark.parametrize("case", PROBLEMS)
def test_the_record_gives_back_the_conditions(case: str) -> None:
    problem = PROBLEMS[case][0]
    recipe = json.loads(json.dumps(Recipe(problem, resolution=15, samples=2).describe()))
    again = rebuild_problem(recipe)
    assert again.statement() == problem.statement()
    assert again.domain.periodic == problem.domain.periodic


def test_conditions_with_formulas_are_not_rebuilt() -> None:
    problem = Poisson(conditions={"x-": Dirichlet(lambda at, p: at.y)})
    recipe = json.loads(json.dumps(Recipe(problem, resolution=15).describe()))
    with pytest.raises(NotRebuilt, match="a formula, not a number"):
        rebuild_problem(recipe)


@pytest.mark.parametrize("text", ["Symbol('x')", "__import__('os')", "print(1)", "Float(print(1))", "Add("])
def test_numbers_are_read_and_never_evaluated(text: str) -> None:
    assert read_number(
        "Add(Float('2.0', precision=53), Mul(Integer(-1), Float('1.5', precision=53), I))"
    ) == (2 - 1.5j)
    with pytest.raises((ValueError, SyntaxError)):
        read_number(text)


def test_outputs_of_a_grid(tmp_path: Path) -> None:
    path = made(tmp_path, Darcy(source=SOURCE), outputs=["a", "u"])
    with WellReader(path) as file:
        assert (list(file.fields), list(file.constant_fields)) == (["u"], ["a"])
        u = file.read("u", slice(None))
    assert results(path) == {"checksum": True, "parameters": True, "residual": True}
    (tmp_path / "all").mkdir()
    with WellReader(made(tmp_path / "all", Darcy(source=SOURCE))) as file:
        assert sorted(file.constant_fields) == ["a", "f"]
        np.testing.assert_array_equal(file.read("u", slice(None)), u)


def test_outputs_may_leave_out_all_parameters(tmp_path: Path) -> None:
    path = made(tmp_path, Helmholtz(source=PlaneWave(1.0, {"x": 1.0})), outputs=["u"])
    with WellReader(path) as file:
        assert (list(file.fields), list(file.constant_fields), list(file.scalars)) == (["u"], [], [])
    assert results(path) == {"checksum": True, "parameters": True, "residual": True}
    assert "none are stored" in verify(path).text()
    assert len(WellDataset(path=str(tmp_path), normalize_time_grid=False)) == 4


def test_a_residual_that_takes_more_than_is_stored_is_not_checked(tmp_path: Path) -> None:
    path = made(tmp_path, ComplexHelmholtz(2, Uniform(4.0, 8.0)), outputs=["u_real", "k"])
    assert results(path) == {"checksum": True, "parameters": True, "residual": None}
    assert "it takes u_imag too" in verify(path).text()


def test_outputs_of_an_equation_in_time(tmp_path: Path) -> None:
    recipe = Recipe(
        GrayScott(length=0.2), resolution=20, samples=2, stop=0.01, instants=3, rtol=1e-5, outputs=["v"]
    )
    generate(recipe, tmp_path / "d.h5", progress=False)
    with WellReader(tmp_path / "d.h5") as file:
        assert list(file.fields) == ["v"]
    assert results(tmp_path / "d.h5") == {"checksum": True, "parameters": True, "solution": True}


def test_outputs_on_meshes(tmp_path: Path) -> None:
    pytest.importorskip("skfem", reason="needs scikit-fem: pip install 'pdeflow[meshes]'")
    path = made(tmp_path, PolygonDiffusion(), outputs=["u"], resolution=40, samples=2)
    with MeshReader(path) as file:
        assert (file.fields, file.constant_fields, file.scalars) == (("u",), (), ())
    assert results(path) == {"checksum": True, "parameters": True, "residual": True}


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (["w"], "Known: a, f, u"),
        (["a"], "at least one unknown: u"),
        ([], "at least one unknown: u"),
        (["u", "u"], "every name once"),
        (["U"], "Nearest: u"),
    ],
)
def test_outputs_that_are_refused(outputs: list[str], words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        Recipe(Darcy(source=SOURCE), resolution=15, outputs=outputs)
    assert caught.value.name == "outputs"


def test_a_number_for_all_samples_is_no_output_and_is_stored_all_the_same(tmp_path: Path) -> None:
    problem = Poisson(source=Constant(2.0))
    with pytest.raises(InvalidInput, match="Known: u"):
        Recipe(problem, outputs=["u", "f"])
    with WellReader(made(tmp_path, problem, outputs=["u"])) as file:
        assert file.attributes["f"] == 2.0
