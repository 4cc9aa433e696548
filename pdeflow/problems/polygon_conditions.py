"""Conditions on the outer boundary of a polygon and on its holes."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Function
from pdeflow.problems.conditions import Condition, Dirichlet, Robin, check_positive_robin
from pdeflow.problems.elastic_conditions import Displacement, Traction
from pdeflow.problems.polygon import RandomPolygon
from pdeflow.triangle_mesh import BOUNDARY_PARTS, TriangleMesh

if TYPE_CHECKING:
    from pdeflow.problems.mesh_problem import MeshProblem

LOOPS = {"outer": ("outer", "base"), "holes": ("hole",)}
"""Names in recipes, to the parts of a mesh's boundary that they stand for."""
VALUES = (Dirichlet, Displacement)
"""Conditions that give the unknowns themselves."""

_WORDS = {Dirichlet: "Dirichlet, Neumann or Robin", Displacement: "Displacement or Traction"}
_NO_HOLES = "Take holes of at least (0, 1) in the shape, or leave the condition out."


def conditions_on_loops(
    named: Mapping[str, Condition] | None, shape: RandomPolygon
) -> tuple[Dirichlet | Robin, ...]:
    """Conditions by where they hold, as recipes have them: ``{"holes": Neumann(), "outer": Dirichlet(1.0)}``.

    Raises
    ------
    InvalidInput
        If a name is neither ``outer`` nor ``holes``, no polygon has holes, a condition says itself where it
        holds, a number in it is not real and finite, a Robin coefficient is below 0, or nothing fixes the
        level of u on some polygon.
    """
    found = _on_loops(named, shape, (Dirichlet, Robin))
    floating = {c.on[0] for c in found if isinstance(c, Robin) and c.coefficient == 0}
    if "outer" in floating and ("holes" in floating or not shape.holes[0]):
        hint = "Give outer a Dirichlet or Robin condition, or shape at least one hole that fixes u."
        got = "none on a polygon without holes" if "holes" not in floating else "none but Neumann"
        raise InvalidInput("conditions", got, "something that fixes the level of u on every polygon", hint)
    return found


def conditions_on_body(
    named: Mapping[str, Condition] | None, shape: RandomPolygon
) -> tuple[Displacement | Traction, ...]:
    """The same of an elastic body: ``{"outer": Displacement(), "holes": Traction(pressure=1.0)}``.

    Raises
    ------
    InvalidInput
        If a name is neither ``outer`` nor ``holes``, no polygon has holes, a condition says itself where it
        holds, or a number in it is not real and finite.
    """
    return _on_loops(named, shape, (Displacement, Traction))


_Kind = TypeVar("_Kind", bound="Dirichlet | Robin | Displacement | Traction")


def _on_loops(
    named: Mapping[str, Condition] | None, shape: RandomPolygon, kinds: tuple[type[_Kind], ...]
) -> tuple[_Kind, ...]:
    """Conditions of these kinds, each with the loop that it is named by."""
    found: list[_Kind] = []
    for name, condition in (named or {}).items():
        key = f"conditions.{name}"
        if name not in LOOPS:
            raise InvalidInput(key, name, "a part of a polygon's boundary", choices=tuple(LOOPS))
        if not isinstance(condition, kinds):
            raise InvalidInput(key, condition, _WORDS[kinds[0]])
        if condition.on != "all":
            raise InvalidInput(f"{key}.on", condition.on, "nothing: the key says where it holds")
        if name == "holes" and not shape.holes[1]:
            raise InvalidInput(key, name, "a part that some polygon has", _NO_HOLES)
        _check_real(condition)
        found.append(replace(condition, on=(name,)))
    return tuple(found)


def loops_of(condition: Condition) -> tuple[str, ...]:
    """The names in ``LOOPS`` that a condition holds on."""
    if isinstance(condition.on, str):
        return tuple(LOOPS) if condition.on == "all" else (condition.on,)
    return tuple(condition.on)


def parts_of(condition: Condition) -> tuple[str, ...]:
    """The parts of a mesh's boundary that a condition holds on."""
    return tuple(part for name in loops_of(condition) for part in LOOPS[name])


def placed(conditions: Sequence[Condition]) -> list[tuple[Condition, tuple[str, ...]]]:
    """Each condition with the parts of a mesh's boundary where it is the last one.

    A traction has no effect where the displacement is given, whichever comes last.
    """
    given = {
        part for condition in conditions if isinstance(condition, VALUES) for part in parts_of(condition)
    }
    last = {
        part: k
        for k, condition in enumerate(conditions)
        for part in parts_of(condition)
        if not (isinstance(condition, Traction) and part in given)
    }
    parts = [tuple(part for part, j in last.items() if j == k) for k in range(len(conditions))]
    return [(condition, here) for condition, here in zip(conditions, parts) if here]


