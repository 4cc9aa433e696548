"""Shards: small files of The Well's layout, one a chain, and their union."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pdeflow.data import MeshReader, WellReader, WellWriter, write_meshes
from pdeflow.generate.chain import DIAGNOSTICS, Outputs, SolvedChain
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.problems import Evolution, HyperbolicSystem, MeshProblem
from pdeflow.triangle_mesh import TriangleMesh


def open_writer(path: Path, recipe: Recipe, samples: int) -> WellWriter:
    """A writer of the recipe's layout for a number of samples, whole file or shard."""
    outputs = Outputs.of(recipe)
    grid = recipe.grid
    first = recipe.problem.sample([0], grid, seed=recipe.seed) if outputs.shared_fields else {}
    sides = {
        f"{axis}{sign}": "PERIODIC" if wraps else "WALL"
        for axis, wraps in zip(grid.axes, grid.periodic)
        for sign in "-+"
    }
    if isinstance(recipe.problem, HyperbolicSystem):
        sides |= {side: kind.upper() for side, kind in recipe.problem.ends.items()}
    return WellWriter(
        path,
        name=recipe.title,
        grid=grid,
        n=samples,
        fields=dict.fromkeys(outputs.fields, 0),
        constant_fields=dict.fromkeys(outputs.constant_fields, 0),
        shared_fields={name: first[name][0].numpy() for name in outputs.shared_fields},
        times=recipe.times,
        scalars=outputs.scalars,
        boundary=sides,
        attributes=_attributes(recipe),
        diagnostics=DIAGNOSTICS,
        dtype=recipe.dtype,
    )


def _attributes(recipe: Recipe) -> dict[str, str | float | bool]:
    """The root attributes beyond those of the layout."""
    return {
        "steady": not isinstance(recipe.problem, Evolution),
        "equation": recipe.problem.latex(),
        "recipe": recipe.fingerprint(),
        "seed": recipe.seed,
        **Outputs.of(recipe).attributes,
    }


def _write_meshes(
    path: Path, recipe: Recipe, meshes: list[TriangleMesh], arrays: dict[str, np.ndarray]
) -> None:
    outputs = Outputs.of(recipe)
    write_meshes(
        path,
        name=recipe.title,
        meshes=meshes,
        fields={name: arrays[name] for name in outputs.fields},
        constant_fields={name: arrays[name] for name in outputs.constant_fields},
        scalars={name: arrays[name] for name in outputs.scalars},
        diagnostics={name: arrays[name].astype(kind) for name, kind in DIAGNOSTICS.items()},
        attributes=_attributes(recipe),
        dtype=recipe.dtype,
    )


def _merge_meshes(output: Path, recipe: Recipe, manifest: Manifest) -> Iterator[int]:
    """As `merge`, for samples on meshes, which are held in memory all at once."""
    outputs = Outputs.of(recipe)
    parts: dict[str, list[np.ndarray]] = {}
    meshes: list[TriangleMesh] = []
    for chain in range(recipe.chains):
        with MeshReader(manifest.shard(chain)) as shard:
            meshes += [shard.mesh(i) for i in range(shard.n)]
            for name in (*outputs.fields, *outputs.constant_fields, *outputs.scalars, *DIAGNOSTICS):
                parts.setdefault(name, []).append(shard.read(name, slice(None)))
        yield len(recipe.indices(chain))
    _write_meshes(output, recipe, meshes, {name: np.concatenate(held) for name, held in parts.items()})


def write_shard(path: Path, recipe: Recipe, solved: SolvedChain) -> None:
    """Write one solved chain, atomically."""
    if isinstance(recipe.problem, MeshProblem):
        _write_meshes(path, recipe, solved.meshes, solved.arrays)
        return
    with open_writer(path, recipe, len(solved.arrays["sample"])) as writer:
        writer.write(0, solved.arrays)


def merge(output: Path, plan: Plan, manifest: Manifest) -> Iterator[int]:
    """Write the shards into one file in the order of the sample index, atomically.

    Yields the samples of each shard once they are written; the file is there when it has been exhausted.
    """
    recipe = plan.recipe
    if isinstance(recipe.problem, MeshProblem):
        yield from _merge_meshes(output, recipe, manifest)
        return
    with open_writer(output, recipe, recipe.samples) as writer:
        for chain in range(recipe.chains):
            indices = plan.indices(chain)
            with WellReader(manifest.shard(chain)) as shard:
                for first, rows in _runs(indices):
                    writer.copy(first, shard, rows)
            yield len(indices)


def _runs(indices: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Numbers without a gap: the first of them, and the places in ``indices`` of all of them in order."""
    rows = sorted(range(len(indices)), key=lambda row: indices[row])
    while rows:
        first, count = indices[rows[0]], 1
        while count < len(rows) and indices[rows[count]] == first + count:
            count += 1
        yield first, rows[:count]
        rows = rows[count:]
