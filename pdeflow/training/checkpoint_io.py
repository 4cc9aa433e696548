"""Reading and writing checkpoints without trusting them and without losing them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from pdeflow.atomic_file import replacing
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile


class SafeCheckpointIO(TorchCheckpointIO):
    """Loads checkpoints with ``weights_only=True``, whatever is asked for, and replaces them atomically.

    Give it to the trainer: ``Trainer(plugins=[SafeCheckpointIO()])``.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        """Write ``path.partial``, flush it to disk, rename it: a kill leaves the old file or the new one."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as stream:
            torch.save(checkpoint, stream)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = "cpu",
        weights_only: bool | None = True,
    ) -> dict[str, Any]:
        """Read a checkpoint; see ``load_checkpoint`` below for the errors."""
        return load_checkpoint(path, map_location)


def load_checkpoint(path: str | os.PathLike[str], map_location: Any = "cpu") -> dict[str, Any]:
    """Read a file of tensors and plain values; never runs code that the file brings.

    Raises
    ------
    InvalidInput
        If there is no such file.
    UnsafeFile
        If it holds pickled code or classes, or compressed entries.
    CorruptFile
        If it is truncated, damaged (one flipped bit is enough), or no checkpoint.
    """
    path = Path(path)
    if not path.is_file():
        hint = "Look in the run's folder checkpoints/."
        raise InvalidInput("checkpoint", str(path), "an existing file", hint)
    try:
        if not zipfile.is_zipfile(path):
            raise CorruptFile(
                f"{path}: expected a checkpoint (PyTorch's zip format); this is something else or cut off.\n"
                "Train again or take another checkpoint, such as best.ckpt beside last.ckpt."
            )
        _check_entries(path)
        return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" not in str(error):
            raise CorruptFile(f"{path}: the checkpoint is damaged ({error}).") from error
        raise UnsafeFile(
            f"{path}: the checkpoint holds pickled Python objects, which could run code when loaded; "
            "expected tensors and plain values only.\n"
            "Use a checkpoint that pdeflow wrote, or a saved surrogate (safetensors)."
        ) from error
    except (RuntimeError, EOFError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise CorruptFile(f"{path}: the checkpoint is damaged ({error}).") from error


def _check_entries(path: Path) -> None:
    """Compare every entry with its CRC-32, which torch's own reader does not look at."""
    with zipfile.ZipFile(path) as archive:
        # torch.save never compresses; a compressed entry could unfold to any size.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise UnsafeFile(
                f"{path}: the checkpoint holds compressed entries, which torch.save never writes.\n"
                "Use a checkpoint that pdeflow wrote."
            )
        try:
            damaged = archive.testzip()
        except OSError as error:  # an offset that is damaged points to before the file's start
            raise CorruptFile(f"{path}: the checkpoint is damaged or cannot be read ({error}).") from error
    if damaged is not None:
        raise CorruptFile(
            f"{path}: the checkpoint is damaged (the checksum of its entry {damaged!r:.80} is wrong).\n"
            "Copy it again from its source, or take another one, such as best.ckpt beside last.ckpt."
        )