def held_parts(held: Iterable[str], conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Where u is given: where it is by default, unless a condition says otherwise there."""
    parts = dict.fromkeys(held, True)
    for condition, here in placed(conditions):
        if not isinstance(condition, Traction):  # which is a force, and frees nothing
            parts |= dict.fromkeys(here, isinstance(condition, VALUES))
    return tuple(part for part, given in parts.items() if given)


def default_parts(held: Iterable[str], conditions: Sequence[Condition]) -> tuple[str, ...]:
    """Where u is given, but not by a condition."""
    named = {part for c, here in placed(conditions) if isinstance(c, VALUES) for part in here}
    return tuple(part for part in held_parts(held, conditions) if part not in named)


def check_stated(problem: MeshProblem, mesh: TriangleMesh) -> None:
    """Raise InvalidInput unless a mesh can be given the conditions of a problem.

    What `conditions_on_loops` refuses is refused of problems written by hand too, and parts of the boundary
    that are not there: holes may be missing in a sample, unless no polygon has them.
    """
    owner, known = type(problem).__name__, BOUNDARY_PARTS[1:]
    if isinstance(problem.held, str):
        hint = f'Say ("{problem.held}",).'
        raise InvalidInput(f"{owner}.held", problem.held, "a tuple of parts of the boundary", hint)
    for part in problem.held:
        if part not in known:
            raise InvalidInput(f"{owner}.held", part, "parts of the boundary", choices=known)
    kinds = {1: (Dirichlet, Robin), 2: (Displacement, Traction)}.get(len(problem.fields), ())
    for condition in problem.conditions:
        if not isinstance(condition, kinds):
            expected = _WORDS[kinds[0]] if kinds else "none, with so many unknowns"
            hint = "" if kinds else "Give values by held and boundary_value."
            raise InvalidInput(f"{owner}.conditions", condition, expected, hint)
        _check_real(condition)
        if len(problem.fields) == 1:
            condition.unknowns(problem.fields)
        key = f"{type(condition).__name__}.on"
        for name in loops_of(condition):
            if name not in LOOPS:
                raise InvalidInput(key, name, "'all' or parts of a polygon's boundary", choices=tuple(LOOPS))
        parts = parts_of(condition)
        if not mesh.on(parts).any() and not (parts == LOOPS["holes"] and problem.shape.holes[1]):
            hint = _NO_HOLES if parts == LOOPS["holes"] else "Mark them in the mesh: TriangleMesh.boundary."
            raise InvalidInput(key, condition.on, "a part of the boundary with nodes of the mesh on it", hint)


def _check_real(condition: Condition) -> None:
    """Raise InvalidInput unless the numbers in it are real and finite, a Robin coefficient not below 0."""
    for part in ("value", "coefficient", "x", "y", "pressure"):
        number = getattr(condition, part, 0.0)
        if not callable(number) and not (isinstance(number, numbers.Real) and math.isfinite(number)):
            raise InvalidInput(f"{type(condition).__name__}.{part}", number, "a real, finite number")
    check_positive_robin(condition)


def evaluated(value: Any, places: tuple[int, ...], name: str) -> Tensor:
    """What a number or a formula has given, as a tensor (*places) float64.

    Raises
    ------
    InvalidInput
        By ``name``, if it is neither a number nor one real number a place.
    """
    value = value.values if isinstance(value, Function) else value
    if not (isinstance(value, Tensor) and value.shape in ((), places)) and not isinstance(
        value, numbers.Real
    ):
        shape = getattr(value, "shape", None)
        got = type(value).__name__ if shape is None else f"{type(value).__name__} of shape {tuple(shape)}"
        hint = "Compute it from at and p. What is known at nodes is a Parameter, written p.NAME."
        raise InvalidInput(name, got, f"a number, or an expression with values {places}", hint)
    if isinstance(value, Tensor) and value.is_complex():
        raise InvalidInput(name, str(value.dtype), "real numbers")
    return torch.as_tensor(value, dtype=torch.float64, device="cpu").expand(places)


def require_finite(values: Tensor, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise InvalidInput, by ``name``, for values that are not finite while all parameters are.

    A sample whose parameters are not finite is left to its solver, which says so.
    """
    wrong = values[~values.isfinite()]
    drawn = (torch.as_tensor(given) for given in parameters.values() if not callable(given))
    if len(wrong) and all(bool(given.isfinite().all()) for given in drawn):
        expected = f"finite numbers on the boundary; {len(wrong)} of {values.numel()} are not"
        hint = "Look for a division by 0, or the root or logarithm of what is not positive."
        raise InvalidInput(name, float(wrong[0]), expected, hint)
