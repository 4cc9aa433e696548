"""From a recipe to a file, against solutions computed another way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from pdeflow.data import GridSamples, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, engine, generate
from pdeflow.generate.chain import solve_chain
from pdeflow.linalg import CG
from pdeflow.problems import Constant, Darcy, LogNormalField, Poisson


def small(**changes) -> Recipe:
    settings = {"problem": Darcy(), "resolution": 17, "samples": 10, "chain": 4, "seed": 3} | changes
    return Recipe(**settings)


def five_point_darcy(a: np.ndarray) -> np.ndarray:
    """Solve -div(a grad u) = 1 on the unit square by SuperLU, assembled entry by entry."""
    n = a.shape[0]
    inner, h = n - 2, 1.0 / (n - 1)
    matrix = scipy.sparse.lil_matrix((inner**2, inner**2))
    for i in range(1, n - 1):
        for j in range(1, n - 1):
            row = (i - 1) * inner + j - 1
            for k, m in ((i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)):
                face = 0.5 * (a[i, j] + a[k, m]) / h**2
                matrix[row, row] += face
                if 0 < k < n - 1 and 0 < m < n - 1:
                    matrix[row, (k - 1) * inner + m - 1] -= face
    u = np.zeros((n, n))
    u[1:-1, 1:-1] = scipy.sparse.linalg.spsolve(matrix.tocsc(), np.ones(inner**2)).reshape(inner, inner)
    return u


@pytest.mark.parametrize("coefficient", [None, LogNormalField(std=1.0)])
def test_solutions_equal_a_direct_solve_of_an_independent_assembly(tmp_path: Path, coefficient) -> None:
    problem = Darcy() if coefficient is None else Darcy(coefficient=coefficient)
    report = generate(small(problem=problem, dtype="float64"), tmp_path / "d.h5", progress=False)
    assert report.failed == 0
    assert report.residual <= 1e-8
    with WellReader(tmp_path / "d.h5") as file:
        a, u = file.read("a", slice(None)), file.read("u", slice(None))
        assert file.read("residual", slice(None)).max() <= 1e-8
        assert file.read("sample", slice(None)).tolist() == list(range(10))
    assert (u[:, 0] == 0).all()
    for i in range(10):
        np.testing.assert_allclose(u[i, 1], five_point_darcy(a[i]), rtol=0, atol=1e-7 * u.max())


def test_a_default_device_other_than_the_one_asked_for_changes_nothing() -> None:
    recipe = small(samples=4)
    with torch.device("meta"):
        elsewhere = solve_chain(recipe, 0, "cpu").arrays
    here = solve_chain(recipe, 0, "cpu").arrays
    assert all(np.array_equal(elsewhere[name], here[name]) for name in here)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_every_dimension(tmp_path: Path, dim: int) -> None:
    report = generate(small(problem=Poisson(dim=dim), resolution=9), tmp_path / "p.h5", progress=False)
    assert report.failed == 0
    with WellReader(tmp_path / "p.h5") as file:
        assert file.read("u", slice(None)).shape == (10, 2, *[9] * dim)


def test_workers_and_chains_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    generate(small(), tmp_path / "two.h5", workers=2, progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_sample_depends_on_its_index_and_the_seed_alone(tmp_path: Path) -> None:
    generate(small(dtype="float64"), tmp_path / "ten.h5", progress=False)
    generate(small(samples=6, chain=3, dtype="float64"), tmp_path / "six.h5", progress=False)
    with WellReader(tmp_path / "ten.h5") as ten, WellReader(tmp_path / "six.h5") as six:
        assert (ten.read("a", slice(0, 6)) == six.read("a", slice(None))).all()
        np.testing.assert_allclose(ten.read("u", slice(0, 6)), six.read("u", slice(None)), atol=1e-8)
    generate(small(seed=4), tmp_path / "other.h5", progress=False)
    with WellReader(tmp_path / "ten.h5") as ten, WellReader(tmp_path / "other.h5") as other:
        assert (ten.read("a", slice(None)) != other.read("a", slice(None))).any()


def test_the_second_call_finds_the_work_done(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    generate(small(), path, progress=False)
    before = path.read_bytes()
    report = generate(small(), path, progress=False)
    assert report.resumed == 10
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.h5", "d.h5.manifest.json"]


def test_an_output_of_another_recipe_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    generate(small(), path, progress=False)
    before = path.read_bytes()
    with pytest.raises(InvalidInput, match="seed = 3 there, 4 here"):
        generate(small(seed=4), path, progress=False)
    assert path.read_bytes() == before
    generate(small(seed=4), path, overwrite=True, progress=False)
    assert path.read_bytes() != before


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    path.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match=r"manifest.json is missing"):
        generate(small(), path, progress=False)
    assert path.read_bytes() == b"mine"


def test_a_changed_output_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    generate(small(), path, progress=False)
    held = bytearray(path.read_bytes())
    held[len(held) // 2] ^= 1
    path.write_bytes(held)
    with pytest.raises(InvalidInput, match="bytes have changed"):
        generate(small(), path, progress=False)


def test_failed_samples_are_kept_with_their_status(tmp_path: Path) -> None:
    # One iteration a restart cannot reach 1e-15 in float64 at this size: every solve stagnates or runs out.
    recipe = small(rtol=1e-15, solver=CG(), samples=4)
    report = generate(recipe, tmp_path / "d.h5", progress=False)
    assert report.failed == 4
    assert "failed" in report.text()
    with WellReader(tmp_path / "d.h5") as file:
        assert np.isnan(file.read("u", slice(None))[:, 1]).all()
        assert (file.read("status", slice(None)) != 0).all()
        assert np.isfinite(file.read("a", slice(None))).all()


def test_the_file_says_from_which_seed_a_failed_sample_is_drawn_again(tmp_path: Path) -> None:
    generate(small(rtol=1e-15, solver=CG(), samples=4), tmp_path / "d.h5", progress=False)
    with WellReader(tmp_path / "d.h5") as file:
        again = Darcy().sample([2], file.grid, seed=int(file.attributes["seed"]))["a"]
        np.testing.assert_array_equal(file.read("a", slice(2, 3)), again.to(torch.float32).numpy())
        assert file.read("status", slice(2, 3))[0] != 0


def test_shards_go_packed_into_the_file_while_others_are_solved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events, solve, merge = [], engine.solve_chains, engine.merge

    def solving(*arguments: Any) -> Iterator[dict[str, Any]]:
        for row in solve(*arguments):
            events.append("solved")
            yield row

    def merging(*arguments: Any) -> Iterator[int]:
        for samples in merge(*arguments):
            events.append("merged")
            yield samples

    monkeypatch.setattr(engine, "solve_chains", solving)
    monkeypatch.setattr(engine, "merge", merging)
    generate(small(), tmp_path / "d.h5", progress=False)
    assert events == ["solved", "merged"] * 3
    with h5py.File(tmp_path / "d.h5") as file:
        u = file["t0_fields/u"]
        assert 0 < u.id.get_storage_size() < 0.6 * u.nbytes  # the guess at time 0, half of it, is 0


def test_failed_samples_are_left_out_of_training(tmp_path: Path) -> None:
    generate(small(), tmp_path / "d.h5", progress=False)
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file["generation/status"][[2, 7]] = 1
        for sample in (2, 7):
            file["t0_fields/u"][sample] = np.nan
    with WellReader(tmp_path / "d.h5") as file:
        with pytest.warns(UserWarning, match="2 of 10 samples are left out"):
            samples = GridSamples([file], np.arange(10), ["a"], ["u"])
        assert samples.load().rows.tolist() == [0, 1, 3, 4, 5, 6, 8, 9]


def test_a_field_beyond_the_storage_format_is_refused(tmp_path: Path) -> None:
    problem = Poisson(source=Constant(1e45))
    with pytest.raises(InvalidInput, match="float32"):
        generate(small(problem=problem), tmp_path / "d.h5", progress=False)
    generate(small(problem=problem, dtype="float64"), tmp_path / "e.h5", progress=False)


def test_manifest_tells_what_ran(tmp_path: Path) -> None:
    generate(small(), tmp_path / "d.h5", progress=False)
    record = json.loads((tmp_path / "d.h5.manifest.json").read_text())
    assert record["recipe"]["seed"] == 3
    assert [row["samples"] for row in record["chains"]] == [4, 4, 2]
    assert all(row["seconds"] > 0 and row["residual"] <= 1e-8 for row in record["chains"])


@pytest.mark.parametrize(
    ("arguments", "key"),
    [({"workers": 0}, "workers"), ({"device": "cuda:99"}, "device"), ({"device": "abacus"}, "device")],
)
def test_bad_arguments_name_themselves(tmp_path: Path, arguments: dict, key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: got"):
        generate(small(), tmp_path / "d.h5", progress=False, **arguments)


def test_output_must_be_an_hdf5_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"ends in \.h5"):
        generate(small(), tmp_path / "d.txt", progress=False)


def test_what_wrote_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d.h5"
    path.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match="overwrite=True"):
        generate(small(), path, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["d.h5"]
    path.unlink()

    def fail(*arguments: object) -> None:
        raise ValueError("no chain was solved")

    monkeypatch.setattr("pdeflow.generate.executors.solve", fail)
    with pytest.raises(ValueError, match="no chain"):
        generate(small(), path, progress=False)
    assert not list(tmp_path.iterdir())
