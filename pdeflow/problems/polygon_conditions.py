"""Conditions on the outer boundary of a polygon and on its holes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from pdeflow.errors import InvalidInput
from pdeflow.problems.conditions import Condition, Dirichlet, Robin, check_numbers, check_positive_robin
from pdeflow.problems.polygon import RandomPolygon

LOOPS = {"outer": ("outer", "base"), "holes": ("hole",)}
"""Names in recipes, to the parts of a mesh's boundary that they stand for."""


def conditions_on_loops(
    named: Mapping[str, Condition] | None, shape: RandomPolygon
) -> tuple[Dirichlet | Robin, ...]:
    """Conditions by where they hold, as recipes have them: ``{"holes": Neumann(), "outer": Dirichlet(1.0)}``.

    Raises
    ------
    InvalidInput
        If a name is neither ``outer`` nor ``holes``, a condition says itself where it holds, a number in it
        is not finite, a Robin coefficient is below 0, or nothing fixes the level of u on some polygon.
    """
    found: list[Dirichlet | Robin] = []
    for name, condition in (named or {}).items():
        key = f"conditions.{name}"
        if name not in LOOPS:
            raise InvalidInput(key, name, "a part of a polygon's boundary", choices=tuple(LOOPS))
        if not isinstance(condition, (Dirichlet, Robin)):
            raise InvalidInput(key, condition, "Dirichlet, Neumann or Robin")
        if condition.on != "all":
            raise InvalidInput(f"{key}.on", condition.on, "nothing: the key says where it holds")
        check_numbers(condition)
        check_positive_robin(condition)
        found.append(replace(condition, on=(name,)))
    floating = {c.on[0] for c in found if isinstance(c, Robin) and c.coefficient == 0}
    if "outer" in floating and ("holes" in floating or not shape.holes[0]):
        hint = "Give outer a Dirichlet or Robin condition, or shape at least one hole that fixes u."
        got = "none on a polygon without holes" if "holes" not in floating else "none but Neumann"
        raise InvalidInput("conditions", got, "something that fixes the level of u on every polygon", hint)
    return tuple(found)


def parts_of(condition: Condition) -> tuple[str, ...]:
    """The parts of a mesh's boundary that a condition holds on."""
    names = tuple(LOOPS) if condition.on == "all" else condition.on
    return tuple(part for name in names for part in LOOPS[name])


def held_parts(held: Iterable[str], conditions: Iterable[Condition]) -> tuple[str, ...]:
    """Where u is given: where it is by default, unless a condition says otherwise there."""
    parts = dict.fromkeys(held, True)
    for condition in conditions:
        parts |= dict.fromkeys(parts_of(condition), isinstance(condition, Dirichlet))
    return tuple(part for part, given in parts.items() if given)
