"""An operator or a field as what is stored of it: the name of its class, its settings, and its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

import pdeflow.fields
import pdeflow.operators
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile
from pdeflow.fields import AutogradField, Field, HardConditions
from pdeflow.operators import (
    Ensemble,
    GaussianGraphOperator,
    GaussianOperator,
    GraphOperator,
    MeanVariance,
    Operator,
)
from pdeflow.operators.composed_gaussian import ComposedGaussian
from pdeflow.operators.ensemble import GraphEnsemble
from pdeflow.operators.mean_variance import GraphMeanVariance


def is_storable(model: Operator) -> bool:
    """Whether ``load`` makes it again: it is of a class of ``pdeflow.operators`` or ``pdeflow.fields``."""
    core = type(components(model)[0])
    parts = [model, *(model.members if isinstance(model, Ensemble) else [])]
    made_of_others = (Ensemble, GraphEnsemble, MeanVariance, GraphMeanVariance, HardConditions)
    known = all(type(part) in (*made_of_others, core) for part in parts)
    if isinstance(model, HardConditions):
        try:
            model.formulas()
        except InvalidInput:
            return False
    return known and operator_classes().get(core.__name__) is core


def components(model: Operator) -> tuple[Operator, bool, int]:
    """The operator itself, of the first member; whether `MeanVariance` reads it; how many members."""
    first = model.members[0] if isinstance(model, Ensemble) else model
    members = len(model.members) if isinstance(model, Ensemble) else 1
    core = model.core if isinstance(model, ComposedGaussian) else model
    core = core.network if isinstance(core, HardConditions) else core
    assert isinstance(core, Operator)
    return core, isinstance(first, MeanVariance), members


def read_operator(folder: Path, facts: dict[str, Any]) -> Operator:
    """The operator with its weights. Built without memory first, to check what the file claims."""
    from safetensors import SafetensorError
    from safetensors.torch import load as deserialise

    classes, path = operator_classes(), folder / "model.safetensors"
    if facts["operator"] not in classes:
        raise UnsafeFile(
            f"{folder / 'surrogate.json'}: operator {facts['operator']!r:.80}, expected one of "
            f"{', '.join(sorted(classes))}.\n"
            "Only classes of pdeflow.operators and pdeflow.fields are made from a file."
        )
    if not path.is_file():
        raise CorruptFile(f"{path}: not there, although surrogate.json is. Copy the whole folder.")
    stored = path.read_bytes()
    if hashlib.sha256(stored).hexdigest() != facts["sha256"]:
        raise CorruptFile(
            f"{path}: its checksum is not the one in surrogate.json: it is damaged, or another one's.\n"
            "Copy the folder again, or save the surrogate again."
        )
    try:
        weights = deserialise(stored)
        with torch.device("meta"):
            model = _assembled(classes[facts["operator"]], facts, len(weights))
        model.load_state_dict(weights, strict=True, assign=True)
    except (SafetensorError, InvalidInput, TypeError, RuntimeError, ValueError, OverflowError) as error:
        raise CorruptFile(
            f"{folder}: the settings in surrogate.json and the weights do not fit ({error}).\n"
            "Save the surrogate again."
        ) from error
    return model


def _assembled(core: type[Operator], facts: dict[str, Any], tensors: int) -> Operator:
    """The operator, with what reads its output as a distribution and as often as there are members."""
    count = facts.get("members", 1)
    if not isinstance(count, int) or not 1 <= count <= tensors:
        raise InvalidInput("members", count, f"a number from 1 to {tensors}, the tensors that are stored")

    def member() -> Operator:
        made = core(**facts["settings"])
        if (formulas := facts.get("hard_conditions")) is not None:
            if not isinstance(made, Field):
                raise InvalidInput("hard_conditions", formulas, f"nothing, for {core.__name__} is no field")
            made = HardConditions.from_formulas(made, **formulas)
        return MeanVariance(made) if facts.get("mean_variance", False) else made

    first = member()
    if count > 1 and count * len(first.state_dict()) != tensors:  # before so many are made
        held = f"{tensors} stored tensors over {len(first.state_dict())} of a member"
        raise InvalidInput("members", count, held)
    return first if count == 1 else Ensemble([first, *(member() for _ in range(count - 1))])


def operator_classes() -> dict[str, type[Operator]]:
    """Concrete operators and fields by name."""
    modules = (pdeflow.operators, pdeflow.fields)
    named = {name: getattr(module, name) for module in modules for name in module.__all__}
    made_of_others = (
        Operator,
        GraphOperator,
        GaussianOperator,
        GaussianGraphOperator,
        MeanVariance,
        Ensemble,
        Field,
        AutogradField,
        HardConditions,
    )
    classes = {name: item for name, item in named.items() if issubclass(item, Operator)}
    return {name: item for name, item in classes.items() if item not in made_of_others}
