"""What training minimises: the part in which methods differ."""

from __future__ import annotations

import abc
from typing import Any

from torch import Tensor, nn


class Objective(nn.Module, abc.ABC):
    """The loss of a batch, given what the model predicts for it. A module, so that it may hold buffers."""

    @abc.abstractmethod
    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """A scalar to be made small.

        Parameters
        ----------
        prediction
            ``(batch, out_channels, *shape)`` in physical units.
        batch
            ``input``, ``target``, ``index`` and ``grid``, as GridData gives them.
        """
