"""What every operator is: a module from grid functions to grid functions that knows what it can take."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput


class Operator(nn.Module, abc.ABC):
    """A map ``(batch, in_channels, *shape) -> (batch, out_channels, *shape)`` for grids of many shapes.

    A subclass writes ``evaluate`` (the mathematics) and, where it matters, ``check_resolution``; this
    class does the checks, so that a tensor of the wrong kind never reaches the mathematics.

    Parameters
    ----------
    settings
        The keyword arguments that make this operator again, ``type(self)(**settings)``, of types that
        JSON knows. They are what a saved surrogate stores beside the weights.
    dim
        Number of spatial axes.
    in_channels, out_channels
        Number of functions read and given.
    """

    def __init__(self, settings: Mapping[str, Any], *, dim: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 1:
                raise InvalidInput(f"model.{name}", value, "at least 1")
        self.settings = dict(settings)
        self.dim = dim
        self.in_channels = in_channels
        self.out_channels = out_channels

    @abc.abstractmethod
    def evaluate(self, x: Tensor) -> Tensor:
        """The map itself, on a tensor that passed ``check``."""

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput where a grid of so many points an axis is too small; here any is fine."""

    def check(self, shape: Sequence[int]) -> None:
        """Say whether a tensor of this shape can be read.

        Parameters
        ----------
        shape
            ``(batch, in_channels, *points)``.

        Raises
        ------
        InvalidInput
            If the number of axes or of channels differs from what the operator was made for, or the
            resolution is one it cannot take.
        """
        if len(shape) != self.dim + 2:
            raise InvalidInput(
                "input",
                tuple(shape),
                f"a tensor (batch, channels, *points) with {self.dim} spatial axes",
                f"This {type(self).__name__} is {self.dim}-dimensional.",
            )
        if shape[1] != self.in_channels:
            raise InvalidInput(
                "input",
                tuple(shape),
                f"{self.in_channels} channels in axis 1, not {shape[1]}",
                f"Set model.in_channels to {shape[1]}, or change which fields the data set gives as inputs.",
            )
        self.check_resolution(shape[2:])

    def forward(self, x: Tensor) -> Tensor:
        """Apply the operator.

        Parameters
        ----------
        x
            ``(batch, in_channels, *points)``, real, of the dtype of the weights (float32 as made); a batch of
            no samples gives one.

        Returns
        -------
        Tensor
            ``(batch, out_channels, *points)``, of the same dtype.

        Raises
        ------
        InvalidInput
            As ``check``; also for a tensor that does not hold real floating-point numbers, and for one in
            double precision where the weights are in single.
        """
        self.check(x.shape)
        self.check_dtype(x)
        if x.shape[0] == 0:  # not len(x), which a trace would take for a constant
            # Not all layers of the libraries take it.
            return x.new_zeros(0, self.out_channels, *x.shape[2:])
        return self.evaluate(x)

    def check_dtype(self, x: Tensor) -> None:
        """Raise InvalidInput for numbers that are not real, or of a higher precision than the weights."""
        hint = "Convert it with .float()."
        if x.dtype == torch.float64 and any(p.dtype == torch.float32 for p in self.parameters()):
            hint = "Convert it with .float(), or the operator with .double()."
        elif x.is_floating_point():
            return
        raise InvalidInput("input dtype", str(x.dtype), "float32", hint)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Tensors only, so that ``torch.load(..., weights_only=True)`` and a strict load take it.

        neuraloperator writes its constructor's arguments, functions among them, into the state as an
        entry ``_metadata``. It is taken out here, for every operator, and nowhere else.
        """
        state = super().state_dict(*args, **kwargs)
        state.pop("_metadata", None)
        return state


def parameter_count(module: nn.Module) -> int:
    """Number of trainable real numbers; a complex one counts as two."""
    return sum(p.numel() * (2 if torch.is_complex(p) else 1) for p in module.parameters() if p.requires_grad)
