"""R-functions: formulas that are positive where one or where both of two formulas are.

V. L. Rvachev, "Theory of R-functions and some applications", Naukova Dumka 1982; V. Shapiro, "Semi-analytic
geometry with R-functions", Acta Numerica 16 (2007).
"""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import sqrt


def conjunction(a: Any, b: Any) -> Any:
    r""":math:`a \wedge b = a + b - \sqrt{a^2 + b^2}`: positive where both are, 0 where one is."""
    return a + b - sqrt(a * a + b * b)


def disjunction(a: Any, b: Any) -> Any:
    r""":math:`a \vee b = a + b + \sqrt{a^2 + b^2}`: positive where one is."""
    return a + b + sqrt(a * a + b * b)
