"""Whether a solution that was learned from a statement is to be trusted: by its residual and an error bar."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from pdeflow.fields import Field
from pdeflow.problems import AlongCharacteristics
from pdeflow.training import crossing
from pdeflow.training.backward_error import BackwardError, backward_errors
from pdeflow.training.collocation import TEST, VALIDATION, Collocation
from pdeflow.training.crossing import Crossing, first_crossing
from pdeflow.training.defect_correction import (
    COLUMNS,
    ErrorEstimate,
    estimate_error,
    modes_along_an_axis,
)
from pdeflow.training.messages import inform, warn
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed

LARGEST_RESIDUAL = 1e-2
"""Of the terms of an equation or a condition. Above it another equation was solved, by one percent, about as
well as coefficients are known; and the error is often many times as large."""

LARGEST_ERROR = 0.1
"""Of an unknown, by the estimate: what is seen in a picture. An estimate is right to a small factor."""

LOOKED = 2**14
"""Points at which characteristics may be found to cross: 1/128 of the domain from each other."""

ADVICE = (
    "Train longer, at more points, or another field; where something is carried far or a front forms, go "
    "through time by objective.time_course."
)


@dataclass(frozen=True)
class Trust:
    """What there is to know of a solution at points that training has not seen.

    Attributes
    ----------
    parts
        What is left of each equation, then of each condition.
    estimate
        Of the error; None where there is none.
    why_none
        Why there is none, in words.
    crossing
        Where characteristics that were learned cross; None where they do not, or there are none.
    """

    parts: list[BackwardError]
    estimate: ErrorEstimate | None
    why_none: str = ""
    crossing: Crossing | None = None

    @property
    def worst(self) -> BackwardError:
        """The largest part beside its terms; what was measured is not held against the solution."""
        judged = [part for part in self.parts if part.met != "measured"]
        return max(judged, key=lambda part: math.inf if math.isnan(part.relative) else part.relative)

    @property
    def doubts(self) -> list[str]:
        """Why not to trust it, in words; none where there is no reason not to."""
        found = [] if self.crossing is None else [self.crossing.told]
        if not self.worst.relative <= LARGEST_RESIDUAL:
            found.append(
                f"what is left of {self.worst.name} is {_percent(self.worst.relative)} of its own terms, "
                f"more than {_percent(LARGEST_RESIDUAL)}"
            )
        errors = {} if self.estimate is None else self.estimate.relative
        found += [
            f"the error of {unknown} is estimated at {_percent(error)}, more than {_percent(LARGEST_ERROR)}"
            for unknown, error in errors.items()
            if not error <= LARGEST_ERROR
        ]
        return found

    @property
    def advice(self) -> str:
        """What to do about the doubts: no training separates what has crossed."""
        if not self.doubts:
            return ""
        return ADVICE if self.crossing is None else crossing.ADVICE

    @property
    def told(self) -> str:
        """A sentence or two with the numbers."""
        worst = self.worst
        words = (
            "What is left of the statement at points that training has not seen is at most "
            f"{worst.relative:.2g} of its own terms ({worst.name})."
        )
        if self.estimate is None:
            return f"{words} There is no estimate of the error: {self.why_none}."
        errors = ", ".join(f"{error:.2g} of {name}" for name, error in self.estimate.relative.items())
        return f"{words} The error is estimated at {errors}."

    def tell(self) -> None:
        """Say it, and warn where the solution is not to be trusted."""
        inform(self.told)
        if self.doubts:
            warn(f"The solution is not to be trusted: {'; '.join(self.doubts)}. {self.advice}")

    def record(self) -> dict[str, Any]:
        """As JSON has it; numbers that are not finite are null."""
        parts = [
            {
                "name": part.name,
                "met": part.met,
                "residual": _finite(part.residual),
                "terms": _finite(part.terms),
                "relative": _finite(part.relative),
            }
            for part in self.parts
        ]
        return {"parts": parts, "told": self.told, "doubts": self.doubts, "advice": self.advice}


@torch.inference_mode(False)  # a trainer tests in it, and nothing can be differentiated there
def examine(objective: PhysicsInformed, field: Field, data: Collocation) -> Trust:
    """Look at a solution where training has not.

    Parameters
    ----------
    objective, field
        The statement and its solution.
    data
        Where the points come from: those of a test, and for the correction as many of validation as it needs.
    """
    like = next(field.parameters())

    def points(draw: int, inside: int) -> dict[str, torch.Tensor]:
        return {name: some.to(like) for name, some in data.points(draw, inside).items()}

    training = [(module, module.training) for module in (objective, field)]
    try:
        for module, _ in training:
            module.eval()  # the statement as it is validated
        others = points(TEST, data.counts["held_back"])
        parts = backward_errors(objective, field, others)
        crossed = None
        if isinstance(objective.problem, AlongCharacteristics):
            crossed = first_crossing(objective.problem, field, points(TEST, LOOKED)[INSIDE])
        if why := _no_estimate(objective, field):
            return Trust(parts, None, why, crossed)
        fitted = points(VALIDATION, 3 * COLUMNS // field.out_channels)
        estimate = estimate_error(objective, field, fitted, others)
        why = "" if estimate else "what is left of the residual is too fine for it"
        return Trust(parts, estimate, why, crossed)
    finally:
        for module, before in training:
            module.train(before)


def _no_estimate(objective: PhysicsInformed, field: Field) -> str:
    """Why the error of a field cannot be estimated; nothing where it can."""
    if objective.unknown.start or objective.problem.coefficients:
        return "errors of measurements cannot be told from those of the solution"
    if objective.interfaces is not None and objective.interfaces.places:
        return "the solution is made of several networks"
    if not modes_along_an_axis(field):
        return "there are too many coordinates"
    return ""


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
