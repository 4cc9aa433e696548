"""Faster imports of large packages, without leaving anything out that is used."""

from __future__ import annotations

import gc
import importlib
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNAL = "scipy.signal"


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import inside this block without garbage collection and without scipy.signal.

    Collection finds next to nothing while modules are made: switching it off takes 13 % off the import of
    lightning.pytorch. What was imported is then frozen, so that later collections do not walk through it.
    scipy.signal, which takes 0.5 s, is deferred; see `_DeferredSignal`.
    """
    was_on = gc.isenabled()
    gc.disable()
    deferred = None
    if SIGNAL not in sys.modules:
        deferred = sys.modules[SIGNAL] = _DeferredSignal(SIGNAL)
    try:
        yield
    finally:
        if deferred is not None and sys.modules.get(SIGNAL) is deferred:
            del sys.modules[SIGNAL]
        gc.freeze()
        if was_on:
            gc.enable()


class _DeferredSignal(types.ModuleType):
    """Stands for scipy.signal while torchmetrics is imported, and becomes it as soon as it is used.

    torchmetrics imports scipy.signal only to see whether it has ``hamming``, and to add it otherwise, for one
    audio metric. It is told yes; any other name loads the real module.
    """

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(SIGNAL) is self:
            del sys.modules[SIGNAL]
        return getattr(importlib.import_module(SIGNAL), name)
