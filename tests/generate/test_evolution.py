"""Equations in time, from a recipe to a file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from pdeflow.data import GridSamples, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, estimate, generate, worker
from pdeflow.generate.chain import solve_chain
from pdeflow.generate.plan import Plan
from pdeflow.linalg import CG, GCRODR, Auto, Jacobi
from pdeflow.problems import (
    AllenCahn,
    Burgers,
    Constant,
    D,
    Evolution,
    GaussianBumps,
    GaussianField,
    GrayScott,
    Heat,
    HeatConduction,
    Parameter,
    Poisson,
    Uniform,
    etdrk4,
)
from pdeflow.problems.domain import unit_box


def small(**changes) -> Recipe:
    settings = {
        "problem": Burgers(Uniform(0.05, 0.2)),
        "resolution": 32,
        "samples": 10,
        "chain": 4,
        "seed": 3,
        "stop": 0.5,
        "instants": 3,
        "rtol": 1e-5,
    }
    return Recipe(**(settings | changes))


def test_the_file_holds_the_solutions_at_their_instants(tmp_path: Path) -> None:
    """Heat, mode by mode: each decays as its eigenvalue says."""
    recipe = small(problem=Heat(2, Uniform(0.001, 0.01)), resolution=17, dtype="float64")
    report = generate(recipe, tmp_path / "h.h5", progress=False)
    assert report.failed == 0
    assert "steps a sample" in report.text()
    with WellReader(tmp_path / "h.h5") as file:
        assert not file.steady
        assert file.times.tolist() == [0.0, 0.25, 0.5]
        assert list(file.constant_fields) == []
        u, d = file.read("u", slice(None)), file.read("d", slice(None))
        assert file.read("sample", slice(None)).tolist() == list(range(10))
    assert u.shape == (10, 3, 17, 17)
    drawn = recipe.problem.sample(range(10), recipe.grid, seed=3)
    np.testing.assert_allclose(u[:, 0], drawn["u0"].numpy(), rtol=0, atol=1e-12)
    k = 2 * math.pi * np.fft.fftfreq(17, 1 / 17)
    squares = k[:, None] ** 2 + k**2
    for row in range(10):
        for column, t in enumerate((0.0, 0.25, 0.5)):
            decayed = np.fft.ifft2(np.exp(-d[row] * squares * t) * np.fft.fft2(u[row, 0])).real
            np.testing.assert_allclose(u[row, column], decayed, rtol=0, atol=1e-12)


def test_workers_and_a_resumed_run_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    whole = (tmp_path / "one.h5").read_bytes()
    generate(small(), tmp_path / "two.h5", workers=2, progress=False)
    assert (tmp_path / "two.h5").read_bytes() == whole

    solve, path = worker.solve_chain, tmp_path / "cut.h5"

    def stops_at_the_last(recipe: Recipe, chain: int, *more):
        if chain == 2:
            raise KeyboardInterrupt
        return solve(recipe, chain, *more)

    monkeypatch.setattr(worker, "solve_chain", stops_at_the_last)
    with pytest.raises(KeyboardInterrupt):
        generate(small(), path, progress=False)
    monkeypatch.setattr(worker, "solve_chain", solve)
    assert generate(small(), path, progress=False).resumed == 8
    assert path.read_bytes() == whole


def test_training_reads_the_map_from_the_first_instant_to_the_last(tmp_path: Path) -> None:
    generate(small(dtype="float64"), tmp_path / "b.h5", progress=False)
    with WellReader(tmp_path / "b.h5") as file:
        batch = GridSamples([file], np.arange(10), inputs=["u", "nu"], targets=["u"])[torch.tensor([4])]
        u, nu = file.read("u", [4])[0], file.read("nu", [4])[0]
    torch.testing.assert_close(batch["input"][0, 0], torch.as_tensor(u[0]), check_dtype=False)
    torch.testing.assert_close(batch["target"][0, 0], torch.as_tensor(u[-1]), check_dtype=False)
    assert float(batch["input"][0, 1].mean()) == pytest.approx(nu)


class Growing(Evolution):
    """u_t = nu u_xx + u^2: some of the samples blow up."""

    domain = unit_box(1, periodic=True)
    nu = Parameter(Constant(0.01))
    u0 = Parameter(GaussianField(std=1.0))

    def rate(self, u, p):
        return p.nu * D(u, "x", 2) + u**2


def test_samples_that_blow_up_are_stored_with_their_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 1024)
    report = generate(small(problem=Growing(), stop=1.0, rtol=1e-4), tmp_path / "g.h5", progress=False)
    assert 0 < report.failed < 10
    with WellReader(tmp_path / "g.h5") as file:
        u, status = file.read("u", slice(None)), file.read("status", slice(None))
    assert np.isfinite(u[:, 0]).all()
    assert np.isnan(u[status != 0, 1:]).all()
    assert np.isfinite(u[status == 0]).all()


def spots(**changes) -> Recipe:
    problem = GrayScott(
        length=0.25,
        initial_u=GaussianBumps(1.0, 0.5, (1, 3), (0.02, 0.04)),
        initial_v=GaussianBumps(0.0, 0.25, (1, 3), (0.02, 0.04)),
    )
    return small(**({"problem": problem, "resolution": 20, "samples": 5, "stop": 10.0} | changes))


def test_the_file_holds_every_unknown(tmp_path: Path) -> None:
    recipe = spots(dtype="float64")
    assert generate(recipe, tmp_path / "g.h5", progress=False).failed == 0
    drawn = recipe.problem.sample(range(5), recipe.grid, seed=recipe.seed)
    path = recipe.problem.evolve(recipe.grid, drawn, 10.0, 3, rtol=1e-9)
    with WellReader(tmp_path / "g.h5") as file:
        assert file.fields == {"u": 0, "v": 0}
        assert (list(file.constant_fields), sorted(file.scalars)) == ([], ["F", "k"])
        assert (file.attributes["Du"], file.attributes["Dv"]) == (2e-5, 1e-5)
        assert file.attributes["equation"].count(r"\\") == 1
        found = {name: file.read(name, slice(None)) for name in ("u", "v", "F", "k")}
        names = {"inputs": ["u", "v", "F"], "targets": ["u", "v"]}
        batch = GridSamples([file], np.arange(5), **names)[torch.tensor([2])]
    for k, name in enumerate("uv"):
        assert found[name].shape == (5, 3, 20, 20)
        np.testing.assert_allclose(found[name][:, 0], drawn[f"{name}0"].numpy(), rtol=0, atol=2e-3)
        np.testing.assert_allclose(found[name], path.u[:, :, k].numpy(), rtol=0, atol=1e-5)
    for name in "Fk":
        np.testing.assert_array_equal(found[name], drawn[name].numpy())
    assert batch["input"].shape == (1, 3, 20, 20)
    starts, ends = (np.stack([found[name][2, step] for name in "uv"]) for step in (0, -1))
    np.testing.assert_allclose(batch["input"][0, :2].numpy(), starts, rtol=1e-6)
    np.testing.assert_allclose(batch["target"][0].numpy(), ends, rtol=1e-6)


def test_the_size_of_a_file_of_several_unknowns_is_foreseen(tmp_path: Path) -> None:
    generate(spots(), tmp_path / "g.h5", progress=False)
    assert estimate(spots()).bytes == pytest.approx((tmp_path / "g.h5").stat().st_size, rel=0.1)


class Burst(Evolution):
    """u_t = u^2 beside v_t = -v, which fails with it."""

    domain = unit_box(1, periodic=True)
    fields = ("u", "v")
    u0 = Parameter(Uniform(0.5, 1.5))
    v0 = Parameter(GaussianField())

    def rate(self, w, p):
        return w.u**2, -w.v


def test_a_sample_that_fails_keeps_the_start_of_every_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 1024)
    report = generate(small(problem=Burst(), stop=1.0), tmp_path / "b.h5", progress=False)
    assert 0 < report.failed < 10
    with WellReader(tmp_path / "b.h5") as file:
        u, v, status = (file.read(name, slice(None)) for name in ("u", "v", "status"))
    for values in (u, v):
        assert np.isfinite(values[:, 0]).all()
        assert np.isnan(values[status != 0, 1:]).all()
        assert np.isfinite(values[status == 0]).all()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stop": None}, "stop"),
        ({"stop": -1.0}, "stop"),
        ({"instants": 1}, "instants"),
        ({"solver": CG()}, "solver"),
        ({"preconditioner": Jacobi()}, "preconditioner"),
        ({"order": "similar"}, "order"),
        ({"problem": Poisson(1)}, "stop"),
        ({"problem": Poisson(1), "stop": None}, "instants"),
    ],
)
def test_keys_of_another_kind_of_equation_are_refused(changes: dict, named: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        small(**changes)
    assert caught.value.name == named


def test_a_parabolic_equation_takes_a_method_for_its_systems(tmp_path: Path) -> None:
    recipe = small(problem=HeatConduction(1), resolution=17, stop=0.05, rtol=1e-3, samples=2, dtype="float64")
    generate(recipe, tmp_path / "usual.h5", progress=False)
    chosen = dataclasses.replace(recipe, solver=GCRODR(), preconditioner=Jacobi())
    generate(chosen, tmp_path / "chosen.h5", progress=False)
    with WellReader(tmp_path / "usual.h5") as one, WellReader(tmp_path / "chosen.h5") as two:
        usual, other = one.read("u", slice(None)), two.read("u", slice(None))
    np.testing.assert_allclose(usual, other, rtol=0, atol=1e-4 * np.abs(usual).max())
    assert (usual != other).any()
    for changes in ({"solver": Auto()}, {"order": "similar"}):
        with pytest.raises(InvalidInput) as caught:
            dataclasses.replace(recipe, **changes)
        assert caught.value.name == next(iter(changes))


@pytest.mark.parametrize(
    "change", [{"stop": 0.4}, {"instants": 5}, {"problem": AllenCahn(1, Uniform(0.05, 0.1))}]
)
def test_fingerprint_changes_with_all_that_decides_a_sample(change: dict) -> None:
    assert dataclasses.replace(small(), **change).fingerprint() != small().fingerprint()
    assert small().fingerprint() == small().fingerprint()


SHIPPED = [
    "advection",
    "allen_cahn",
    "burgers",
    "fisher",
    "gray_scott",
    "heat",
    "heat_conduction",
    "korteweg_de_vries",
    "kuramoto_sivashinsky",
    "navier_stokes",
    "sine_burgers",
]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_recipe_that_is_shipped_runs(pdeflow_recipe, tmp_path: Path, name: str) -> None:
    recipe = pdeflow_recipe(name)
    short = dataclasses.replace(recipe, samples=2, stop=recipe.stop / 50, instants=3)
    assert generate(short, tmp_path / "s.h5", progress=False).failed == 0


@pytest.fixture
def pdeflow_recipe():
    from pdeflow.cli.generate import parse_recipe

    root = Path(__file__).parents[2] / "datasets"
    return lambda name: parse_recipe(["-c", str(root / name / "recipe.yaml")])


def steep() -> Recipe:
    """Steps that are too long blow up at once."""
    return small(problem=AllenCahn(1, initial=GaussianField(std=16.0)), resolution=64, stop=0.2, samples=2)


def test_samples_begin_with_steps_that_are_stable_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, runs = steep(), []
    fixed_steps = etdrk4.fixed_steps

    def counted(rate, start, interval, instants, steps, tail=0.0):
        runs.append(steps)
        return fixed_steps(rate, start, interval, instants, steps, tail)

    monkeypatch.setattr(etdrk4, "fixed_steps", counted)
    plan = Plan.make(recipe)
    *_, stable, more = runs  # of 1, 2, 3, 4, 6, 8, ...: as many samples are finite with both
    assert plan.fewest == math.ceil(etdrk4.MARGIN * stable)
    assert 8 < stable < more
    runs.clear()
    told = solve_chain(recipe, 0, plan=plan)
    assert min(runs) == plan.fewest
    runs.clear()
    alone = solve_chain(recipe, 0, plan=dataclasses.replace(plan, fewest=None))
    assert min(runs) < plan.fewest
    np.testing.assert_allclose(told.arrays["u"], alone.arrays["u"], rtol=0, atol=2 * recipe.tolerance * 16.0)


def test_those_steps_are_in_the_plan_that_a_resumed_run_reads(tmp_path: Path) -> None:
    recipe = steep()
    plan = Plan.make(recipe)
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json", recipe) == plan
    assert Plan.make(small(problem=Poisson(), stop=None, instants=2)).fewest is None


def test_a_problem_that_is_stable_with_no_number_of_steps_is_tried_from_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 16)
    assert Plan.make(steep()).fewest == 1
