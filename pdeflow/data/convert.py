"""From the formats that others use to The Well's layout."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np

from pdeflow.data.foreign import Foreign, Wishes
from pdeflow.data.hdf5_safety import open_checked
from pdeflow.data.neuraloperator_pt import LEGACY_MAGIC, open_neuraloperator
from pdeflow.data.npz_arrays import open_npz
from pdeflow.data.pdebench import is_pdebench, open_pdebench
from pdeflow.data.well_layout import FIELD_GROUPS
from pdeflow.data.well_writer import WellWriter
from pdeflow.errors import CorruptFile, InvalidInput

FORMATS: dict[str, Callable[[Path, Wishes], Foreign]] = {
    "neuraloperator": open_neuraloperator,
    "npz": open_npz,
    "pdebench": open_pdebench,
}
_BLOCK_BYTES = 64 << 20


def convert(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    *,
    format: str | None = None,
    inputs: Sequence[str] = (),
    targets: Sequence[str] = (),
    dim: int | None = None,
    lower: float = 0.0,
    upper: float = 1.0,
    periodic: Sequence[str] = (),
    time: str | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Convert a data set, block by block, to an HDF5 file in The Well's layout.

    Parameters
    ----------
    source
        A neuraloperator ``.pt`` (tensors ``x`` and ``y``), a PDEBench HDF5 file, or an ``.npz``.
    destination
        The file to make, ``.h5`` or ``.hdf5``.
    format
        ``neuraloperator``, ``pdebench`` or ``npz``; by default seen from the content.
    inputs, targets
        Arrays that become constant fields (or scalars) and fields, as ``NAME`` or ``NEW=STORED``. For ``.pt``
        ``["a=x"]`` and ``["u=y"]``. Not for PDEBench.
    dim
        Space dimensions of ``.pt`` and ``.npz`` arrays, if an axis holds channels: ``(N, C, *S)``.
    lower, upper
        The box, the same along each axis, where the source holds no coordinates.
    periodic
        The axes that wrap around, for example ``["x"]``; files of these formats do not say.
    time
        For ``.npz``: the array of instants, if targets are ``(N, T, *S)``. Otherwise they are steady.
    dtype
        ``float32`` or ``float64``.
    overwrite
        Whether to replace an existing destination.
    progress
        Called with (samples written, samples in all) after each block.

    Returns
    -------
    The destination.

    Raises
    ------
    CorruptFile, UnsafeFile
        If the source is damaged, or would run code or reach into other files.
    InvalidInput
        If the format is unknown, or names and shapes do not fit.
    WriteFailed
        If the destination cannot be written.
    """
    source, destination = Path(source), Path(destination)
    if destination.suffix not in (".h5", ".hdf5"):
        raise InvalidInput("destination", str(destination), "a name that ends in .h5 or .hdf5")
    if destination.exists() and not overwrite:
        raise InvalidInput(
            "destination",
            str(destination),
            "a file that does not exist yet",
            "Choose another name, or overwrite it on purpose (overwrite=True).",
        )
    detected = format or detect_format(source)
    if detected not in FORMATS:
        raise InvalidInput("format", detected, f"one of {', '.join(FORMATS)}", choices=FORMATS)
    wishes = Wishes(tuple(inputs), tuple(targets), dim, lower, upper, tuple(periodic), time)
    foreign = FORMATS[detected](source, wishes)
    values = np.prod(foreign.grid.shape) * (
        len(foreign.constant_fields) + len(foreign.fields) * len(foreign.times)
    )
    with WellWriter(
        destination,
        name=foreign.name,
        grid=foreign.grid,
        n=foreign.n,
        fields=foreign.fields,
        constant_fields=foreign.constant_fields,
        times=foreign.times,
        scalars=foreign.scalars,
        attributes={**foreign.attributes, "steady": foreign.steady, "converted_from": detected},
        dtype=dtype,
    ) as writer:
        done = 0
        for block in foreign.blocks(max(1, int(_BLOCK_BYTES // (8 * values)))):
            if foreign.steady:
                for name in foreign.fields:
                    block[name] = np.stack([np.zeros_like(block[name]), block[name]], axis=1)
            writer.write(done, block)
            done += len(next(iter(block.values())))
            if progress is not None:
                progress(done, foreign.n)
    return destination


def detect_format(path: str | os.PathLike[str]) -> str:
    """Tell the format from the content, whatever the name says.

    Raises
    ------
    CorruptFile
        If the file is absent or empty.
    InvalidInput
        If it is in The Well's layout already, or in none that is known.
    """
    path = Path(path)
    if not path.is_file() or not path.stat().st_size:
        raise CorruptFile(
            f"{path}: {'the file is empty' if path.is_file() else 'no such file'}. Check the path."
        )
    with open(path, "rb") as handle:
        start = handle.read(len(LEGACY_MAGIC))
    if start == LEGACY_MAGIC:
        return "neuraloperator"
    if h5py.is_hdf5(path):
        with open_checked(path) as file:
            if is_pdebench(file):
                return "pdebench"
            keys = sorted(file)
            if set(FIELD_GROUPS) <= set(keys):
                raise InvalidInput(
                    "source", str(path), "another format: this is in The Well's layout already"
                )
        raise InvalidInput(
            "source",
            f"HDF5 with {', '.join(keys[:8])}",
            "PDEBench's names: tensor, or density and pressure, or groups 0000, 0001, ... with data",
        )
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("data.pkl") for name in names):
            return "neuraloperator"
        if any(name.endswith(".npy") for name in names):
            return "npz"
    if start.startswith(b"PK"):
        raise CorruptFile(
            f"{path}: a .pt or .npz archive that is cut off or damaged. Copy it again from its source."
        )
    raise InvalidInput(
        "source",
        start[:8],
        "the content of a neuraloperator .pt, a PDEBench HDF5 or an .npz file",
        f"{path} is none of these, or damaged at its start.",
    )
