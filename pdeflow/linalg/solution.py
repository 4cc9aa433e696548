"""What a solve gives back: the answer, one status a system, and the error that a failure raises."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import NumericalFailure


class Status(enum.IntEnum):
    """How the solve of one system ended; ``advice`` says what to do about it."""

    CONVERGED = 0
    MAX_ITERATIONS = 1
    STAGNATED = 2
    BREAKDOWN = 3
    INDEFINITE_OPERATOR = 4
    INDEFINITE_PRECONDITIONER = 5
    NONFINITE_INPUT = 6
    SINGULAR = 7

    @property
    def advice(self) -> str:
        """One sentence: what happened, and the next thing to try."""
        return _ADVICE[self]


_ADVICE = {
    Status.CONVERGED: "The true residual is below the tolerance.",
    Status.MAX_ITERATIONS: "The iteration was still on its way: raise max_iterations or use a better "
    "preconditioner, for example Multigrid().",
    Status.STAGNATED: "The true residual stopped falling above the tolerance: near rounding loosen rtol or "
    "solve in float64, otherwise take a longer restart, a better preconditioner or another method.",
    Status.BREAKDOWN: "A number left the range of the dtype or became NaN, or a recurrence divided by zero, "
    "although the input was finite: check the scales of operator and right-hand side and that the "
    "preconditioner is finite, solve in float64, or use GMRES.",
    Status.INDEFINITE_OPERATOR: "A direction with p* A p <= 0 turned up, so the operator is not positive "
    "definite: check its signs, or use a solver for indefinite systems.",
    Status.INDEFINITE_PRECONDITIONER: "A residual with r* M r <= 0 turned up, so the preconditioner is not "
    "positive definite: use another one, or none.",
    Status.NONFINITE_INPUT: "The operator, the right-hand side or the initial guess holds NaN or infinity: "
    "look for it before the solve with torch.isfinite.",
    Status.SINGULAR: "The operator has a null space and the right-hand side is not orthogonal to it: fix "
    "the value at one point, or remove the null-space part (for example the mean) from the right-hand side.",
}


@dataclass(frozen=True)
class Trial:
    """What a pilot saw of one candidate.

    Attributes
    ----------
    name
        Solver and preconditioner.
    seconds
        For the systems that it was tried on, set-up included.
    systems
        How many those were.
    iterations
        Their mean.
    verdict
        ``"chosen"``, ``"slower"``, or why it is out of the question.
    """

    name: str
    seconds: float
    systems: int
    iterations: float
    verdict: str


@dataclass(frozen=True)
class Choice:
    """Which method :class:`~pdeflow.linalg.auto.Auto` has chosen, and the evidence, the fastest first."""

    name: str
    trials: tuple[Trial, ...]

    def __str__(self) -> str:
        lines = [f"{self.name}, after a pilot of {len(self.trials)} candidates:"]
        for trial in self.trials:
            each = 1e3 * trial.seconds / max(1, trial.systems)
            effort = f"{each:9.2f} ms a system, {trial.iterations:6.1f} iterations" if trial.systems else ""
            lines.append(f"  {trial.name:<40} {effort:<42} {trial.verdict}".rstrip())
        return "\n".join(lines)


@dataclass(frozen=True)
class Solution:
    """The answers of a batch of systems ``A x = b``.

    Attributes
    ----------
    x
        ``(batch, *shape)``; NaN where the status is ``NONFINITE_INPUT``; after any other failure the last
        iterate, or zero if that or its residual is not finite.
    status
        ``(batch,)`` int8, values of :class:`Status`.
    iterations
        ``(batch,)`` int64.
    residual_norm
        ``(batch,)`` float64: the true ``||b - A x|| / ||b||``, recomputed in float64 from the returned x;
        ``||b - A x||`` where b is zero.
    history
        ``(checks, batch)`` float64: the same ratio as the iteration saw it, at the start and whenever the
        stopping test was read.
    choice
        What ``Auto`` chose, and why; None for any other solver.
    """

    x: Tensor
    status: Tensor
    iterations: Tensor
    residual_norm: Tensor
    history: Tensor
    choice: Choice | None = None

    @property
    def converged(self) -> Tensor:
        """``(batch,)`` bool."""
        return self.status == Status.CONVERGED

    def describe(self) -> str:
        """The failures in a few lines: how many, why, the worst residual, what to do."""
        codes = self.status.tolist()
        failed = [i for i, code in enumerate(codes) if code != Status.CONVERGED]
        if not failed:
            return f"All {len(codes)} systems converged."
        lines = [f"{len(failed)} of {len(codes)} systems failed."]
        for status in Status:
            samples = [i for i in failed if codes[i] == status]
            if samples:
                worst = self.residual_norm[samples].max().item()
                shown = ", ".join(map(str, samples[:8])) + (", ..." if len(samples) > 8 else "")
                lines.append(
                    f"{status.name}: {len(samples)} (samples {shown}), worst relative residual {worst:.2e}. "
                    f"{status.advice}"
                )
        return "\n".join(lines)

    @staticmethod
    def empty(b: Tensor) -> Solution:
        """The solution of no systems, for a b of batch 0."""
        status = torch.empty(0, dtype=torch.int8, device=b.device)
        iterations = torch.empty(0, dtype=torch.int64, device=b.device)
        residual_norm = torch.empty(0, dtype=torch.float64, device=b.device)
        return Solution(torch.empty_like(b), status, iterations, residual_norm, residual_norm.reshape(1, 0))

    @staticmethod
    def concatenate(parts: list[Solution]) -> Solution:
        """One solution from those of consecutive pieces of a batch; shorter histories repeat their end."""
        if len(parts) == 1:
            return parts[0]
        checks = max(part.history.shape[0] for part in parts)
        history = [
            torch.cat([part.history, part.history[-1:].expand(checks - part.history.shape[0], -1)])
            for part in parts
        ]
        return Solution(
            torch.cat([part.x for part in parts]),
            torch.cat([part.status for part in parts]),
            torch.cat([part.iterations for part in parts]),
            torch.cat([part.residual_norm for part in parts]),
            torch.cat(history, 1),
            parts[-1].choice,
        )


class SolveError(NumericalFailure):
    """Some systems of a batch have no answer; ``solution`` holds what was reached for all of them."""

    def __init__(self, solution: Solution) -> None:
        self.solution = solution
        super().__init__(solution.describe() + '\nPass on_failure="return" to get the other solutions.')
