"""Shards, one a chain, and their union in The Well's layout.

A shard on a grid holds packed chunks, which go into the union as they are; on meshes it is a small file of
the same layout as the union.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from pdeflow.atomic_file import partial_path, replacing
from pdeflow.data import MeshReader, MeshWriter, WellWriter
from pdeflow.data.packed_chunks import pack_sample
from pdeflow.data.storage_dtype import narrowed
from pdeflow.errors import CorruptFile
from pdeflow.generate.chain import DIAGNOSTICS, Outputs, SolvedChain
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.problems import Evolution, HyperbolicSystem, MeshProblem, Neumann, Robin
from pdeflow.problems.conditions import by_side

_LENGTHS, _CHUNKS, _NUMBERS = "lengths", "chunks", "numbers"


def open_writer(path: Path, recipe: Recipe, samples: int) -> WellWriter:
    """A writer of the recipe's layout for a number of samples, whole file or shard."""
    outputs = Outputs.of(recipe)
    grid = recipe.grid
    first = recipe.problem.sample([0], grid, seed=recipe.seed) if outputs.shared_fields else {}
    held = by_side(recipe.problem.conditions, recipe.problem.domain)
    let_out = {side for side, c in held.items() if isinstance(c, Robin) and not isinstance(c, Neumann)}
    sides = {
        side: "PERIODIC" if wraps else "OPEN" if side in let_out else "WALL"
        for axis, wraps in zip(grid.axes, grid.periodic)
        for side in (f"{axis}-", f"{axis}+")
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


def _open_mesh_writer(path: Path, recipe: Recipe) -> MeshWriter:
    outputs = Outputs.of(recipe)
    return MeshWriter(
        path,
        name=recipe.title,
        fields=outputs.fields,
        constant_fields=outputs.constant_fields,
        scalars=outputs.scalars,
        diagnostics=DIAGNOSTICS,
        attributes=_attributes(recipe),
        dtype=recipe.dtype,
    )


def _merge_meshes(output: Path, recipe: Recipe, manifest: Manifest) -> Generator[int, None, None]:
    """As `merge`, for samples on meshes."""
    with _open_mesh_writer(output, recipe) as writer:
        for chain in range(recipe.chains):
            manifest.read(chain)  # for the checksum: HDF5 reads the file itself
            with MeshReader(manifest.shard(chain)) as shard:
                names = (*shard.fields, *shard.constant_fields, *shard.scalars, *shard.diagnostics)
                arrays = {name: shard.read(name, slice(None)) for name in names}
                writer.append([shard.mesh(i) for i in range(shard.n)], arrays)
            yield len(recipe.indices(chain))


def write_shard(path: Path, recipe: Recipe, solved: SolvedChain) -> None:
    """Write one solved chain, atomically.

    On a grid, what reads back from the file is compared with what was meant for it. That is the system's copy
    in memory and not the disk itself, whose errors only show when `Manifest.read` compares checksums later.
    """
    if isinstance(recipe.problem, MeshProblem):
        with _open_mesh_writer(path, recipe) as writer:
            writer.append(solved.meshes, solved.arrays)
        return
    content = _packed(recipe, solved)
    with replacing(path) as stream:
        stream.write(content)
        stream.flush()
        if partial_path(path).read_bytes() != content:
            raise CorruptFile(f"{path}: is not what was written.\nLook after the disk.")


def write_alone(path: Path, recipe: Recipe, solved: SolvedChain) -> None:
    """Write one solved chain as the whole data set of a recipe of so many samples."""
    if isinstance(recipe.problem, MeshProblem):
        with _open_mesh_writer(path, recipe) as writer:
            writer.append(solved.meshes, solved.arrays)
        return
    with open_writer(path, recipe, recipe.samples) as writer:
        writer.write(0, solved.arrays)


def _packed(recipe: Recipe, solved: SolvedChain) -> bytes:
    """Of each field its chunks, one after the other, with their lengths; and the numbers.

    A line of names in JSON, then as many arrays in NumPy's format. The manifest has the checksum of the
    whole; an archive of NumPy would take its own of every array twice.
    """
    outputs = Outputs.of(recipe)
    content: dict[str, np.ndarray] = {}
    for name in (*outputs.fields, *outputs.constant_fields):
        samples = narrowed(name, solved.arrays[name], recipe.dtype)
        chunks = [chunk for sample in samples for chunk in pack_sample(sample)]
        content[f"{_LENGTHS}/{name}"] = np.array([len(chunk) for chunk in chunks])
        content[f"{_CHUNKS}/{name}"] = np.frombuffer(b"".join(chunks), np.uint8)
    for name in (*outputs.scalars, *DIAGNOSTICS):
        content[f"{_NUMBERS}/{name}"] = solved.arrays[name]
    stream = io.BytesIO()
    stream.write(json.dumps(list(content)).encode() + b"\n")
    for values in content.values():
        np.save(stream, values, allow_pickle=False)
    return stream.getvalue()


def _unpacked(shard: bytes) -> tuple[dict[str, list[list[bytes]]], dict[str, np.ndarray]]:
    """The chunks of each sample of each field, and the numbers."""
    packed: dict[str, list[list[bytes]]] = {}
    stream = io.BytesIO(shard)
    try:
        names = json.loads(stream.readline())
    except ValueError as error:
        text = "A shard was written by another version of pdeflow.\nDiscard what was done: overwrite=True."
        raise CorruptFile(text) from error
    content = {name: np.load(stream, allow_pickle=False) for name in names}
    numbers = {
        key.removeprefix(f"{_NUMBERS}/"): values
        for key, values in content.items()
        if key.startswith(_NUMBERS)
    }
    samples = len(numbers["sample"])
    for key, lengths in content.items():
        if not key.startswith(_LENGTHS):
            continue
        name = key.removeprefix(f"{_LENGTHS}/")
        whole, ends = content[f"{_CHUNKS}/{name}"].tobytes(), np.cumsum(lengths).tolist()
        chunks = [whole[a:b] for a, b in itertools.pairwise([0, *ends])]
        each = len(chunks) // samples
        packed[name] = [chunks[i * each : (i + 1) * each] for i in range(samples)]
    return packed, numbers


def merge(output: Path, plan: Plan, manifest: Manifest) -> Generator[int, None, None]:
    """Write the shards into one file in the order of the sample index, atomically.

    Yields the samples of each shard once they are written; the file is there when it has been exhausted.

    Raises
    ------
    CorruptFile
        If a shard is not what was recorded; see :meth:`Manifest.read`.
    """
    recipe = plan.recipe
    if isinstance(recipe.problem, MeshProblem):
        yield from _merge_meshes(output, recipe, manifest)
        return
    with open_writer(output, recipe, recipe.samples) as writer:
        for chain in range(recipe.chains):
            indices = plan.indices(chain)
            packed, numbers = _unpacked(manifest.read(chain))
            for first, rows in _runs(indices):
                writer.write_packed(
                    first,
                    {name: [samples[row] for row in rows] for name, samples in packed.items()},
                    {name: values[rows] for name, values in numbers.items()},
                )
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
