"""A surrogate as a folder to keep: three files, written by ``save`` and read by ``load``.

``model.safetensors`` holds the weights, ``surrogate.json`` what is needed to use them, ``README.md``
the model card. Loading runs no code from the files: the weights are plain numbers, and the JSON names a
class that has to be one of ``pdeflow.operators`` or ``pdeflow.fields``; formulas of hard conditions and
of domains are read by ``fields/expression_text.py``, which evaluates nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import pdeflow
from pdeflow.atomic_file import write_bytes
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.field_surrogate import FieldSurrogate
from pdeflow.fields import Field, HardConditions
from pdeflow.fields.implicit_domain import ImplicitDomain
from pdeflow.grid import Grid
from pdeflow.model_card import model_card
from pdeflow.operators import Operator
from pdeflow.problems.domain import Box, Domain
from pdeflow.stored_operator import components, is_storable, operator_classes, read_operator
from pdeflow.surrogate import Surrogate

FORMAT = 2
"""2: the weights of Fourier operators on odd grids belong to the modes that they stand for."""


def save(
    model: Operator,
    folder: str | Path,
    normalisation: Normalisation | None = None,
    *,
    grid: Grid | None = None,
    metrics: Mapping[str, float] | None = None,
    time_step: float | None = None,
    domain: Domain | None = None,
    equation: str | None = None,
) -> Path:
    """Write a surrogate into a folder, made if need be; a surrogate that is there is replaced.

    Parameters
    ----------
    model
        The trained operator, of a class of ``pdeflow.operators``, or field, of one of ``pdeflow.fields``.
    folder
        Gets ``model.safetensors``, ``surrogate.json`` and ``README.md``.
    normalisation
        Statistics that the model was trained with; none if it was trained on physical values.
    grid, metrics, time_step, equation
        What is known about training and quality; for the card and for ``Surrogate``.
    domain
        Of a field, where its equation was stated, unless that is all of its box.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InvalidInput
        If the model is not of a class that ``load`` would accept, a weight is not finite, or the domain is of
        another dimension, or no formula that can be stored.
    """
    from safetensors.torch import save as serialise

    core, head, members = components(model)
    name = type(core).__name__
    if not is_storable(model):
        raise InvalidInput(
            "model", name, "one of pdeflow.operators or pdeflow.fields", choices=operator_classes()
        )
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    for key, value in weights.items():
        if not bool(torch.isfinite(torch.view_as_real(value) if value.is_complex() else value).all()):
            hint = "The training diverged; use an earlier checkpoint."
            raise InvalidInput("model", key, "finite weights", hint)
    # Checks that normalisation and model agree before anything is written.
    implicit = None if domain is None or isinstance(domain, Box) else ImplicitDomain.of(domain)
    _made(model, normalisation, implicit, grid=grid, metrics=metrics)
    stored = serialise(weights)
    facts: dict[str, Any] = {
        "format": FORMAT,
        "operator": name,
        "settings": core.settings,
        "mean_variance": head,
        "domain": implicit.to_dict() if implicit is not None else None,
        "hard_conditions": model.formulas() if isinstance(model, HardConditions) else None,
        "members": members,
        "normalisation": normalisation.to_dict() if normalisation is not None else None,
        "grid": asdict(grid) if grid is not None else None,
        "metrics": {key: float(value) for key, value in (metrics or {}).items()},
        "time_step": time_step,
        "equation": equation,
        "versions": {
            "pdeflow": pdeflow.__version__,
            "torch": torch.__version__,
            "neuraloperator": metadata.version("neuraloperator"),
        },
        "sha256": hashlib.sha256(stored).hexdigest(),
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # The JSON comes last: with it the folder is a surrogate, and its checksum tells mixed files.
    write_bytes(folder / "model.safetensors", stored)
    write_bytes(folder / "README.md", model_card(facts, weights).encode())
    write_bytes(folder / "surrogate.json", json.dumps(facts, indent=1).encode())
    return folder


def load(folder: str | Path) -> Surrogate:
    """Read a surrogate, from its folder or from the folder of the run that trained it.

    Of a field it is a `FieldSurrogate`, which is called with points.

    Raises
    ------
    InvalidInput
        If there is no surrogate in the folder.
    UnsafeFile
        If it names a class that is not one of ``pdeflow.operators`` or ``pdeflow.fields``, or holds a formula
        of hard conditions or of a domain that is none.
    CorruptFile
        If a file is missing, damaged, or does not fit the others.
    """
    folder = _find(Path(folder))
    facts = _read_facts(folder / "surrogate.json")
    model = read_operator(folder, facts)
    try:
        normalisation, grid, domain = facts["normalisation"], facts["grid"], facts.get("domain")
        return _made(
            model,
            Normalisation.from_dict(normalisation) if normalisation is not None else None,
            ImplicitDomain.from_dict(**domain) if domain is not None else None,
            grid=_grid(grid) if grid is not None else None,
            metrics=facts["metrics"],
            time_step=facts.get("time_step"),
            equation=facts.get("equation"),
        )
    except (InvalidInput, TypeError, KeyError, ValueError) as error:
        raise CorruptFile(f"{folder / 'surrogate.json'}: {error}") from error


def _made(
    model: Operator, normalisation: Normalisation | None, domain: ImplicitDomain | None, **facts: Any
) -> Surrogate:
    """What is called like the model: at points of a domain, or with functions."""
    if isinstance(model, Field):
        return FieldSurrogate(model, normalisation, domain=domain, **facts)
    if domain is not None:
        raise InvalidInput("domain", domain.words, f"none, for {type(model).__name__} is no field")
    return Surrogate(model, normalisation, **facts)


def _grid(description: dict[str, Any]) -> Grid:
    if not isinstance(description, dict):
        raise InvalidInput("grid", description, "an object with axes, lower, upper, points and periodic")
    return Grid(**{key: tuple(value) for key, value in description.items()})


def _find(folder: Path) -> Path:
    for candidate in (folder, folder / "surrogate"):
        if (candidate / "surrogate.json").is_file():
            return candidate
    hint, choices = "Give a folder that pdeflow.save or `pdeflow fit` wrote.", []
    if not folder.exists():
        beside = sorted(folder.parent.glob("*/")) if folder.parent.is_dir() else []
        choices = [
            str(other)
            for other in beside
            if (other / "surrogate.json").is_file() or (other / "surrogate" / "surrogate.json").is_file()
        ]
    if (folder / "checkpoints").is_dir() or (folder / "members").is_dir():
        run = folder.parent.parent if folder.parent.name == "members" else folder
        hint = (
            f"Its training has not ended: go on with pdeflow fit --resume {run}; or its model is a class of "
            "your own, of which there are checkpoints alone."
        )
    raise InvalidInput("folder", str(folder), "a folder that holds surrogate.json", hint, choices=choices)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptFile(f"{path}: not JSON ({error}). Save the surrogate again.") from error
    wanted = ("format", "operator", "settings", "normalisation", "grid", "metrics", "sha256")
    missing = [key for key in wanted if not isinstance(facts, dict) or key not in facts]
    if missing:
        raise CorruptFile(f"{path}: has no {', '.join(missing)}. Save the surrogate again.")
    if facts["format"] != FORMAT:
        raise CorruptFile(
            f"{path}: format {facts['format']!r}, expected {FORMAT}.\n"
            "Update pdeflow, or save the surrogate again."
        )
    return facts
