"""Which classes a config may name: nothing outside a short list, unless the caller widens it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pdeflow.cli.failure import UsageError

# The least that the configs need. A name is allowed if it, or a package it is inside of, is listed, and if
# the object it leads to is itself defined inside the list: an allowed module that imports `os` gives no way
# to `os.system`. Loggers are named one by one, because most of the others send data over the network.
ALLOWED = (
    "pdeflow.data",
    "pdeflow.fields",
    "pdeflow.linalg",
    "pdeflow.operators",
    "pdeflow.problems",
    "pdeflow.training",
    "torch.optim",
    "pytorch_optimizer.SOAP",
    "pytorch_optimizer.optimizer.soap.SOAP",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.cli.ReduceLROnPlateau",
    "lightning.pytorch.loggers.CSVLogger",
    "lightning.pytorch.loggers.csv_logs.CSVLogger",
    "lightning.pytorch.loggers.TensorBoardLogger",
    "lightning.pytorch.loggers.tensorboard.TensorBoardLogger",
    "lightning.pytorch.strategies",
)


def is_allowed(path: str) -> bool:
    """Whether a config may name ``path`` now."""
    from jsonargparse._common import denying_import_path_entry

    return denying_import_path_entry(path) is None


def apply(extra: Sequence[str] = ()) -> None:
    """Restrict the names that jsonargparse may import to ``ALLOWED``, ``extra`` and ``PDEFLOW_ALLOW``.

    ``extra`` comes from ``--allow`` on the command line and ``PDEFLOW_ALLOW`` (a comma-separated list) from
    the environment; a config cannot widen the list. Modules of ``extra`` that are found nowhere else may lie
    in the current folder.

    Raises
    ------
    UsageError
        If a prefix is not a dotted name.
    """
    from jsonargparse import set_parsing_settings

    widened = [*extra, *filter(None, os.environ.get("PDEFLOW_ALLOW", "").split(","))]
    for prefix in widened:
        if (
            not all(part.isidentifier() for part in prefix.split("."))
            or prefix.split(".")[0] == "jsonargparse"
        ):
            raise UsageError(
                "--allow", prefix, "a dotted module name", "For example: --allow my_package.models"
            )
    set_parsing_settings(
        # "*" denies everything that is not allowed by name. A config may be read from local files only
        # (Lightning switches fsspec on, which would also read URLs), and an argument of type Any stays data.
        import_path_denylist=["*"],
        import_path_allowlist=[*ALLOWED, *widened],
        instantiate_subclass_spec_in_any=False,
        config_read_mode_fsspec_enabled=False,
        config_read_mode_urls_enabled=False,
    )
    for prefix in extra:
        _find_here(prefix.split(".")[0])
    _limit_short_names()


def _find_here(module: str) -> None:
    """Let a module be imported from the current folder, where it lies there and nowhere else."""
    here = Path.cwd()
    lies_here = (here / module).is_dir() or (here / f"{module}.py").is_file()
    if lies_here and module not in sys.modules and importlib.util.find_spec(module) is None:
        sys.path.append(str(here))


def _limit_short_names() -> None:
    """Let a short name (``AdamW``) mean an allowed class only.

    jsonargparse looks a short name up among all subclasses that happen to be imported, and refuses it as
    ambiguous once neuralop, which has an ``AdamW`` of its own, is one of them. It has no setting for this, so
    the function that lists subclasses is wrapped, once.
    """
    from jsonargparse import _typehints

    listing = _typehints.get_all_subclass_paths
    if getattr(listing, "allowed_only", False):
        return

    def allowed_subclass_paths(*args: Any, **kwargs: Any) -> list[str]:
        return [path for path in listing(*args, **kwargs) if is_allowed(path)]

    allowed_subclass_paths.allowed_only = True  # type: ignore[attr-defined]
    _typehints.get_all_subclass_paths = allowed_subclass_paths
