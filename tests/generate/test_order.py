"""The order in which samples are solved, and what is carried from one to the next."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pdeflow.data import WellReader
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.generate import Recipe, generate, similarity
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.similarity import (
    greedy_order,
    hilbert_index,
    low_frequencies,
    similar_order,
    standardised,
)
from pdeflow.linalg import CG, GCRODR, GMRES, Auto, Candidate, Frozen, Jacobi, Multigrid, SparseDirect
from pdeflow.problems import Constant, Darcy, GaussianField, Helmholtz, Poisson, Uniform


def length(points: torch.Tensor, order: list[int]) -> float:
    """Of the way through the points."""
    return float(points[order].diff(dim=0).norm(dim=1).sum())


def test_the_greedy_order_takes_the_nearest_that_is_left() -> None:
    points = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    order = greedy_order(points, 7)
    assert sorted(order) == list(range(60))
    left = set(range(60)) - {7}
    for here, there in itertools.pairwise(order):
        assert there == min(left, key=lambda i: float((points[i] - points[here]).norm()))
        left.remove(there)
    assert order[0] == 7


def test_of_equal_samples_the_lower_number_comes_first() -> None:
    assert greedy_order(torch.zeros(5, 2, dtype=torch.float64), 0) == [0, 1, 2, 3, 4]


def test_the_hilbert_curve_goes_from_neighbour_to_neighbour_through_every_cell(monkeypatch) -> None:
    monkeypatch.setattr(similarity, "HILBERT_BITS", 4)
    cells = np.stack(np.meshgrid(np.arange(16), np.arange(16), indexing="ij"), -1).reshape(-1, 2)
    index = hilbert_index(cells)
    assert sorted(index) == list(range(256))
    steps = np.abs(np.diff(cells[np.argsort(index)], axis=0)).sum(1)
    assert (steps == 1).all()


@pytest.mark.parametrize("numbers", [1, 2, 9])
def test_many_samples_are_ordered_in_pieces_along_the_curve(numbers: int, monkeypatch) -> None:
    points = torch.rand(900, numbers, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    whole = length(points, similar_order(points))
    monkeypatch.setattr(similarity, "GREEDY", 100)
    order = similar_order(points)
    assert sorted(order) == list(range(900))
    assert order[0] == 0
    assert length(points, order) < 2.0 * whole + 3.0
    assert length(points, order) < 0.8 * length(points, list(range(900)))


def test_fields_are_compared_by_their_low_frequencies_and_all_parameters_weigh_the_same() -> None:
    x = torch.linspace(0, 1, 33, dtype=torch.float64)
    smooth = torch.stack([torch.sin(3 * x + shift)[:, None] * x for shift in (0.0, 0.1, 1.0)])
    noise = 0.05 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(17)[:33]
    parts = low_frequencies({"a": smooth + noise, "k": torch.tensor([5.0, 5.0, 5.0])}, 2)
    alike = low_frequencies({"a": smooth, "k": torch.tensor([5.0, 5.0, 5.0])}, 2)
    assert [part.shape[0] for part in parts] == [3, 3]
    assert (parts[0] - alike[0]).norm() < 0.02 * alike[0].norm()
    both = standardised([low_frequencies({"a": smooth, "k": 1e6 * torch.rand(3)}, 2)])
    assert float(both[:, :-1].square().sum()) == pytest.approx(float(both[:, -1].square().sum()))
    assert torch.isfinite(standardised([parts])).all()  # a number that is the same for all


def test_all_directions_of_a_wave_are_told_apart() -> None:
    x = torch.arange(32, dtype=torch.float64) / 32
    phase = 2 * torch.pi * torch.stack([x[:, None] - x, x[:, None] + x])
    waves = torch.cat([phase.cos(), -phase.cos()])
    (part,) = low_frequencies({"a": waves}, 2)
    apart = torch.cdist(part, part) + 1e9 * torch.eye(4, dtype=torch.float64)
    assert apart.min() > 0.5 * part.norm(dim=1).max()


def helmholtz(**changes) -> Recipe:
    settings = {
        "problem": Helmholtz(2, Uniform(4.0, 9.0), source=GaussianField(std=1.0, modes=6)),
        "resolution": 17,
        "samples": 11,
        "chain": 4,
        "order": "similar",
        "solver": GCRODR(restart=20, recycle=6),
        "preconditioner": Jacobi(),
        "dtype": "float64",
        "seed": 5,
    } | changes
    return Recipe(**settings)


def read(path: Path, *names: str) -> list[np.ndarray]:
    with WellReader(path) as file:
        return [file.read(name, slice(None)) for name in names]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"guess": "neighbour"},
        {"preconditioner": Frozen(SparseDirect())},
        {"solver": None, "preconditioner": None},
    ],
)
def test_the_file_has_the_samples_by_number_and_the_same_solutions(tmp_path: Path, changes) -> None:
    recipe = helmholtz(**changes)
    assert generate(recipe, tmp_path / "similar.h5", progress=False).failed == 0
    plain = dataclasses.replace(recipe, order="index", guess="zero", solver=GMRES(60), preconditioner=None)
    generate(plain, tmp_path / "index.h5", progress=False)
    sample, k, u, residual = read(tmp_path / "similar.h5", "sample", "k", "u", "residual")
    _, k_plain, u_plain = read(tmp_path / "index.h5", "sample", "k", "u")
    assert sample.tolist() == list(range(11))
    np.testing.assert_array_equal(k, k_plain)
    assert residual.max() <= 1e-8
    for mine, other in zip(u, u_plain):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * np.abs(other).max())


def test_recycling_along_similar_samples_takes_fewer_iterations(tmp_path: Path) -> None:
    recipe = helmholtz(samples=24, chain=24, resolution=33, solver=GCRODR(restart=40, recycle=20))
    recycled = generate(recipe, tmp_path / "r.h5", progress=False).iterations
    afresh = generate(dataclasses.replace(recipe, chain=1), tmp_path / "a.h5", progress=False).iterations
    assert recycled < 0.7 * afresh


def test_any_number_of_workers_and_a_resumed_run_give_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    recipe = helmholtz()
    generate(recipe, tmp_path / "one.h5", progress=False)
    generate(recipe, tmp_path / "two.h5", workers=2, progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()

    from pdeflow.generate import executors

    whole, done = executors.solve, []

    def dies_at_the_third(plan, chain, device):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(chain)
        return whole(plan, chain, device)

    monkeypatch.setattr(executors, "solve", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        generate(recipe, tmp_path / "three.h5", progress=False)
    recorded = Manifest(tmp_path / "three.h5", recipe).path.read_text().splitlines()[1:]
    assert [json.loads(line)["chain"] for line in recorded] == done
    monkeypatch.setattr(executors, "solve", whole)

    def no_second_plan(*_):
        raise AssertionError("the plan is kept")

    monkeypatch.setattr(Plan, "make", no_second_plan)
    assert generate(recipe, tmp_path / "three.h5", progress=False).resumed == 8
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "three.h5").read_bytes()


def test_a_chain_follows_the_similar_order() -> None:
    recipe = helmholtz()
    plan = Plan.make(recipe)
    assert plan.order is not None
    assert sorted(plan.order) == list(range(11))
    assert [i for chain in range(recipe.chains) for i in plan.indices(chain)] == plan.order
    parameters = recipe.problem.sample(range(11), recipe.grid, seed=recipe.seed)
    points = standardised([low_frequencies(parameters, 2)])
    assert length(points, plan.order) < length(points, list(range(11)))


def test_where_nothing_varies_the_order_is_that_of_the_numbers() -> None:
    recipe = Recipe(Poisson(source=Constant(1.0)), resolution=9, samples=5, order="similar")
    assert Plan.make(recipe).order == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("order", ["index", "similar"])
def test_a_pilot_chooses_and_the_record_says_what(tmp_path: Path, order) -> None:
    slow, quick = Candidate(CG()), Candidate(CG(), Multigrid())
    recipe = Recipe(
        Darcy(), resolution=129, samples=6, chain=3, order=order, solver=Auto((slow, quick), pilot=2)
    )
    report = generate(recipe, tmp_path / "d.h5", progress=False)
    assert report.failed == 0
    record = json.loads((tmp_path / "d.h5.manifest.json").read_text())
    assert record["plan"]["method"] == report.method == "CG + Multigrid"
    assert "CG + Multigrid, which a pilot has chosen" in report.text()
    assert generate(recipe, tmp_path / "d.h5", progress=False).method == report.method
    assert {trial["name"] for trial in record["plan"]["trials"]} == {"CG", "CG + Multigrid"}
    assert report.iterations < 15


def test_without_an_order_nothing_that_carries_takes_part() -> None:
    recipe = Recipe(Darcy(), resolution=17, samples=4, solver=Auto((Candidate(GCRODR()), Candidate(CG()))))
    assert Plan.make(recipe).method == "CG"


def test_what_the_chosen_method_does_not_solve_is_tried_again(tmp_path: Path) -> None:
    """CG passes the pilot on the definite samples that come first, and fails on the others."""
    problem = Helmholtz(2, Uniform(2.0, 9.0))
    auto = Auto((Candidate(CG(), Multigrid()),), pilot=1)
    seed = next(seed for seed in range(100) if problem.sample([0], problem.grid(17), seed=seed)["k"] < 4)
    recipe = Recipe(problem, resolution=17, samples=8, chain=4, solver=auto, seed=seed, dtype="float64")
    report = generate(recipe, tmp_path / "d.h5", progress=False)
    assert report.method == "CG + Multigrid"
    k, u, residual = read(tmp_path / "d.h5", "k", "u", "residual")
    assert (k > 4.5).any()
    assert report.failed == 0
    assert residual.max() <= 1e-8
    assert np.isfinite(u).all()


@pytest.mark.parametrize(
    "candidates", [(Candidate(GCRODR()),), (Candidate(CG(), Jacobi()), Candidate(CG(), Jacobi()))]
)
def test_candidates_that_cannot_be_chosen_from(candidates) -> None:
    with pytest.raises(InvalidInput, match=r"solver\.candidates"):
        Plan.make(Recipe(Darcy(), resolution=17, samples=4, solver=Auto(candidates)))


def test_a_pilot_that_nobody_passes_says_so() -> None:
    recipe = helmholtz(
        solver=Auto((Candidate(CG()),)), preconditioner=None, problem=Helmholtz(2, Constant(9.0))
    )
    with pytest.raises(InvalidInput, match="solver: got"):
        Plan.make(recipe)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"order": [0, 0], "method": null, "trials": []}', '{"order": null}']
)
def test_a_damaged_plan_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(CorruptFile, match=r"plan\.json"):
        Plan.load(tmp_path / "plan.json", helmholtz(samples=2))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"order": "sorted"}, "order"),
        ({"guess": "best"}, "guess"),
        ({"order": "index", "guess": "neighbour"}, "guess"),
        ({"solver": Auto()}, "preconditioner"),
    ],
)
def test_impossible_settings(changes, key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: got"):
        helmholtz(**changes)
