"""A problem from what a data set's record says of it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pdeflow.problems
from pdeflow.errors import PdeflowError
from pdeflow.problems import (
    Box,
    Dirichlet,
    Distribution,
    Initial,
    MethodOfLines,
    Parameter,
    Problem,
    RandomPolygon,
    Robin,
)
from pdeflow.problems.conditions import Condition
from pdeflow.problems.elastic_conditions import Displacement, Traction
from pdeflow.problems.method_of_lines import has_time_axis

_Made = TypeVar("_Made")


class NotRebuilt(PdeflowError):
    """The record does not say enough, or says what this version of pdeflow does not know."""


def rebuild_problem(recipe: dict[str, Any]) -> Problem:
    """The problem of a recorded recipe: one of pdeflow's families, with the recorded distributions.

    Nothing in the record is evaluated: a distribution is a class of `pdeflow.problems` called with literals,
    and conditions are those of the family, or have numbers.
    What was rebuilt must describe and state itself exactly as the record does.

    Parameters
    ----------
    recipe
        What `Recipe.describe` gave.

    Raises
    ------
    NotRebuilt
        Saying why: an equation of the user's own, a distribution that is not among pdeflow's, or a statement
        that has changed since.
    """
    try:
        name, held, dim = recipe["problem"]["name"], recipe["distributions"], len(recipe["resolution"])
        place = _place(recipe["statement"])
        distributions = {key: read_distribution(text) for key, text in held.items()}
    except (KeyError, TypeError, ValueError, AttributeError, SyntaxError) as error:
        raise NotRebuilt(f"the record lacks, or does not say as it should: {error}") from error
    problem = _family(name, dim, set(distributions))
    for key, value in place.items():
        setattr(problem, key, value)
    for key, distribution in distributions.items():
        stated = problem.parameters[key]
        drawn = Parameter(distribution, positive=stated.positive, same_draw_as=stated.same_draw_as)
        setattr(problem, key, drawn)
    if "conditions" in recipe["statement"]:
        try:
            problem.conditions = _conditions(recipe, problem)
        except (KeyError, TypeError, ValueError, SyntaxError) as error:
            raise NotRebuilt(f"the conditions of {name!r} cannot be read ({error})") from error
    ours = json.loads(json.dumps({"problem": problem.describe(), "statement": problem.statement()}))
    if ours != {key: recipe.get(key) for key in ours}:
        raise NotRebuilt(f"this version of pdeflow states {name!r} differently")
    return MethodOfLines(problem) if has_time_axis(problem) else problem


def _place(statement: dict[str, Any]) -> dict[str, Any]:
    """The attributes that say where the equation holds, and their values."""
    if "shape" in statement:
        return {"shape": _called(statement["shape"], {"RandomPolygon": RandomPolygon})}
    axes, lower, upper, periodic = statement["domain"]
    sides = {axis: (low, high) for axis, low, high in zip(axes, lower, upper)}
    place: dict[str, Any] = {
        "domain": Box(periodic=[axis for axis, wraps in zip(axes, periodic) if wraps], **sides)
    }
    if "ends" in statement:
        place["walls"] = tuple(side for side, kind in statement["ends"].items() if kind == "wall")
    return place


def _conditions(recipe: dict[str, Any], problem: Problem) -> tuple[Condition, ...]:
    """The recorded conditions: with the values and coefficients of the family, or with numbers."""
    own = {
        tuple(stated[1:]): c
        for stated, c in zip(problem.statement().get("conditions", []), problem.conditions)
    }
    found: list[Condition] = []
    for stated, words in zip(recipe["statement"]["conditions"], recipe["problem"]["conditions"]):
        named, *parts = stated
        on = "all" if words.endswith("on the whole boundary") else tuple(map(str, named))
        kept = own.get(tuple(parts))
        if isinstance(kept, Initial):
            found.append(kept)
            continue
        if isinstance(kept, (Dirichlet, Robin)):
            found.append(dataclasses.replace(kept, on=on))
            continue
        value, *more = [read_number(text) for text in parts]
        if len(problem.fields) == 1:
            found.append(Robin(more[0], value, on) if more else Dirichlet(value, on))
        else:
            x, y, *pressure = map(_real, (value, *more))
            found.append(Traction(x, y, pressure[0], on) if pressure else Displacement(x, y, on))
    return tuple(found)


def read_number(text: str) -> complex:
    """A real or complex number from SymPy's ``srepr``, without evaluating it.

    Raises
    ------
    ValueError
        If it is none: a formula, say.
    """
    return _number(ast.parse(text, mode="eval").body)


def _real(number: complex) -> float:
    if isinstance(number, complex):
        raise ValueError("a complex number, not a real one")
    return number


def _number(node: ast.expr) -> complex:
    if isinstance(node, ast.Name) and node.id == "I":
        return 1j
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        kind, parts = node.func.id, node.args
        if kind == "Integer":
            return int(ast.literal_eval(parts[0]))
        if kind == "Float":
            return float(ast.literal_eval(parts[0]))
        if kind in ("Add", "Mul"):
            values = [_number(part) for part in parts]
            return sum(values) if kind == "Add" else math.prod(values)
    raise ValueError("a condition with a formula, not a number")


def _family(name: str, dim: int, parameters: set[str]) -> Problem:
    """The family of this name with so many dimensions and these parameters."""
    for kind in vars(pdeflow.problems).values():
        if not (isinstance(kind, type) and issubclass(kind, Problem)):
            continue
        if kind.__dict__.get("name") != name or inspect.isabstract(kind):
            continue
        takes_dim = "dim" in inspect.signature(kind).parameters
        try:
            problem = kind(**({"dim": dim} if takes_dim else {}))
        except (TypeError, ValueError):
            continue
        if set(problem.parameters) == parameters:
            return problem
    raise NotRebuilt(f"the problem {name!r} is not one of pdeflow's own")


def read_distribution(text: str) -> Distribution:
    """A distribution from its ``repr``.

    Raises
    ------
    NotRebuilt
        If it is no class of `pdeflow.problems` called with literals.
    """
    kinds = {
        name: kind
        for name, kind in vars(pdeflow.problems).items()
        if isinstance(kind, type) and issubclass(kind, Distribution)
    }
    try:
        return _called(text, kinds)
    except (SyntaxError, ValueError, TypeError) as error:
        raise NotRebuilt(f"the distribution {text!r} cannot be read ({error})") from error


def _called(text: str, kinds: Mapping[str, Callable[..., _Made]]) -> _Made:
    """What a call by keywords, all of them literals, to one of these makes; nothing is evaluated."""
    call = ast.parse(text, mode="eval").body
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
        raise ValueError("no call by keywords")
    if call.func.id not in kinds:
        raise ValueError(f"{call.func.id} is not one of pdeflow's distributions or shapes")
    return kinds[call.func.id](**{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
