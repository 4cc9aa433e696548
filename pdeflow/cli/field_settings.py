"""What a training config has to say, or may not say, where the model is a field and the data are points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, JoinedFields
from pdeflow.operators import Operator
from pdeflow.training import Collocation, Objective, PhysicsInformed


def with_problem(config: Namespace, key: str) -> Namespace:
    """The config of a class, with the problem beside it where the class takes one and has none."""
    chosen, problem = config[key].clone(), config.get("problem")
    if problem is not None and "problem" in chosen.init_args and chosen.init_args.problem is None:
        chosen.init_args.problem = problem
    return chosen


def check_problem(config: Namespace) -> None:
    """Raise InvalidInput for a problem that nothing is told of: it would have no effect."""
    if config.get("problem") is None:
        return
    if not any("problem" in config[key].get("init_args", {}) for key in ("data", "objective")):
        names = " and ".join(config[key].class_path.rpartition(".")[2] for key in ("objective", "data"))
        hint = "Leave it out, or take PhysicsInformed and Collocation."
        raise InvalidInput("problem", config.problem.class_path, f"none for {names}", hint)


def fit_to_domain(config: Namespace, given: Namespace, data: Collocation) -> None:
    """Give a field the problem's box where the config says nothing; refuse a contradiction.

    Of `JoinedFields` each part is given it, or as many coordinates as its ``lower`` says.
    """
    chosen = (given.get("model") or Namespace()).get("init_args") or Namespace()
    _fit("model.init_args", config.model.init_args, chosen, data.model_arguments)
    if config.model.class_path.rpartition(".")[2] != JoinedFields.__name__:
        return
    for k, (part, said) in enumerate(zip(config.model.init_args.parts, chosen.parts)):
        own = said.get("init_args") or Namespace()
        dim = len(own.get("lower") or data.problem.domain.axes)
        box = {key: data.model_arguments[key][:dim] for key in ("lower", "upper", "periodic")}
        _fit(f"model.init_args.parts[{k}].init_args", part.init_args, own, box)


def _fit(place: str, arguments: Namespace, chosen: Namespace, wanted: Mapping[str, Any]) -> None:
    """Give a field these arguments, where it has them."""
    for key, value in wanted.items():
        if key in chosen and chosen[key] != value:
            hint = f"Leave {key} out."
            raise InvalidInput(f"{place}.{key}", chosen[key], f"{value}, as the problem has it", hint)
        if key in arguments:
            arguments[key] = value


def check_objective(objective: Objective, data: LightningDataModule) -> None:
    """Raise InvalidInput unless points and PhysicsInformed come together."""
    if isinstance(data, Collocation) == isinstance(objective, PhysicsInformed):
        return
    expected = "PhysicsInformed, for Collocation gives points"
    if not isinstance(data, Collocation):
        expected = f"one for {type(data).__name__}"
    hint = "PhysicsInformed and Collocation belong together."
    raise InvalidInput("objective", type(objective).__name__, expected, hint)


def check_field(model: Operator, data: LightningDataModule, config: Namespace) -> None:
    """Raise InvalidInput unless points and a field come together, and what is asked has an effect on it."""
    name, on_points = type(model).__name__, isinstance(data, Collocation)
    if isinstance(model, Field) != on_points:
        expected = "a field such as MLP, for Collocation gives points" if on_points else "an operator"
        hint = (
            "" if on_points else "A field learns from a problem: objective PhysicsInformed, data Collocation."
        )
        raise InvalidInput("model.class_path", name, expected, hint)
    refused: dict[str, tuple[Any, str]] = {
        "ensemble": (1, "Train again with another seed: --seed_everything."),
        "compile": (False, "Leave it out: derivatives are not compiled."),
    }
    for key, (usual, hint) in refused.items():
        if on_points and config[key] != usual:
            raise InvalidInput(key, config[key], f"{usual} for a field", hint)
