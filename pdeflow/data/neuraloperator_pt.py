"""Data sets of the neuraloperator library: ``torch.save({"x": ..., "y": ...})``."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from pdeflow.data.foreign import Foreign, Wishes, box_grid, channel_arrays, names_of, split_channels
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile

# The first bytes of torch files from before version 1.6: a pickled magic number.
LEGACY_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def open_neuraloperator(path: Path, wishes: Wishes) -> Foreign:
    """Input ``x`` as constant field ``a``, output ``y`` as field ``u``, each ``(N, *S)`` or ``(N, C, *S)``.

    The file is loaded with ``weights_only=True``, so nothing in it runs.

    Raises
    ------
    UnsafeFile
        If it holds pickled objects other than tensors.
    CorruptFile
        If it is damaged.
    InvalidInput
        If a tensor is missing or shapes do not fit together.
    """
    held = _load(path)
    inputs, targets = names_of(wishes.inputs or ["a=x"]), names_of(wishes.targets or ["u=y"])
    arrays: dict[str, torch.Tensor] = {}
    for new, stored in {**inputs, **targets}.items():
        tensor = held.get(stored)
        if not isinstance(tensor, torch.Tensor):
            raise InvalidInput(f"{path}", stored, "a tensor of this name in the file", choices=map(str, held))
        if tensor.is_complex() or tensor.layout != torch.strided or tensor.ndim < 2:
            raise InvalidInput(
                f"{path}, {stored!r}", f"{tensor.dtype}, {tuple(tensor.shape)}", "a real dense array"
            )
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise UnsafeFile(f"{path}: {stored!r} declares shape {tuple(tensor.shape)}, more than it stores.")
        arrays[new] = tensor
    counts = {name: len(tensor) for name, tensor in arrays.items()}
    if len(set(counts.values())) != 1:
        raise InvalidInput(f"{path}", counts, "the same number of samples in all tensors")
    layout = {name: split_channels(name, tuple(t.shape[1:]), wishes.dim) for name, t in arrays.items()}
    spaces = {name: space for name, (space, _) in layout.items()}
    if len(set(spaces.values())) != 1:
        raise InvalidInput(
            f"{path}",
            spaces,
            "the same grid in all tensors",
            "Give `dim` if the first axis after the samples holds channels.",
        )
    space = next(iter(spaces.values()))

    def blocks(k: int) -> Iterator[dict[str, np.ndarray]]:
        n = next(iter(counts.values()))
        for start in range(0, n, k):
            part: dict[str, np.ndarray] = {}
            for name, tensor in arrays.items():
                block = tensor[start : start + k]
                block = (block if block.dtype == torch.float64 else block.float()).numpy()
                part |= channel_arrays(block, layout[name][1], len(space))
            yield part

    return Foreign(
        name=path.stem,
        grid=box_grid(space, wishes),
        n=next(iter(counts.values())),
        times=np.array([0.0, 1.0]),
        steady=True,
        fields={channel: 0 for name in targets for channel in layout[name][1]},
        constant_fields={channel: 0 for name in inputs for channel in layout[name][1]},
        blocks=blocks,
    )


def _load(path: Path) -> dict[object, object]:
    zipped = zipfile.is_zipfile(path)
    try:
        if zipped:
            with zipfile.ZipFile(path) as archive:
                # torch.save never compresses; a compressed entry could unfold to any size.
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise UnsafeFile(f"{path}: holds compressed entries, which torch.save never writes.")
                # torch.load does not compare the checksums that torch.save wrote.
                damaged = archive.testzip()
                if damaged is not None:
                    raise CorruptFile(
                        f"{path}: the checksum of its entry {damaged!r} does not match its bytes.\n"
                        "Copy it again from its source."
                    )
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UnsafeFile(
                f"{path}: holds pickled objects that could run code, expected tensors only.\n"
                "Where it was made: torch.save({'x': inputs, 'y': outputs}, path) with plain tensors."
            ) from error
        raise _damaged(path, error) from error
    except (EOFError, zipfile.BadZipFile, RuntimeError, ValueError, KeyError, OSError) as error:
        if isinstance(error, (UnsafeFile, CorruptFile)):
            raise
        raise _damaged(path, error) from error
    if not isinstance(held, dict):
        raise InvalidInput(
            str(path), type(held).__name__, "a dictionary of tensors, such as {'x': ..., 'y': ...}"
        )
    return held


def _damaged(path: Path, error: Exception) -> CorruptFile:
    line = (str(error).splitlines() or [type(error).__name__])[0]
    return CorruptFile(f"{path}: cannot be read as a torch file: {line}\nCopy it again from its source.")
