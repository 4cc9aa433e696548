"""The shape of every solver, and the checked front door ``solve``."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count, check_instance, real_number
from pdeflow.linalg.expanded import Shared, broadcast
from pdeflow.linalg.operator import LinearOperator, Tag, check_vector
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, SolveError, Status

# Unknowns of the systems that a CPU works on at a time: their vectors and coefficients stay in its cache.
UNKNOWNS_IN_CACHE = 262144


class Solver(abc.ABC):
    """The mathematics of a method; inputs have been checked by :func:`solve` before they come here.

    ``couples`` says that the systems of a batch help each other, so that it must not be cut.
    """

    requires: ClassVar[frozenset[Tag]] = frozenset()
    couples: ClassVar[bool] = False

    def check(self, A: LinearOperator) -> None:
        """Raise InvalidInput unless A has the tags that the method relies on."""
        if not self.requires <= A.tags:
            raise InvalidInput(
                "A.tags",
                sorted(tag.name for tag in A.tags),
                f"{sorted(tag.name for tag in self.requires)}, which {type(self).__name__} relies on",
                "Tag the operator if it has these properties; SYMMETRIC means Hermitian where it is complex.",
            )

    @abc.abstractmethod
    def init(
        self, A: LinearOperator, preconditioner: Preconditioner | None = None, previous: Any = None
    ) -> Any:
        """What can be prepared without a right-hand side; ``previous`` is the state of a similar system."""

    @abc.abstractmethod
    def solve(
        self,
        state: Any,
        b: Tensor,
        x0: Tensor | None = None,
        *,
        rtol: float,
        atol: float,
        max_iterations: int | None,
    ) -> tuple[Solution, Any]:
        """Solve for one right-hand side a system and give the state to go on with."""

    def forget(self, state: Any) -> Any:
        """The state without what it learned of its systems; memory that serves unrelated ones may stay."""
        return state

    def adapted(self, A: LinearOperator, change: Callable[[Preconditioner], Preconditioner]) -> Solver:
        """The solver with ``change`` made to the preconditioners it brings along for A; most bring none."""
        return self


def solve(
    A: LinearOperator | Any,
    b: Tensor | Any,
    *,
    solver: Solver | None = None,
    preconditioner: Preconditioner | None = None,
    x0: Tensor | Any = None,
    rtol: float = 1e-8,
    atol: float = 0.0,
    max_iterations: int | None = None,
    on_failure: Literal["raise", "return"] = "raise",
    null_space: Tensor | Any = None,
) -> Solution:
    """Solve the batch of systems ``A x = b`` until ``||b - A x|| <= max(rtol ||b||, atol)`` in each.

    On a CPU a large batch is worked through in pieces that fit in the cache; the systems are independent,
    so this changes nothing but the time.

    Where b, or the coefficients of A, ask for a derivative, x can be differentiated: the backward pass
    solves the adjoint system (:mod:`~pdeflow.linalg.implicit_gradient`). Where A is tagged
    ``CONSTANT_NULL_SPACE``, x is the solution of mean zero, and where another null space is given, the one of
    least norm; an inconsistent b ends as ``SINGULAR`` (:mod:`~pdeflow.linalg.null_space`).

    Parameters
    ----------
    A
        The operators, one a sample; or a SciPy sparse matrix, a SciPy LinearOperator or a dense NumPy
        matrix, with NumPy arrays for b and x0, ``(n,)`` or ``(n, k)``, and for the x that comes back.
    b, x0
        Right-hand sides and, optionally, initial guesses, ``(batch, *shape)``, in A's dtype and device. An
        A of batch 1 serves any number of them; its preconditioner is made once. Of no right-hand sides, as a
        filtered batch may leave, there are no solutions: ``Solution.x`` is empty too.
    solver
        The method. By default :class:`~pdeflow.linalg.cg.CG` where A is tagged ``SYMMETRIC``, else GMRES.
    preconditioner
        None, or for example ``Jacobi()`` or ``Multigrid()``.
    max_iterations
        An iteration count per system; by default a bound that a sensible solve does not reach.
    on_failure
        ``"raise"``, or ``"return"`` to find the failures in ``Solution.status``.
    null_space
        Vectors that span the null space of a ``SYMMETRIC`` A, the same for all its systems: rigid motions of
        a body without supports, or the constants of every field. ``(k, *shape)`` in A's dtype and device, or
        a NumPy array ``(n,)`` or ``(n, k)``. That A maps them to zero is checked, by k + 1 products.

    Raises
    ------
    InvalidInput
        If shapes, dtypes, devices or tolerances do not fit, an argument is of the wrong kind, the method does
        not suit the operator, or the null space is not one.
    SolveError
        If a system failed and ``on_failure`` is ``"raise"``; its ``solution`` holds all the others.
    """
    return solve_with(
        solve_alone,
        A,
        b,
        solver=solver,
        preconditioner=preconditioner,
        x0=x0,
        rtol=rtol,
        atol=atol,
        max_iterations=max_iterations,
        on_failure=on_failure,
        null_space=null_space,
    )


@dataclass(frozen=True)
class Tolerances:
    """When an iteration ends: the options of :func:`solve` by the same names."""

    rtol: float
    atol: float
    max_iterations: int | None


# Solves checked systems: A, b, x0, solver, preconditioner, tolerances.
Run = Callable[
    [LinearOperator, Tensor, "Tensor | None", Solver, "Preconditioner | None", Tolerances], Solution
]


def solve_with(
    run: Run,
    A: LinearOperator | Any,
    b: Tensor | Any,
    *,
    solver: Solver | None,
    preconditioner: Preconditioner | None,
    x0: Tensor | Any,
    rtol: float,
    atol: float,
    max_iterations: int | None,
    on_failure: Literal["raise", "return"],
    null_space: Tensor | Any,
) -> Solution:
    """All of :func:`solve` but the iteration itself, which ``run`` does.

    ``run`` is called once, with a system that is checked, has a b for every operator and asks for no
    derivative, and with a preconditioner that suits it. Arguments and errors are those of :func:`solve`.
    """
    check_method(solver, preconditioner)
    finite = "a finite number, at least 0, for all systems"
    rtol, atol = real_number("rtol", rtol, finite), real_number("atol", atol, finite)
    options: dict[str, Any] = {
        "solver": solver,
        "preconditioner": preconditioner,
        "x0": x0,
        "rtol": rtol,
        "atol": atol,
        "max_iterations": max_iterations,
        "on_failure": on_failure,
        "null_space": null_space,
    }
    if not isinstance(A, LinearOperator):
        from pdeflow.linalg.scipy_interop import solve_arrays

        return solve_arrays(run, A, b, **options)
    wide = broadcast(A, b)
    tolerances = Tolerances(rtol, atol, max_iterations)
    check_system(wide, b, x0, tolerances, on_failure)
    if torch.is_grad_enabled() and (
        A.requires_grad or b.requires_grad or getattr(x0, "requires_grad", False)
    ):
        from pdeflow.linalg.implicit_gradient import solve_with_gradient

        return solve_with_gradient(run, A, b, **options)
    from pdeflow.linalg.null_space import projection, solve_in_range  # here, because they need this module

    project = projection(A, options.pop("null_space"))
    if project is not None:
        return solve_in_range(run, A, b, project, **options)
    solver = default_solver(A) if solver is None else solver
    if wide is not A:
        share = partial(Shared, A=A)
        solver = solver.adapted(A, share)
        preconditioner = None if preconditioner is None else share(preconditioner)
    solver.check(wide)
    if not wide.batch:
        return Solution.empty(b)
    with torch.no_grad():  # for the parameters of a preconditioner that is a network
        return deliver(run(wide, b, x0, solver, preconditioner, tolerances), on_failure)


def check_method(solver: Solver | None, preconditioner: Preconditioner | None) -> None:
    """Raise InvalidInput unless a solver and a preconditioner, or None in place of one, are given."""
    check_instance("solver", solver, Solver, "CG() or GMRES()", optional=True)
    if isinstance(preconditioner, LinearOperator):
        hint = "Pass the preconditioner itself, as in Jacobi(): solve calls its init."
        raise InvalidInput("preconditioner", type(preconditioner).__name__, "a Preconditioner or None", hint)
    check_instance("preconditioner", preconditioner, Preconditioner, "Jacobi() or Multigrid()", optional=True)


def solve_alone(
    A: LinearOperator,
    b: Tensor,
    x0: Tensor | None,
    solver: Solver,
    preconditioner: Preconditioner | None,
    tolerances: Tolerances,
) -> Solution:
    """The ``run`` of a system that follows no other."""
    solution, _ = solve_pieces(A, b, x0, solver, preconditioner, tolerances)
    return solution


def check_system(
    A: LinearOperator, b: Tensor, x0: Tensor | None, tolerances: Tolerances, on_failure: str
) -> None:
    """Raise InvalidInput unless the arguments of a solve fit together."""
    check_vector("b", b, A)
    if x0 is not None:
        check_vector("x0", x0, A)
    rtol, atol, max_iterations = tolerances.rtol, tolerances.atol, tolerances.max_iterations
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not 0 <= value < float("inf"):
            raise InvalidInput(name, value, "a finite number, at least 0")
    if rtol == 0 and atol == 0:
        raise InvalidInput("rtol", rtol, "a positive rtol or atol")
    if max_iterations is not None:
        check_count("max_iterations", max_iterations, 0, "a whole number, at least 0, or None")
    if on_failure not in ("raise", "return"):
        raise InvalidInput("on_failure", on_failure, "'raise' or 'return'", choices=["raise", "return"])


def solve_pieces(
    A: LinearOperator,
    b: Tensor,
    x0: Tensor | None,
    solver: Solver,
    preconditioner: Preconditioner | None,
    tolerances: Tolerances,
    earlier: list[Any] | None = None,
) -> tuple[Solution, list[Any]]:
    """Solve the batch in the pieces that A is cut into, and give the state of each.

    ``earlier`` holds the states of the pieces of the system before in a sequence: each piece goes on from
    its own. Without it the pieces, which have nothing to do with each other, share memory but no
    knowledge, and only the last state is left.
    """
    cut = A.device.type == "cpu" and not solver.couples
    samples = max(1, UNKNOWNS_IN_CACHE // A.size) if cut else A.batch
    parts, states, start = [], [], 0
    state = None
    for i, piece in enumerate(A.pieces(samples)):
        rows = slice(start, start + piece.batch)
        start += piece.batch
        if earlier is None:
            previous = None if state is None else solver.forget(state)
        else:
            previous = earlier[i] if i < len(earlier) else None
        state = solver.init(piece, preconditioner, previous)
        guess = None if x0 is None else x0[rows]
        part, state = solver.solve(state, b[rows], guess, **vars(tolerances))
        parts.append(part)
        states = [state] if earlier is None else [*states, state]
    return Solution.concatenate(parts), states


def deliver(solution: Solution, on_failure: str) -> Solution:
    """The solution, or the SolveError that its failures call for."""
    if on_failure == "raise" and bool((solution.status != Status.CONVERGED).any()):
        raise SolveError(solution)
    return solution


def default_solver(A: LinearOperator) -> Solver:
    """CG where A is tagged ``SYMMETRIC``, else GMRES."""
    from pdeflow.linalg.cg import CG  # here, because a solver needs this module
    from pdeflow.linalg.gmres import GMRES

    return CG() if Tag.SYMMETRIC in A.tags else GMRES()
