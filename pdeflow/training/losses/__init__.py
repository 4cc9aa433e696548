"""Losses on grid functions, named in configs by their class."""

from pdeflow.training.losses.h1 import H1
from pdeflow.training.losses.loss import Loss
from pdeflow.training.losses.relative_l2 import L2, RelativeL2
from pdeflow.training.losses.sobolev import Sobolev
from pdeflow.training.losses.spectral import Spectral

__all__ = ["H1", "L2", "Loss", "RelativeL2", "Sobolev", "Spectral"]
