"""A problem's residual on SymPy symbols: its LaTeX, its linear part, its Fourier symbol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sympy
from sympy.core.function import AppliedUndef
from sympy.printing.latex import LatexPrinter

from pdeflow.problems.calculus import Names

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


def coordinate(axis: str) -> sympy.Symbol:
    """The symbol that D differentiates by for this axis."""
    return sympy.Symbol(axis, real=True)


def derivative(u: sympy.Expr, axis: str, order: int) -> sympy.Expr:
    """The derivative, left unevaluated so that a flux form prints as it was written."""
    return sympy.Derivative(u, (coordinate(axis), order))


def coordinates(problem: Problem) -> dict[str, sympy.Symbol]:
    """The symbols of the coordinates that the unknown depends on."""
    return {axis: coordinate(axis) for axis in problem.coordinates}


def parameter_symbols(problem: Problem, frozen: bool = False) -> dict[str, sympy.Expr]:
    """A symbol for each scalar parameter, a function of position for each field (a symbol if frozen)."""
    here = [coordinate(axis) for axis in problem.domain.axes]
    return {
        name: sympy.Function(name, real=True)(*here)
        if parameter.distribution.is_field and not frozen
        else sympy.Symbol(name, real=True)
        for name, parameter in problem.parameters.items()
    }


def unknown(problem: Problem) -> sympy.Expr:
    """The unknown as an undefined function of the coordinates."""
    return sympy.Function(problem.fields[0])(*coordinates(problem).values())


def residual(problem: Problem, u: sympy.Expr, at: dict[str, Any], parameters: dict[str, Any]) -> sympy.Expr:
    """The residual of an expression u."""
    value = problem.residual(u, Names("coordinate", at), Names("parameter", parameters))
    return sympy.sympify(value)


def statement(problem: Problem) -> dict[str, Any]:
    """All that decides the solution but the distributions, to the last digit."""
    at = coordinates(problem)
    conditions = []
    for condition in problem.conditions:
        value = condition.value(Names("coordinate", at)) if callable(condition.value) else condition.value
        conditions.append([list(condition.sides(problem.domain)), sympy.srepr(sympy.sympify(value))])
    domain = problem.domain
    return {
        "residual": sympy.srepr(residual(problem, unknown(problem), at, parameter_symbols(problem))),
        "conditions": conditions,
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
    """The equation, terms with the unknown on the left."""
    u = unknown(problem)
    terms = sympy.Add.make_args(residual(problem, u, coordinates(problem), parameter_symbols(problem)))
    left = sympy.Add(*(term for term in terms if term.has(u)))
    right = -sympy.Add(*(term for term in terms if not term.has(u)))
    printer = EquationPrinter()
    return f"{printer.doprint(left)} = {printer.doprint(right)}"


def _linearised(
    problem: Problem, direction: sympy.Expr, at: dict[str, Any], parameters: dict[str, Any]
) -> sympy.Expr:
    """d/de residual(e * direction) at e = 0."""
    e = sympy.Symbol("epsilon", real=True)
    value = residual(problem, e * direction, at, parameters).doit()
    return sympy.expand(sympy.diff(value, e).subs(e, 0).doit())


def linear_part(problem: Problem) -> sympy.Expr:
    """The derivative of the residual at u = 0 in the direction of the unknown, products expanded."""
    return _linearised(problem, unknown(problem), coordinates(problem), parameter_symbols(problem))


def symbol(problem: Problem) -> sympy.Expr:
    """The Fourier symbol of the linear part with coefficients frozen, in k_x, k_y, ..."""
    # Coefficients that are formulas of position are frozen by giving them symbols that D does not know.
    here = {axis: sympy.Symbol(f"{axis}_frozen", real=True) for axis in problem.coordinates}
    phase = sum(sympy.Symbol(f"k_{axis}", real=True) * coordinate(axis) for axis in here)
    wave = sympy.exp(sympy.I * phase)
    value = sympy.expand(_linearised(problem, wave, here, parameter_symbols(problem, frozen=True)) / wave)
    return sympy.simplify(value.subs({frozen: coordinate(axis) for axis, frozen in here.items()}))
