"""A sequence of similar systems, each solved with what the ones before have taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.null_space import ProjectedOperator
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, Status
from pdeflow.linalg.solver import Solver, Tolerances, check_method, solve_pieces, solve_with


class Sequence:
    """Solves one system after the other and carries the solver's state along::

        chain = Sequence(GCRODR(), Multigrid())
        answers = [chain.solve(A, b) for A, b in systems]

    The state holds whatever the solver recycles (for GCRO-DR an approximate invariant subspace) and the
    buffers of the preconditioner. Every sample of a batch is a chain of its own: sample i of one system
    follows sample i of the one before. A sample that fails hands on nothing that could harm; after a system
    of another batch size, shape, dtype or device the chains start afresh.

    Right-hand sides that share an A of batch 1 are chains of their own too, and so are the columns of a
    NumPy b. A solution can be differentiated as that of :func:`~pdeflow.linalg.solver.solve`: what is carried
    along only changes how x is found, so it counts as a constant; the adjoint system is solved outside of
    the chain, by the same solver and preconditioner.

    Parameters
    ----------
    solver
        The method.
    preconditioner
        None, or for example ``Jacobi()``.
    refresh
        ``"always"`` builds the preconditioner anew for every system, ``"frozen"`` keeps that of the first
        one, and builds it anew only for another batch size, shape, dtype or device, or after a system that
        was not finite. A frozen preconditioner costs iterations as the systems drift away, never accuracy.

    Raises
    ------
    InvalidInput
        For another ``refresh``, or what is no solver or preconditioner.
    """

    def __init__(
        self,
        solver: Solver,
        preconditioner: Preconditioner | None = None,
        refresh: Literal["always", "frozen"] = "always",
    ) -> None:
        if refresh not in ("always", "frozen"):
            raise InvalidInput("refresh", refresh, "'always' or 'frozen'", choices=["always", "frozen"])
        check_method(solver, preconditioner)
        self.solver = solver
        self.preconditioner = preconditioner
        self.refresh = refresh
        self._states: list[Any] = []
        self._keep = False

    def solve(
        self,
        A: LinearOperator | Any,
        b: Tensor | Any,
        *,
        x0: Tensor | Any = None,
        rtol: float = 1e-8,
        atol: float = 0.0,
        max_iterations: int | None = None,
        on_failure: Literal["raise", "return"] = "raise",
        null_space: Tensor | Any = None,
    ) -> Solution:
        """The next system; arguments and errors are those of :func:`~pdeflow.linalg.solver.solve`."""
        preconditioner = self.preconditioner
        if preconditioner is not None and self._keep:
            preconditioner = Kept(preconditioner)
        return solve_with(
            self._run,
            A,
            b,
            solver=self.solver,
            preconditioner=preconditioner,
            x0=x0,
            rtol=rtol,
            atol=atol,
            max_iterations=max_iterations,
            on_failure=on_failure,
            null_space=null_space,
        )

    def _run(
        self,
        A: LinearOperator,
        b: Tensor,
        x0: Tensor | None,
        solver: Solver,
        preconditioner: Preconditioner | None,
        tolerances: Tolerances,
    ) -> Solution:
        """Go on from the states of the system before."""
        solution, self._states = solve_pieces(A, b, x0, solver, preconditioner, tolerances, self._states)
        finite = bool((solution.status != Status.NONFINITE_INPUT).all())
        self._keep = self.refresh == "frozen" and finite
        return solution


@dataclass(frozen=True)
class Kept(Preconditioner):
    """What an earlier ``init`` of ``inner`` gave, for any operator of the same form."""

    inner: Preconditioner

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        """``previous`` itself, if A has its form."""
        # One that was made for a system with a null space is singular.
        if previous is None or isinstance(previous, ProjectedOperator) or _form(previous) != _form(A):
            return self.inner.init(A, previous)
        return previous


def _form(A: LinearOperator) -> tuple[tuple[int, ...], int, torch.dtype, torch.device]:
    return A.shape, A.batch, A.dtype, A.device
