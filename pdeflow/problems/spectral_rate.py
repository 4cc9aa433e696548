"""The rate of an evolution in Fourier space, parted into what is diagonal there and the rest.

The terms that are linear in an unknown's own rate, with coefficients that do not vary in space, are read off
the statement itself, run on SymPy symbols.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.bandwidth import resized
from pdeflow.problems.compiled_etdrk4 import CompiledRest, fits, usable
from pdeflow.problems.evolution import TIME, Evolution
from pdeflow.problems.quadratic_rate import NotQuadratic, QuadraticRest
from pdeflow.problems.spectral_function import SpectralFunction, wave_numbers
from pdeflow.problems.unknowns import joined


class Rate:
    """The rate of a problem on a grid, with the parameters that do not belong to the start."""

    def __init__(
        self, problem: Evolution, grid: Grid, p: Mapping[str, SpectralFunction], device: torch.device
    ) -> None:
        self.problem, self.grid, self.p, self.device = problem, grid, dict(p), device

    def rows(self, rows: Tensor) -> Rate:
        """Of the samples with these numbers."""
        own = {
            name: f if len(f.coefficients) == 1 else SpectralFunction(f.coefficients[rows], self.grid)
            for name, f in self.p.items()
        }
        part = Rate(self.problem, self.grid, own, self.device)
        part.symbol = self.symbol if len(self.symbol) == 1 else self.symbol[rows]
        part.quadratic = None if self.quadratic is None else self.quadratic.rows(rows)
        return part

    def on(self, grid: Grid) -> Rate:
        """On another grid of the same box."""
        own = {
            name: SpectralFunction(
                resized(f.coefficients, self.grid, grid) if f.varies else f.coefficients, grid
            )
            for name, f in self.p.items()
        }
        part = Rate(self.problem, grid, own, self.device)
        part.symbol = resized(self.symbol, self.grid, grid)
        part.quadratic = None if self.quadratic is None else self.quadratic.on(grid)
        return part

    @functools.cached_property
    def symbol(self) -> Tensor:
        """The Fourier symbol of what is integrated exactly; see `linear_symbol`."""
        return linear_symbol(self.problem, self.grid, self.p, self.device)

    @functools.cached_property
    def quadratic(self) -> QuadraticRest | None:
        """The rest, where it has the form of that class: it multiplies no more than two unknowns."""
        if len(self.problem.fields) > 1:
            return None
        try:
            return QuadraticRest.of(self.problem.rate, self.grid, self.p, self.symbol)
        except NotQuadratic:
            return None

    @functools.cached_property
    def _compiled(self) -> CompiledRest | None:
        return CompiledRest(self.quadratic) if self.quadratic is not None and fits(self.quadratic) else None

    def compiled(self, v: Tensor) -> CompiledRest | None:
        """The rest as a compiled loop, where there is one that takes these coefficients."""
        return self._compiled if self.quadratic is not None and usable(v, self.quadratic) else None

    def rest(self, v: Tensor) -> Tensor:
        """The rate without the part that ``symbol`` is, of coefficients; see `Evolution.evaluate_rate`."""
        compiled = self.compiled(v)
        if compiled is not None:
            return compiled(v)
        if self.quadratic is not None:
            return self.quadratic(v)
        return self.problem.evaluate_rate(v, self.grid, self.p) - self.symbol * v


def linear_symbol(
    problem: Evolution, grid: Grid, p: Mapping[str, SpectralFunction], device: torch.device
) -> Tensor:
    """The Fourier symbol of the terms of each rate that are linear in its own unknown.

    Those whose coefficients are fields are left out.

    Returns
    -------
    Tensor
        (batch or 1, *modes), of several unknowns (batch or 1, fields, *modes), complex128.
    """
    import sympy

    try:
        hash(problem)
    except TypeError:  # a dataclass, say
        symbol = problem.symbol()
    else:
        symbol = _symbol_of(problem)
    diagonal = symbol.diagonal() if isinstance(symbol, sympy.MatrixBase) else [symbol]
    parts = [_own_symbol(problem, entry, grid, p, device) for entry in diagonal]
    return joined(torch.broadcast_tensors(*parts))


@functools.lru_cache(maxsize=8)
def _symbol_of(problem: Evolution) -> Any:
    """What SymPy takes a tenth of a second for, once a problem and not once a batch."""
    return problem.symbol()


def _own_symbol(
    problem: Evolution,
    symbol: Any,
    grid: Grid,
    p: Mapping[str, SpectralFunction],
    device: torch.device,
) -> Tensor:
    """The symbol of one rate, (batch or 1, *modes), from that of its residual, a SymPy expression."""
    import sympy

    ks = [sympy.Symbol(f"k_{axis}", real=True) for axis in (*problem.domain.axes, TIME)]
    symbol = sympy.expand(-symbol)
    # What is no polynomial, as the inverse of the Laplacian is none, is left to the steps.
    terms = [term for term in sympy.Add.make_args(symbol) if term.is_polynomial(*ks)]
    polynomial = sympy.Poly(sympy.Add(*terms), *ks)
    waves = wave_numbers(grid, device)
    total = torch.zeros((1,) * (grid.dim + 1), dtype=torch.complex128, device=device)
    total = total + sum(0 * k for k in waves)
    scalars: dict[sympy.Basic, SpectralFunction] = {
        sympy.Symbol(name, real=True): f for name, f in p.items() if not f.varies
    }
    for (*powers, in_time), coefficient in polynomial.terms():
        if in_time:
            continue  # u_t itself
        for term in sympy.Add.make_args(sympy.expand(coefficient)):
            if not term.free_symbols <= set(scalars):
                continue
            known = sorted(term.free_symbols, key=str)
            columns = [scalars[s].coefficients.flatten() for s in known]
            # The module, not its name, with which all of numpy.f2py would be imported.
            numeric = sympy.lambdify(known, term, modules=[np])
            rows = zip(*(column.tolist() for column in torch.broadcast_tensors(*columns))) if known else [()]
            numbers = [complex(numeric(*row)) for row in rows]
            values = torch.tensor(numbers, dtype=torch.complex128, device=device)
            part = values.reshape(-1, *(1,) * grid.dim)
            for k, power in zip(waves, powers):
                part = part * k**power
            total = total + part
    return total
