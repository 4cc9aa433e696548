"""What happens around the training loop, a callback a file."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Callback

from pdeflow.training.callbacks.checkpoints import Checkpoints
from pdeflow.training.callbacks.condition_numbers import ConditionNumbers
from pdeflow.training.callbacks.field_results import FieldResults
from pdeflow.training.callbacks.history import History
from pdeflow.training.callbacks.non_finite_loss import NonFiniteLoss
from pdeflow.training.callbacks.pictures import Pictures
from pdeflow.training.callbacks.random_state import RandomState
from pdeflow.training.callbacks.spectral_refiner import SpectralRefiner
from pdeflow.training.callbacks.surrogate_export import SurrogateExport
from pdeflow.training.callbacks.symmetries import Symmetries
from pdeflow.training.callbacks.test_results import TestResults
from pdeflow.training.callbacks.trust_check import TrustCheck

__all__ = [
    "Checkpoints",
    "ConditionNumbers",
    "FieldResults",
    "History",
    "NonFiniteLoss",
    "Pictures",
    "RandomState",
    "SpectralRefiner",
    "SurrogateExport",
    "Symmetries",
    "TestResults",
    "TrustCheck",
    "default_callbacks",
]


def default_callbacks(folder: str | Path) -> list[Callback]:
    """The callbacks of an ordinary run that writes into ``folder``."""
    return [
        RandomState(),
        NonFiniteLoss(),
        ConditionNumbers(folder),
        History(folder),
        Pictures(),
        Checkpoints(folder),
        SurrogateExport(folder),
        TrustCheck(folder),
    ]
