"""Arrays and tensors of several shapes and dtypes, as a surrogate on grids takes them and answers in kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators import Operator


def as_tensor(values: Any) -> Tensor:
    """A copy of an array of real numbers, or a tensor without its graph; InvalidInput for others."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "biuf":
            raise InvalidInput("coefficient dtype", str(values.dtype), "real numbers")
        # A copy: torch wants positive strides and memory that may be written to.
        values = torch.from_numpy(np.array(values, dtype=values.dtype.newbyteorder("="), order="C"))
    if not isinstance(values, Tensor):
        raise InvalidInput("coefficient", type(values).__name__, "a NumPy array or a torch tensor")
    if values.is_complex():
        raise InvalidInput("coefficient dtype", str(values.dtype), "real numbers")
    return values.detach()


def mapped(
    given: Any,
    model: Operator,
    names: Sequence[str],
    predict: Callable[[Tensor], Tensor],
    axes: tuple[int, ...],
    batch_size: int,
) -> Any:
    """``predict`` of what is given, some samples at a time, as it came: see ``Surrogate.__call__``.

    Parameters
    ----------
    given
        Array or tensor, ``(*S)``, ``(batch, *S)`` or ``(batch, in_channels, *S)``.
    model
        Says which shapes it takes.
    names
        Of its input channels, for messages.
    predict
        ``(batch, in_channels, *S)`` to ``(batch, *axes, *S)``.
    axes
        Lengths of the axes between batch and space, the channels last. Where the channels were not among the
        axes of the input, and there is only one of the output, they are not among those of the answer.
    batch_size
        Samples at a time.

    Raises
    ------
    InvalidInput
        For what the model cannot take, dtypes that are not of real numbers, values that are not finite, and a
        batch size below 1.
    """
    if batch_size < 1:
        raise InvalidInput("batch_size", batch_size, "at least 1")
    values = as_tensor(given)
    dtype = values.dtype if values.is_floating_point() else torch.float32
    batch, axes_added = _with_channels(values, model, names)
    if batch.shape[1] != model.in_channels:
        raise InvalidInput(
            "coefficient",
            tuple(values.shape),
            f"{model.in_channels} channels in axis 1, not {batch.shape[1]}",
            f"It was trained to read {', '.join(names)}, in this order.",
        )
    model.check(batch.shape)
    if not bool(torch.isfinite(batch).all()):
        raise InvalidInput(
            "coefficient",
            f"{int((~torch.isfinite(batch)).sum())} values that are NaN or infinite",
            "finite numbers",
        )
    with torch.no_grad():
        parts = [predict(part) for part in batch.split(batch_size)] if len(batch) else []
    result = torch.cat(parts) if parts else torch.zeros(0, *axes, *batch.shape[2:])
    result = result.to(device=values.device, dtype=dtype)
    if axes_added and axes[-1] == 1:
        result = result.squeeze(len(axes))
    if axes_added == 2:
        result = result.squeeze(0)
    return result.numpy() if isinstance(given, np.ndarray) else result


def _with_channels(values: Tensor, model: Operator, names: Sequence[str]) -> tuple[Tensor, int]:
    """The values as ``(batch, in_channels, *S)``, and how many axes were added for that."""
    dim, channels = model.dim, model.in_channels
    missing = dim + 2 - values.ndim
    if missing == 0:
        return values, 0
    if missing not in (1, 2) or channels != 1:
        space = ", ".join(["x", "y", "z"][:dim])
        shapes = [f"({space})", f"(batch, {space})"] if channels == 1 else []
        raise InvalidInput(
            "coefficient",
            tuple(values.shape),
            " or ".join([*shapes, f"(batch, {channels}, {space})"]),
            f"The channels are {', '.join(names)}.",
        )
    return (values.unsqueeze(1), 1) if missing == 1 else (values[None, None], 2)
