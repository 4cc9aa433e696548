"""Boundary conditions. Periodicity is a property of the domain: ``Box(..., periodic=("x",))``."""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.domain import Domain

TIME = "t"
"""The axis of time, where a domain has one."""


class Condition:
    """What holds on some sides of a domain; of two conditions on one side, the later one holds.

    Of several unknowns ``of`` names those that it is about: conditions on others then hold beside it.
    """

    on: str | tuple[str, ...]
    of: str | tuple[str, ...] = ()

    def unknowns(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Which of the unknowns it is about: the only one, or those that ``of`` names.

        Raises
        ------
        InvalidInput
            If there are several and it names none, one that there is not, or one twice.
        """
        name = f"{type(self).__name__}.of"
        chosen = (self.of,) if isinstance(self.of, str) else tuple(self.of)
        if not chosen and len(fields) > 1:
            hint = f"Say of={fields[0]!r}, or of=({fields[0]!r}, {fields[1]!r})."
            raise InvalidInput(name, self.of, f"which of the unknowns {', '.join(fields)}", hint)
        for unknown in chosen:
            if unknown not in fields:
                raise InvalidInput(name, unknown, f"an unknown: {', '.join(fields)}", choices=fields)
        if len(set(chosen)) < len(chosen):
            raise InvalidInput(
                name, self.of, "every unknown once", f"Say of={tuple(dict.fromkeys(chosen))!r}."
            )
        return chosen or tuple(fields)

    def sides(self, domain: Domain) -> tuple[str, ...]:
        """The sides it holds on.

        ``"all"`` are those of space: what holds at the start is an `Initial` condition, and at the end
        nothing does, unless a condition names it.

        Raises
        ------
        InvalidInput
            If the domain has no such side, or time has an end and is all that has one.
        """
        known, name = domain.sides, f"{type(self).__name__}.on"
        chosen = (self.on,) if isinstance(self.on, str) else tuple(self.on)
        if self.on == "all":
            ends = (f"{TIME}-", f"{TIME}+") if TIME in domain.axes else ()
            chosen = tuple(side for side in known if side not in ends)
            if known and not chosen:
                expected = f"a side by its name: {', '.join(known)}, for the domain has none in space"
                raise InvalidInput(name, "all", expected, f"At the start write Initial(value), on {TIME}-.")
        for side in chosen:
            if side not in known:
                hint = "" if side[:-1] not in domain.axes else "That axis wraps around: it has no sides."
                raise InvalidInput(name, side, "'all' or sides of the domain", hint, choices=known)
        return chosen

    @property
    def where(self) -> str:
        """The sides, in words."""
        named = self.on if isinstance(self.on, str) else ", ".join(self.on)
        return f"on {'the whole boundary' if named == 'all' else named}"


@dataclass(frozen=True)
class Dirichlet(Condition):
    """The unknown equals ``value`` on one or several sides.

    Where two of them meet, in an edge or a corner, the later one holds.

    Parameters
    ----------
    value
        A number, or a formula of ``at`` and the parameters: ``Dirichlet(lambda at, p: p.a * sin(at.x))``.
    on
        ``"all"``, or names of sides: ``"x-"`` is the lower end of x, ``"x+"`` the upper. All are those of
        space, where time is an axis too.
    of
        Of several unknowns those whose value it is: ``Dirichlet(0.0, of=("u", "v"))``.
    """

    value: float | complex | Callable[[Any, Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"
    of: str | tuple[str, ...] = ()

    def __str__(self) -> str:
        value = "a given function" if callable(self.value) else f"{self.value:g}"
        return f"Dirichlet, {value} {self.where}"


@dataclass(frozen=True)
class Robin(Condition):
    r""":math:`\partial u / \partial n + c u = g` on sides, n pointing outwards.

    On grids the nodes of such a side are unknowns; the equation there is that of the half of a cell which
    lies inside, with the derivative across the side taken from the condition. Where a side with a Dirichlet
    condition is met, in an edge or a corner, that one holds. The impedance condition, through which waves
    :math:`u e^{-i \omega t}` leave, is ``Robin(lambda at, p: -i_times(p.k))``; see `ImpedanceHelmholtz`.

    Parameters
    ----------
    coefficient
        Of c: a number, or a formula as of `Dirichlet`, ``Robin(lambda at, p: p.a * at.x)``.
    value
        Of g, likewise.
    on, of
        As of :class:`Dirichlet`.
    """

    coefficient: float | complex | Callable[[Any, Any], Any]
    value: float | complex | Callable[[Any, Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"
    of: str | tuple[str, ...] = ()


@dataclass(frozen=True)
class Neumann(Robin):
    r""":math:`\partial u / \partial n = g` on one or several sides; :class:`Robin` with c = 0.

    If it is all that a problem has, and the equation has no term in u itself, u is determined up to a
    constant only, and there is none unless what the source brings leaves through the sides:
    :class:`~pdeflow.problems.discretise.System` says what is solved then.
    """

    coefficient: float | complex | Callable[[Any, Any], Any] = field(default=0.0, init=False)


def by_side(conditions: Iterable[Condition], domain: Domain) -> dict[str, Condition]:
    """The condition that holds on each side of the box; InvalidInput if one names no side of it."""
    return {side: condition for condition in conditions for side in condition.sides(domain)}


def check_conditions(conditions: Iterable[Condition], domain: Domain, name: str) -> None:
    """Raise InvalidInput unless every side has a condition, and the numbers in them are finite."""
    held = by_side(conditions, domain)
    for condition in held.values():
        check_numbers(condition)
    missing = [side for side in domain.sides if side not in held]
    if missing:
        raise InvalidInput(
            name,
            conditions,
            f"a condition on every side; {', '.join(missing)} has none",
            "Add Dirichlet(value, on=...) or Neumann(value, on=...), or make the axis periodic in the Box.",
        )


def check_numbers(condition: Condition) -> None:
    """Raise InvalidInput unless the numbers in a condition are finite."""
    for part in ("value", "coefficient"):
        number = getattr(condition, part, 0.0)
        if not callable(number) and not cmath.isfinite(number):
            raise InvalidInput(f"{type(condition).__name__}.{part}", number, "a finite number")


def conditions_on(
    named: Mapping[str, Condition] | None, domain: Domain, otherwise: Dirichlet | Robin
) -> tuple[Condition, ...]:
    """Conditions by where they hold, as recipes have them: ``{"x-": Dirichlet(1.0), "y": Neumann()}``.

    Parameters
    ----------
    named
        Side, or axis for both of its sides, to what holds there.
    domain
        The box.
    otherwise
        What holds on all other sides.

    Raises
    ------
    InvalidInput
        If there is no such side or axis, the axis wraps around, a side is named twice, a condition says
        itself where it holds, or a number in it is not finite.
    """
    bounded, found, left = domain.sides, [], list(domain.sides)
    for name, condition in (named or {}).items():
        key, both = f"conditions.{name}", (f"{name}-", f"{name}+")
        here = both if name in domain.axes else (name,)
        if not set(here) <= set(bounded):
            hint = "It wraps around, and has no sides." if name.rstrip("+-") in domain.axes else ""
            known = (*bounded, *dict.fromkeys(side[:-1] for side in bounded))
            raise InvalidInput(key, name, "a side or an axis that does not wrap around", hint, choices=known)
        if not set(here) <= set(left):
            raise InvalidInput(key, name, "every side once", "Name either an axis, or its sides.")
        if not isinstance(condition, (Dirichlet, Robin)):
            raise InvalidInput(key, condition, "Dirichlet, Neumann or Robin")
        if condition.on != "all":
            raise InvalidInput(f"{key}.on", condition.on, "nothing: the key says on which side it holds")
        found.append(replace(condition, on=here))
        left = [side for side in left if side not in here]
    if left:
        found.insert(0, replace(otherwise, on=tuple(left) if found else "all"))
    check_conditions(found, domain, "conditions")
    return tuple(found)


def require_positive_robin(conditions: Iterable[Condition], domain: Domain) -> None:
    """Raise InvalidInput for a coefficient c below 0: diffusion may then have no solution, or several."""
    for condition in by_side(conditions, domain).values():
        check_positive_robin(condition)


def check_positive_robin(condition: Condition) -> None:
    """As `require_positive_robin`, of one condition."""
    c = condition.coefficient if isinstance(condition, Robin) else 0.0
    if not callable(c) and (isinstance(c, complex) or c < 0):
        hint = "In du/dn + c u = g, n points outwards: a side that cools has a positive c."
        raise InvalidInput("Robin.coefficient", c, "a real number of at least 0", hint)


def require_level(conditions: Iterable[Condition], domain: Domain, why: str) -> None:
    """Raise InvalidInput unless some side fixes the level of u, by a value or by c u in a condition."""
    for condition in by_side(conditions, domain).values():
        if not isinstance(condition, Robin) or callable(condition.coefficient) or condition.coefficient != 0:
            return
    hint = "For example conditions: {x-: Dirichlet}."
    got = "none but Neumann" if domain.sides else "none"
    raise InvalidInput("conditions", got, f"Dirichlet, or Robin with c > 0, on some side: {why}", hint)
