"""Whether an operator takes the axes to wrap around that do so in the data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
        The operator, which is to be trained.
    wraps
        By name of the axis, whether it wraps around in the data; None where that is not known.
    """
    if (key := _contradicted(model, wraps)) is not None:
        expected = f"what suits the grid of the data, where {_facts(wraps)}"
        raise InvalidInput(
            f"model.{key}", model.settings[key], expected, f"Set model.{key} to {_value(key, wraps)}."
        )


def check_file_periodicity(model: Operator, wraps: Mapping[str, bool | None], path: Path) -> None:
    """The same of an operator that is trained already, which a file does not suit then.

    Parameters
    ----------
    model
        The operator.
    wraps
        By name of the axis, whether it wraps around in the file; None where the file does not say so.
    path
        The file, for the message.
    """
    if (key := _contradicted(model, wraps)) is not None:
        told = _facts(dict(zip(wraps, _told(model, key, len(wraps)))))
        raise InvalidInput(
            str(path),
            f"axes of which {_facts(wraps)}",
            f"what the operator is trained for (model.{key} is {model.settings[key]!r}): {told}",
            f"Give data whose axes are so, or train on such data with model.{key}: {_value(key, wraps)}.",
        )


def _contradicted(model: Operator, wraps: Mapping[str, bool | None]) -> str | None:
    """The argument of the operator that contradicts the ends of the axes."""
    for key in SAYS:
        if key in model.settings:
            told = zip(_told(model, key, len(wraps)), wraps.values())
            against = [t is not None and w is not None and t != w for t, w in told]
            if any(against) and (key in ONE_AN_AXIS or all(against)):
                return key
    return None


def _told(model: Operator, key: str, axes: int) -> list[bool | None]:
    """Whether each axis wraps around, as the operator is told; None where that says nothing."""
    given = model.settings[key]
    each = given if isinstance(given, list) else [given] * axes
    return [next((wrapping for known, wrapping in SAYS[key] if known == value), None) for value in each]


def _facts(wraps: Mapping[str, bool | None]) -> str:
    """What is known of the ends, in words."""
    around, ends = ([axis for axis, w in wraps.items() if w is wrapping] for wrapping in (True, False))
    facts = [f"{' and '.join(around)} wrap{'s' * (len(around) == 1)} around"] * bool(around)
    facts += [f"{' and '.join(ends)} end{'s' * (len(ends) == 1)} at sides"] * bool(ends)
    return ", and ".join(facts)


def _value(key: str, wraps: Mapping[str, bool | None]) -> str:
    """What to set the argument to."""
    around = any(wraps.values())
    if key not in ONE_AN_AXIS:
        return {"positions": "periodic" if around else "bounded", "periodic": str(around).lower()}[key]
    if all(wraps.values()):
        return "periodic"
    return f"[{', '.join('periodic' if w else 'dirichlet or neumann' for w in wraps.values())}]"
