"""Samples on meshes of their own, from a recipe to a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import h5py
import numpy as np
import pytest

from pdeflow.data import MeshGraphs, MeshReader, inspect, plot
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate, worker
from pdeflow.generate.verify import verify
from pdeflow.linalg import CG, Auto, Jacobi
from pdeflow.problems import Dirichlet, Displacement, PolygonDiffusion, PolygonElasticity, Robin, Traction

pytest.importorskip("skfem", reason="needs scikit-fem: pip install 'pdeflow[meshes]'")


def small(**changes) -> Recipe:
    settings = {"problem": PolygonDiffusion(), "resolution": 33, "samples": 5, "chain": 2, "seed": 3}
    return Recipe(**(settings | changes))


@pytest.mark.parametrize("problem", [PolygonDiffusion(), PolygonElasticity()], ids=lambda p: p.name)
def test_the_file_holds_the_solutions_on_their_meshes(tmp_path: Path, problem) -> None:
    recipe = small(problem=problem, dtype="float64", samples=3)
    report = generate(recipe, tmp_path / "m.h5", progress=False)
    assert report.failed == 0
    assert report.residual <= 1e-8
    with MeshReader(tmp_path / "m.h5") as file:
        assert file.read("sample", slice(None)).tolist() == [0, 1, 2]
        assert file.fields == problem.fields
        for i in range(3):
            mesh = problem.mesh(i, recipe.grid, seed=3)
            np.testing.assert_array_equal(file.mesh(i).positions, mesh.positions)
            parameters = problem.sample_on_mesh(i, mesh, recipe.grid, seed=3)
            for name in (*file.constant_fields, *file.scalars):
                np.testing.assert_array_equal(file.read(name, i), parameters[name].numpy())
            system = problem.assemble(mesh, parameters)
            u = np.stack([file.read(name, i) for name in problem.fields], axis=1)
            free = system.free.numpy()
            matrix, b = system.operator.to_scipy(0), system.rhs[0].numpy()
            assert np.linalg.norm(matrix @ u[free].ravel() - b) <= 1.01e-8 * np.linalg.norm(b)


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
    assert generate(small(), path, progress=False).resumed == 4
    assert path.read_bytes() == whole
    assert generate(small(), path, progress=False).resumed == 5


def test_failed_samples_are_kept_with_their_status(tmp_path: Path) -> None:
    recipe = small(rtol=1e-17, solver=CG(), preconditioner=Jacobi(), samples=2)
    assert generate(recipe, tmp_path / "m.h5", progress=False).failed == 2
    with MeshReader(tmp_path / "m.h5") as file:
        assert np.isnan(file.read("u", slice(None))).all()
        assert np.isfinite(file.read("a", slice(None))).all()
    assert len(MeshGraphs(tmp_path / "m.h5", ["a"], ["u"])) == 0


@pytest.mark.parametrize("problem", [PolygonDiffusion(), PolygonElasticity()], ids=lambda p: p.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_generated_is_sound_and_what_was_altered_is_not(tmp_path: Path, problem, dtype: str) -> None:
    path = tmp_path / "m.h5"
    generate(small(problem=problem, dtype=dtype, samples=3), path, progress=False)
    sound = {"checksum": True, "parameters": True, "residual": True}
    assert found(path) == sound, verify(path).text()
    with MeshReader(path) as file:
        first, on_base = file.nodes(1).start, file.mesh(1).on(problem.held)
        drawn = (f"nodes/{file.constant_fields[0]}", first) if file.constant_fields else ("scalars/mu", 1)
    unknown = f"nodes/{problem.fields[0]}"
    inside, held = first + int(np.argmin(on_base)), first + int(np.argmax(on_base))
    kept = path.read_bytes()
    for (name, place), differs in (
        ((unknown, inside), "residual"),
        ((unknown, held), "residual"),
        (drawn, "parameters"),
    ):
        with h5py.File(path, "r+") as file:
            file[name][place] += 0.1
        assert found(path) == sound | {"checksum": False, differs: False}
        assert "number 1" in verify(path).text() or "of sample 1" in verify(path).text()
        path.write_bytes(kept)


def found(path: Path) -> dict[str, bool | None]:
    return {check.name: check.passed for check in verify(path).checks}


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    from pdeflow.cli.main import main

    monkeypatch.chdir(tmp_path)
    for family in ("polygon_diffusion", "polygon_elasticity"):
        words = ["-c", family, "-o", f"{family}.h5", "-n", "2", "--resolution", "33", "--quiet"]
        assert main(["generate", *words]) == 0
        assert main(["inspect", f"{family}.h5", "--verify", "--plot", f"{family}.png"]) == 0
        out = capsys.readouterr().out
        assert "checksum    ok" in out
        assert "residual    ok" in out
        assert "triangles" in out
        assert (tmp_path / f"{family}.png").stat().st_size > 10_000


def test_what_does_not_go_with_meshes_is_refused() -> None:
    with pytest.raises(InvalidInput, match="order: got 'similar'"):
        small(order="similar")
    with pytest.raises(InvalidInput, match="solver: got 'Auto'"):
        small(solver=Auto())
    with pytest.raises(InvalidInput, match="resolution: got 20, expected at least 33"):
        small(resolution=20)
    with pytest.raises(InvalidInput, match="stop"):
        small(stop=1.0)


def test_it_is_summarised_and_verified(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    generate(small(samples=2), path, progress=False)
    summary = inspect(path)
    assert summary.n == 2
    assert "polygon_diffusion" in summary.text()
    assert verify(path).sound
    with pytest.raises(InvalidInput, match="samples"):
        plot(path, tmp_path / "m.png", [2])
    with path.open("ab") as file:
        file.write(b"\0")
    assert not verify(path).sound


def test_conditions_are_stored_and_verified(tmp_path: Path) -> None:
    problem = PolygonDiffusion(conditions={"outer": Robin(2.0, 0.5), "holes": Dirichlet(1.0)})
    path = tmp_path / "c.h5"
    assert generate(small(problem=problem), path, progress=False).failed == 0
    found = verify(path)
    assert found.sound
    assert {check.name: check.passed for check in found.checks} == {
        "checksum": True,
        "parameters": True,
        "residual": True,
    }, found.text()
    with MeshReader(path) as file:
        mesh = file.mesh(1)
        u = file.read("u", 1)
    assert (u[mesh.on(("hole",))] == 1.0).all()
    assert len(set(u[mesh.on(("outer",))].tolist())) > 1
    assert small(problem=problem).fingerprint() != small().fingerprint()


def test_conditions_on_bodies_are_stored_and_verified(tmp_path: Path) -> None:
    loads = {"outer": Traction(0.5, -1.0, 0.25), "holes": Displacement(0.1, 0.0)}
    problem, path = PolygonElasticity(conditions=loads), tmp_path / "c.h5"
    assert generate(small(problem=problem), path, progress=False).failed == 0
    assert found(path) == {"checksum": True, "parameters": True, "residual": True}, verify(path).text()
    with MeshReader(path) as file:
        mesh = file.mesh(1)
        u = np.stack([file.read(name, 1) for name in ("ux", "uy")], axis=1)
    assert (u[mesh.on(("base",))] == 0.0).all()
    assert (u[mesh.on(("hole",))] == np.float32([0.1, 0.0])).all()
    assert np.abs(u[mesh.on(("outer",))]).min() > 0


@pytest.mark.parametrize(
    ("family", "recipe", "loops"),
    [
        ("polygon_diffusion", "recipe_holes.yaml", ("outer", "holes")),
        ("polygon_elasticity", "recipe_pressure.yaml", ("outer", "holes")),
    ],
)
def test_the_recipes_with_conditions_that_are_shipped_run(
    tmp_path: Path, family: str, recipe: str, loops: tuple[str, ...]
) -> None:
    from pdeflow.cli.generate import parse_recipe

    shipped = parse_recipe(["-c", str(Path(__file__).parents[2] / "datasets" / family / recipe)])
    short = dataclasses.replace(shipped, samples=2, resolution=33)
    assert generate(short, tmp_path / "s.h5", progress=False).failed == 0
    assert [c.on for c in shipped.problem.conditions] == [(loop,) for loop in loops]
