"""A problem's residual on SymPy symbols: its LaTeX, its linear part, its Fourier symbol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter
from sympy.printing.precedence import PRECEDENCE

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Condition, Dirichlet, Robin
from pdeflow.problems.elastic_conditions import Displacement, Traction
from pdeflow.problems.initial import Initial
from pdeflow.problems.interface import Interface
from pdeflow.problems.observed import Observed
from pdeflow.problems.unknowns import components, named

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


def coordinate(axis: str) -> sympy.Symbol:
    """The symbol that D differentiates by for this axis."""
    return sympy.Symbol(axis, real=True)


def derivative(u: sympy.Expr, axis: str, order: int) -> sympy.Expr:
    """The derivative, left unevaluated so that a flux form prints as it was written."""
    return sympy.Derivative(u, (coordinate(axis), order))


class InverseLaplacian(sympy.Function):
    """``InverseLaplacian(u, x, y)``; see :func:`~pdeflow.problems.calculus.inverse_laplacian`."""

    @classmethod
    def eval(cls, u: sympy.Expr, *axes: sympy.Symbol) -> sympy.Expr | None:
        """What is simpler: sums and constant factors taken out, plane waves divided by their eigenvalue."""
        if not u.has(*axes):
            return sympy.S.Zero
        if u.is_Add:
            return sympy.Add(*(cls(term, *axes) for term in u.args))
        constant, rest = u.as_independent(*axes, as_Add=False)
        if constant != 1:
            return constant * cls(rest, *axes)
        if isinstance(u, sympy.exp):
            eigenvalue = sympy.cancel(sum(u.diff(axis, 2) for axis in axes) / u)
            if not eigenvalue.has(*axes):
                return u / eigenvalue
        return None

    def _eval_derivative(self, s: sympy.Symbol) -> sympy.Expr:
        u, *axes = self.args
        changed: Any = InverseLaplacian(sympy.diff(u, s), *axes)
        return changed

    def _latex(self, printer: LatexPrinter) -> str:
        return rf"\Delta^{{-1}} {printer.parenthesize(self.args[0], PRECEDENCE['Mul'])}"


def coordinates(problem: Problem) -> dict[str, sympy.Symbol]:
    """The symbols of the coordinates that the unknown depends on."""
    return {axis: coordinate(axis) for axis in problem.coordinates}


def parameter(name: str) -> sympy.Symbol:
    """The symbol of a parameter that is a number."""
    return sympy.Symbol(name, real=True)


def parameter_symbols(problem: Problem, frozen: bool = False) -> dict[str, sympy.Expr]:
    """A symbol for each scalar parameter, a function of position for each field (a symbol if frozen)."""
    here = [coordinate(axis) for axis in problem.domain.axes]
    return {
        name: sympy.Function(name, real=True)(*here)
        if stated.distribution.is_field and not frozen
        else parameter(name)
        for name, stated in problem.parameters.items()
    }


def unknowns(problem: Problem) -> list[sympy.Expr]:
    """Each unknown as an undefined function of the coordinates."""
    return [sympy.Function(name)(*coordinates(problem).values()) for name in problem.fields]


def residuals(
    problem: Problem, us: Sequence[sympy.Expr], at: dict[str, Any], parameters: dict[str, Any]
) -> list[sympy.Expr]:
    """The components of the residual, one an unknown that has an equation, of an expression for each."""
    value = problem.residual(
        named(problem.fields, us), Names("coordinate", at), Names("parameter", parameters)
    )
    parts = components(problem.solved, value, f"{type(problem).__name__}.residual")
    return [sympy.sympify(part) for part in parts]


def residual(problem: Problem, u: sympy.Expr, at: dict[str, Any], parameters: dict[str, Any]) -> sympy.Expr:
    """The residual of an expression for the only unknown."""
    return residuals(problem, [u], at, parameters)[0]


def condition_parts(problem: Problem, condition: Condition) -> tuple[sympy.Expr, ...]:
    """What a condition is made of.

    Of Dirichlet its value, of ``du/dn + c u = g`` g and c, of an initial one value and order, of a
    displacement and a traction what their classes have, in that order. `Observed` and `Interface`
    have numbers alone.
    """
    at, p = Names("coordinate", coordinates(problem)), Names("parameter", parameter_symbols(problem))
    stated: tuple[Any, ...]
    if isinstance(condition, Robin):
        stated = condition.value, condition.coefficient
    elif isinstance(condition, Initial):
        stated = condition.value, condition.order
    elif isinstance(condition, Traction):
        stated = condition.x, condition.y, condition.pressure
    else:
        assert isinstance(condition, (Dirichlet, Displacement))
        stated = (condition.value,) if isinstance(condition, Dirichlet) else (condition.x, condition.y)
    parts: list[Any] = [sympy.sympify(part(at, p) if callable(part) else part) for part in stated]
    return tuple(parts)


def conditions(problem: Problem) -> list[str]:
    """Each condition as a line of plain text."""
    lines = []
    for condition in problem.conditions:
        if isinstance(condition, Robin):
            value, coefficient = condition_parts(problem, condition)
            for unknown in condition.unknowns(problem.fields):
                slope = "du/dn" if len(problem.fields) == 1 else f"d{unknown}/dn"
                left = sympy.Symbol(slope) + coefficient * sympy.Symbol(unknown)
                left, right = (sympy.sstr(part, full_prec=False) for part in (left, value))
                lines.append(f"{left} = {right} {condition.where}")
        elif isinstance(condition, (Displacement, Traction)):
            parts = condition_parts(problem, condition)
            x, y, *more = (sympy.sstr(part, full_prec=False) for part in parts)
            left = "sigma n" if more else f"({', '.join(problem.fields)})"
            push = f" - ({more[0]}) n" if more and not parts[2].is_zero else ""
            lines.append(f"{left} = ({x}, {y}){push} {condition.where}")
        else:
            of = f"{', '.join(condition.unknowns(problem.fields))}: " if len(problem.fields) > 1 else ""
            lines.append(f"{of}{condition}")
    return lines


def statement(problem: Problem) -> dict[str, Any]:
    """All that decides the solution but the distributions, to the last digit."""
    at = coordinates(problem)
    stated_conditions = []
    for condition in problem.conditions:
        if isinstance(condition, Observed):
            parts = ["observed", condition.table.tolist()]
        elif isinstance(condition, Interface):
            parts = ["interface", condition.axis, condition.place, condition.below, condition.above]
        else:
            parts = [sympy.srepr(part) for part in condition_parts(problem, condition)]
        if isinstance(condition, Initial):
            parts = ["initial", *parts]  # value and order look like those of a Robin condition
        of = [list(condition.unknowns(problem.fields))] if len(problem.fields) > 1 else []
        stated_conditions.append([list(condition.sides(problem.domain)), *parts, *of])
    domain = problem.domain
    parts = residuals(problem, unknowns(problem), at, parameter_symbols(problem))
    stated = [sympy.srepr(part) for part in parts]
    return {
        "residual": stated[0] if len(stated) == 1 else stated,
        "conditions": stated_conditions,
        "domain": [list(part) for part in (domain.axes, domain.lower, domain.upper, domain.periodic)],
    }


class EquationPrinter(LatexPrinter):
    """Prints undefined functions without their arguments: u for u(x, y)."""

    def _print_Function(self, expr: Any, exp: Any = None) -> str:
        if isinstance(expr, AppliedUndef):
            name = self._print(sympy.Symbol(expr.func.__name__))
            return name if exp is None else f"{name}^{{{exp}}}"
        return super()._print_Function(expr, exp)

    def _print_Derivative(self, expr: Any) -> str:
        if not expr.expr.is_Mul:
            return super()._print_Derivative(expr)
        # SymPy leaves a product under a derivative without brackets, so that d/dx a du/dx can be misread.
        product = sympy.Function("PRODUCT")(*sorted(expr.expr.free_symbols, key=str))
        outer = super()._print_Derivative(sympy.Derivative(product, *expr.variable_count))
        return outer.replace("PRODUCT", rf"\left({self._print(expr.expr)}\right)")


def latex(problem: Problem) -> str:
    r"""The equation, terms with the unknown on the left; of several unknowns a line each, ended by ``\\``."""
    us, printer, lines = unknowns(problem), EquationPrinter(), []
    for part in residuals(problem, us, coordinates(problem), parameter_symbols(problem)):
        terms = sympy.Add.make_args(part)
        left = sympy.Add(*(term for term in terms if term.has(*us)))
        right = -sympy.Add(*(term for term in terms if not term.has(*us)))
        lines.append(f"{printer.doprint(left)} = {printer.doprint(right)}")
    return " \\\\\n".join(lines)


def _linearised(
    problem: Problem, directions: Sequence[sympy.Expr], at: dict[str, Any], parameters: dict[str, Any]
) -> list[list[sympy.Expr]]:
    """d/de_j of component i of residual(e_1 direction_1, ...) at e = 0: a row for each i.

    Raises
    ------
    InvalidInput
        If there is no such derivative, because the residual divides by an unknown.
    """
    # No parameter can have the name of a dummy.
    es = [sympy.Dummy("epsilon", real=True) for _ in directions]
    us = [e * direction for e, direction in zip(es, directions)]
    zero = [(e, 0) for e in es]
    values = [value.doit() for value in residuals(problem, us, at, parameters)]
    rows = [[sympy.expand(sympy.diff(value, e).subs(zero).doit()) for e in es] for value in values]
    if any(entry.has(sympy.nan, sympy.zoo) for row in rows for entry in row):
        expected = "a residual that has a derivative where the unknowns are 0"
        raise InvalidInput(f"linear part of {problem.name}", "one that divides by an unknown", expected)
    return rows


def linear_part(problem: Problem) -> sympy.Expr | sympy.Matrix:
    """The derivative of the residual at 0 in the direction of the unknowns, products expanded.

    Of several unknowns a column, one entry a component of the residual.
    """
    rows = _linearised(problem, unknowns(problem), coordinates(problem), parameter_symbols(problem))
    parts = [sympy.Add(*row) for row in rows]
    return parts[0] if len(parts) == 1 else sympy.Matrix(parts)


def symbol(problem: Problem) -> sympy.Expr | sympy.Matrix:
    """The Fourier symbol of the linear part with coefficients frozen, in k_x, k_y, ...

    Of several unknowns a matrix: a row for each component of the residual, a column for each unknown.
    """
    # Coefficients that are formulas of position are frozen by giving them symbols that D does not know.
    here = {axis: sympy.Symbol(f"{axis}_frozen", real=True) for axis in problem.coordinates}
    phase = sum(sympy.Symbol(f"k_{axis}", real=True) * coordinate(axis) for axis in here)
    wave = sympy.exp(sympy.I * phase)
    rows = _linearised(problem, [wave] * len(problem.fields), here, parameter_symbols(problem, frozen=True))
    thawed = {frozen: coordinate(axis) for axis, frozen in here.items()}
    # simplify() would import all of sympy.physics.units, for half a second.
    entries = [[sympy.cancel(sympy.expand(value / wave).subs(thawed)) for value in row] for row in rows]
    entries = [[sympy.factor_terms(entry) for entry in row] for row in entries]
    return entries[0][0] if len(problem.fields) == 1 else sympy.Matrix(entries)
