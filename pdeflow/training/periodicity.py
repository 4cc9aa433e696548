"""Whether an operator takes the axes to wrap around that do so in the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.operators.operator import Operator

SAYS: dict[str, tuple[tuple[Any, bool], ...]] = {
    "positions": (("bounded", False), ("periodic", True)),
    "boundary": (("dirichlet", False), ("neumann", False), ("periodic", True)),
    "periodic": ((False, False), (True, True)),
}
"""The arguments of operators that tell of the ends of axes, and which of their values say that an axis wraps
around; another value, such as null, says nothing."""

ONE_AN_AXIS = ("boundary",)
"""Those that may be given for each axis by itself."""


def check_periodicity(model: Operator, wraps: Mapping[str, bool | None]) -> None:
    """Raise InvalidInput where an operator takes axes to end that wrap around in the data, or the reverse.

    A single value for all axes is refused where all of them are otherwise: on a box of which some axes wrap
    around it is the nearest that can be said. Where one may be given for each axis, each is compared.

    Parameters
    ----------
    model
        The operator.
    wraps
        By name of the axis, whether it wraps around in the data; None where that is not known.
    """
    for key in SAYS:
        if key not in model.settings:
            continue
        given = model.settings[key]
        each = given if isinstance(given, list) else [given] * len(wraps)
        told = zip((_meaning(key, value) for value in each), wraps.values())
        against = [t is not None and w is not None and t != w for t, w in told]
        if any(against) if key in ONE_AN_AXIS else all(against):
            raise InvalidInput(f"model.{key}", given, *_mended(key, wraps))


def _meaning(key: str, value: object) -> bool | None:
    return next((wrapping for known, wrapping in SAYS[key] if known == value), None)


def _mended(key: str, wraps: Mapping[str, bool | None]) -> tuple[str, str]:
    """What the data say, and what to set."""
    around, ends = ([axis for axis, w in wraps.items() if w is wrapping] for wrapping in (True, False))
    facts = [f"{' and '.join(around)} wrap{'s' * (len(around) == 1)} around"] * bool(around)
    facts += [f"{' and '.join(ends)} end{'s' * (len(ends) == 1)} at sides"] * bool(ends)
    values = {"positions": "periodic" if around else "bounded", "periodic": str(bool(around)).lower()}
    if key not in ONE_AN_AXIS:
        value = values[key]
    elif all(wraps.values()):
        value = "periodic"
    else:
        value = f"[{', '.join('periodic' if w else 'dirichlet or neumann' for w in wraps.values())}]"
    expected = f"what suits the grid of the data, where {', and '.join(facts)}"
    return expected, f"Set model.{key} to {value}."
