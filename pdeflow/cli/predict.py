"""``pdeflow predict RUN FILE -o OUT``: a trained surrogate applied to a data file, in physical units."""

from __future__ import annotations

import itertools
import sys
import tokenize
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdeflow.cli.own_options import Parser
from pdeflow.cli.quick_imports import quick_imports
from pdeflow.cli.run_folder import RunFolder
from pdeflow.errors import CorruptFile, InvalidInput

if TYPE_CHECKING:
    import numpy as np

    from pdeflow.data.mesh_reader import MeshReader
    from pdeflow.data.well_reader import WellReader
    from pdeflow.grid import Grid
    from pdeflow.surrogate import Surrogate

WELL = (".h5", ".hdf5")


@dataclass(frozen=True)
class Inputs:
    """Input functions.

    ``n`` is their number; ``read(start, stop)`` gives some of them, ``(stop - start, channels, *shape)``;
    ``file`` and ``grid`` are ``None`` for NumPy files, which do not say where their grid lies; ``wraps`` says
    by name of the axis whether it wraps around, as far as the file does.
    """

    n: int
    read: Callable[[int, int], np.ndarray]
    grid: Grid | None
    wraps: dict[str, bool | None]
    file: WellReader | None = None


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow predict",
        description="Apply a trained run to the inputs in a file; inputs and outputs are in physical units. "
        "Of an ensemble or a model with a variance the standard deviations are NAME_std (not with --steps).",
        epilog="Example: pdeflow predict runs/darcy_fno data/new.h5 -o predictions.h5",
    )
    made.add_argument("run", metavar="RUN", help="a run folder, its name in runs/, or a saved surrogate")
    made.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="a Well file (.h5), an .npz with the inputs by name, an .npy (samples, channels, *grid), "
        "or a file of meshes (.h5); for a field an .npz with the coordinates by name, or an .npy "
        "(points, dim)",
    )
    made.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        type=Path,
        required=True,
        help="OUT.h5 (Well file, meshes) or OUT.npz",
    )
    made.add_argument(
        "--steps", type=int, metavar="N", help="march N steps in time, feeding every state back"
    )
    made.add_argument("--batch_size", type=int, default=16, help="samples at once (default 16)")
    made.add_argument("--device", default="cpu", help="cpu (default), cuda, ...")
    made.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow predict --help``."""
    given = parser().parse_args(list(arguments))
    if not given.file.exists():
        raise FileNotFoundError(2, "no such file", str(given.file))
    if given.file.suffix not in (*WELL, ".npz", ".npy"):
        hint = "Turn it into a Well file first: pdeflow convert"
        raise InvalidInput("FILE", str(given.file), "a file that ends in .h5, .npz or .npy", hint)
    if given.output.suffix not in (*WELL, ".npz"):
        raise InvalidInput("-o/--output", str(given.output), "a name that ends in .h5 or .npz")
    if given.file.suffix not in WELL and given.output.suffix in WELL:
        expected = "OUT.npz, because only a Well file says where its grid lies"
        raise InvalidInput("-o/--output", str(given.output), expected)
    if given.output.exists() and not given.overwrite:
        raise InvalidInput("-o/--output", str(given.output), "a new file", "Or give --overwrite.")
    for name in ("batch_size", "steps"):
        if (value := getattr(given, name)) is not None and value < 1:
            raise InvalidInput(f"--{name}", value, "at least 1")
    folder = surrogate_folder(given.run)
    with quick_imports():
        import numpy as np
        from tqdm import tqdm

        import pdeflow
        from pdeflow.device import check_device
        from pdeflow.operators import GraphOperator
        from pdeflow.operators.periodicity import check_file_periodicity
    check_device(given.device, "--device")
    surrogate = pdeflow.load(folder).to(given.device)
    if isinstance(surrogate.model, GraphOperator):
        from pdeflow.cli.predict_meshes import predict_meshes

        if given.steps is not None:
            hint = "March in Python: pdeflow.load(RUN).rollout(graph, steps) or .rollout_at."
            raise InvalidInput("--steps", given.steps, "nothing for an operator on meshes", hint)
        count = predict_meshes(surrogate, given.file, given.output)
        print(f"Wrote {count} predictions to {given.output}")
        return 0
    if isinstance(surrogate, pdeflow.FieldSurrogate):
        from pdeflow.cli.predict_points import predict_points

        if given.steps is not None:
            hint = "Time, where there is one, is a coordinate of the points."
            raise InvalidInput("--steps", given.steps, "nothing for a field", hint)
        count = predict_points(surrogate, given.file, given.output)
        print(f"Wrote {', '.join(surrogate.target_names)} at {count} points to {given.output}")
        return 0
    if given.steps is not None and given.output.suffix in WELL and surrogate.time_step is None:
        expected = "OUT.npz, because this model does not know the time of its step"
        raise InvalidInput("-o/--output", str(given.output), expected, "Or train it on TrajectoryData.")
    inputs, diverged = open_inputs(given.file, list(surrogate.input_names), surrogate.model.dim), 0
    check_file_periodicity(surrogate.model, inputs.wraps, given.file)
    if inputs.file is not None:
        compare_equations(surrogate, inputs.file)
    given.output.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=inputs.n, unit="sample", desc="predicting") as bar:

        def blocks() -> Iterator[tuple[int, np.ndarray]]:
            nonlocal diverged
            for start in range(0, inputs.n, given.batch_size):
                given_values = inputs.read(start, min(start + given.batch_size, inputs.n))
                if given.steps is None and surrogate.std_names:
                    values = np.concatenate(surrogate.predict_with_std(given_values), axis=1)
                elif given.steps is None:
                    values = surrogate(given_values)
                else:
                    known, channels = surrogate.state_channels, len(surrogate.target_names)
                    first = given_values[:, None, known - channels : known]
                    later = surrogate.rollout(given_values, given.steps)
                    diverged += int(np.isnan(later[:, -1]).reshape(len(later), -1).any(1).sum())
                    values = np.concatenate([first, later], axis=1)
                yield start, values
                bar.update(len(values))

        names = [*surrogate.target_names, *(surrogate.std_names if given.steps is None else ())]
        if given.output.suffix not in WELL:
            _write_npz(given.output, blocks(), names, axis=1 if given.steps is None else 2)
        elif given.steps is None:
            _write_well(given.output, _after_nothing(blocks()), names, inputs, (0.0, 1.0), steady=True)
        else:
            assert surrogate.time_step is not None
            times = tuple(k * surrogate.time_step for k in range(given.steps + 1))
            _write_well(given.output, blocks(), names, inputs, times, steady=False)
    print(f"Wrote {inputs.n} predictions to {given.output}")
    if diverged:
        print(f"{diverged} of them left all bounds and are NaN from there on")
    return 0


def compare_equations(surrogate: Surrogate, file: WellReader | MeshReader) -> None:
    """Warn in a line of a file that records another equation than that of the training data."""
    from pdeflow.data.plain_equation import plain_equation

    here, trained = file.attributes.get("equation"), surrogate.equation
    if trained is not None and isinstance(here, str) and here != trained:
        told = f"{plain_equation(here)}, not {plain_equation(trained)}"
        print(
            f"Warning: {file.path} holds another equation than the training data did: {told}. "
            "What is predicted is worth nothing unless the surrogate was made for that.",
            file=sys.stderr,
        )


def surrogate_folder(name: str) -> Path:
    """The folder of a saved surrogate, or of a run."""
    return Path(name) if (Path(name) / "surrogate.json").is_file() else RunFolder.open(name).path


def open_inputs(path: Path, names: list[str], dim: int) -> Inputs:
    """The inputs in a file, by the names of a surrogate's channels.

    Raises
    ------
    InvalidInput
        If an input is missing or has the wrong number of axes.
    CorruptFile
        If the file is damaged.
    UnsafeFile
        If it holds pickled objects, or declares more than it stores.
    """
    if path.suffix in WELL:
        return _open_well(path, names)
    import numpy as np

    loaded = _stacked(path, names, dim) if path.suffix == ".npz" else mapped(path)
    # (*S), (n, *S) or (n, channels, *S)
    if loaded.ndim == dim or (loaded.ndim == dim + 1 and path.suffix == ".npz"):
        loaded = loaded[None]
    if loaded.ndim == dim + 1:
        loaded = loaded[:, None]
    if loaded.ndim != dim + 2:
        raise InvalidInput("FILE", loaded.shape, f"arrays (samples, *grid) with a grid of {dim} axes")
    # A copy, for a mapped file cannot be written to and torch wants what can.
    return Inputs(len(loaded), lambda start, stop: np.array(loaded[start:stop]), None, {})


def _stacked(path: Path, names: list[str], dim: int) -> np.ndarray:
    """The channels ``(channels, *S)`` or ``(n, channels, *S)`` of an .npz file."""
    import numpy as np

    from pdeflow.data.npz_arrays import read_arrays

    arrays = read_arrays(path)
    for name in names:
        if name not in arrays:
            raise InvalidInput("FILE", name, f"an input that {path} holds", choices=arrays)
    shapes = {name: arrays[name].shape for name in names}
    if len(set(shapes.values())) > 1 or len(shapes[names[0]]) not in (dim, dim + 1):
        raise InvalidInput("FILE", shapes, f"arrays (samples, *grid), all alike, with a grid of {dim} axes")
    return np.stack([arrays[name] for name in names], axis=-dim - 1)


def mapped(path: Path) -> np.ndarray:
    """The array of an .npy file, read from the disk as it is used.

    Raises
    ------
    CorruptFile
        If it is not such a file, or holds objects.
    """
    import numpy as np

    try:
        # Mapping compares the size that the header declares with the file's.
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, OSError, EOFError, OverflowError, tokenize.TokenError) as error:
        raise CorruptFile(f"{path}: not a readable .npy file of numbers ({error}).") from error


def _open_well(path: Path, names: list[str]) -> Inputs:
    import numpy as np
    import torch

    from pdeflow.data import GridSamples, WellReader
    from pdeflow.data.open_samples import holds_meshes

    if holds_meshes(path):
        hint = "Its samples are on meshes: take a run on MeshData, of GNO, MKGN or GINO."
        raise InvalidInput("FILE", str(path), "a file of samples on a grid, for this run is of grids", hint)
    reader = WellReader(path)
    older = next((name for name in names if name.endswith("]")), None)
    if older is not None:
        hint = "Give an .npz with all inputs by name."
        raise InvalidInput("FILE", str(path), f"a file that holds {older!r}, an earlier state", hint)
    orders = {**reader.constant_fields, **reader.fields, **dict.fromkeys(reader.scalars, 0)}
    # A vector v is stored as one field and read as the channels v_x, v_y.
    owners = {
        f"{name}_{''.join(part)}" if order else name: name
        for name, order in orders.items()
        for part in itertools.product(reader.axes, repeat=order)
    }
    for name in names:
        if name not in owners:
            raise InvalidInput("FILE", name, f"an input that {path} holds", choices=owners)
    fields = list(dict.fromkeys(owners[name] for name in names))
    # A sample whose solve failed has inputs like any other.
    samples = GridSamples([reader], np.arange(reader.n), fields, fields[:1], keep_failed=True)
    if list(samples.input_names) != names:
        raise InvalidInput("FILE", list(samples.input_names), f"the inputs {names}, in this order")

    def read(start: int, stop: int) -> np.ndarray:
        return samples[torch.arange(start, stop)]["input"].numpy()

    return Inputs(reader.n, read, reader.grid, reader.wraps, reader)


def _write_npz(path: Path, blocks: Iterator[tuple[int, np.ndarray]], names: list[str], axis: int) -> None:
    """One array a target, ``(n, *shape)`` or ``(n, instants, *shape)``; ``axis`` is that of the targets."""
    import numpy as np

    from pdeflow.atomic_file import replacing

    values = np.concatenate([block for _, block in blocks])
    arrays: dict[str, Any] = dict(zip(names, np.moveaxis(values, axis, 0)))
    with replacing(path) as stream:
        np.savez_compressed(stream, **arrays)


def _after_nothing(blocks: Iterator[tuple[int, np.ndarray]]) -> Iterator[tuple[int, np.ndarray]]:
    """Each solution as the second of two instants, the first of which, the guess, is zero."""
    import numpy as np

    for start, block in blocks:
        yield start, np.stack([np.zeros_like(block), block], axis=1)


def _write_well(
    path: Path,
    blocks: Iterator[tuple[int, np.ndarray]],
    names: list[str],
    inputs: Inputs,
    times: tuple[float, ...],
    *,
    steady: bool,
) -> None:
    """Blocks ``(k, instants, channels, *shape)`` as fields that depend on time."""
    from pdeflow.data import WellWriter

    grid = inputs.grid
    assert grid is not None
    sides = {
        f"{axis}{end}": "PERIODIC" if wraps else "WALL"
        for axis, wraps in zip(grid.axes, grid.periodic)
        for end in "-+"
    }
    with WellWriter(
        path,
        name=path.stem,
        grid=grid,
        n=inputs.n,
        fields=dict.fromkeys(names, 0),
        times=times,
        boundary=sides,
        attributes={"steady": steady},
    ) as writer:
        for start, block in blocks:
            writer.write(start, {name: block[:, :, k] for k, name in enumerate(names)})
