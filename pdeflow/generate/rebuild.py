"""A problem from what a data set's record says of it."""

from __future__ import annotations

import ast
import json
from typing import Any

import pdeflow.problems
from pdeflow.errors import PdeflowError
from pdeflow.problems import Distribution, Evolution, Parameter, Problem


class NotRebuilt(PdeflowError):
    """The record does not say enough, or says what this version of pdeflow does not know."""


def rebuild_problem(recipe: dict[str, Any]) -> Problem:
    """The problem of a recorded recipe: one of pdeflow's families, with the recorded distributions.

    Nothing in the record is evaluated: a distribution is a class of `pdeflow.problems` called with literals.
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
        distributions = {key: read_distribution(text) for key, text in held.items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise NotRebuilt(f"the record lacks {error}") from error
    for kind in vars(pdeflow.problems).values():
        if not (isinstance(kind, type) and issubclass(kind, Problem)) or kind is Problem:
            continue
        if kind.__dict__.get("name") == name and issubclass(kind, Evolution):
            raise NotRebuilt(f"{name!r} is an equation in time, which has no residual to look at")
        try:
            problem = kind(dim=dim)  # pyright: ignore[reportCallIssue]  every steady family takes it
        except (TypeError, ValueError):
            continue
        if problem.name == name and set(problem.parameters) == set(distributions):
            break
    else:
        raise NotRebuilt(f"the problem {name!r} is not one of pdeflow's own")
    for key, distribution in distributions.items():
        stated = problem.parameters[key]
        drawn = Parameter(distribution, positive=stated.positive, same_draw_as=stated.same_draw_as)
        setattr(problem, key, drawn)
    ours = json.loads(json.dumps({"problem": problem.describe(), "statement": problem.statement()}))
    if ours != {key: recipe.get(key) for key in ours}:
        raise NotRebuilt(f"this version of pdeflow states {name!r} differently")
    return problem


def read_distribution(text: str) -> Distribution:
    """A distribution from its ``repr``.

    Raises
    ------
    NotRebuilt
        If it is no class of `pdeflow.problems` called with literals.
    """
    try:
        call = ast.parse(text, mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
            raise ValueError("no call by keywords")
        kind = getattr(pdeflow.problems, call.func.id, None)
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise ValueError(f"{call.func.id} is not one of pdeflow's distributions")
        return kind(**{str(word.arg): ast.literal_eval(word.value) for word in call.keywords})
    except (SyntaxError, ValueError, TypeError) as error:
        raise NotRebuilt(f"the distribution {text!r} cannot be read ({error})") from error
