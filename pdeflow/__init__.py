"""pdeflow: solve PDEs with learning where learning pays, and with classical numerics where it does not.

``import pdeflow`` is cheap: what it names is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pdeflow.field_surrogate import FieldSurrogate
    from pdeflow.surrogate import Surrogate
    from pdeflow.surrogate_folder import load, save
    from pdeflow.training.condition_number import condition_number

__version__ = "0.1.0"
__all__ = ["FieldSurrogate", "Surrogate", "__version__", "condition_number", "load", "save"]

_HOME = {
    "FieldSurrogate": "pdeflow.field_surrogate",
    "Surrogate": "pdeflow.surrogate",
    "condition_number": "pdeflow.training.condition_number",
    "load": "pdeflow.surrogate_folder",
    "save": "pdeflow.surrogate_folder",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pdeflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
