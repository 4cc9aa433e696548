"""Sequences of linear systems such as simulations and data generation make them.

``tests/benchmarks`` verifies every discretisation: symmetry, spectrum, order of convergence.

Grids are uniform on the unit square or cube with u = 0 on the boundary; n is the number of unknowns (interior
nodes) along each axis. What is random comes from Gaussian fields with seeds of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from pdeflow.linalg import LinearOperator, SparseOperator, StencilOperator, Tag
from pdeflow.problems import (
    Constant,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Parameter,
    Problem,
    ThresholdedField,
)
from pdeflow.problems.domain import unit_box


@dataclass
class SystemSequence:
    """Systems ``A_i x_i = b_i`` in their order.

    ``operator`` and ``b`` hold one system a sample. ``parameters``, (systems, numbers), is what the matrices
    are made of, for sorting; None where the order is given. Where it is ``sequential``, a system is known
    only once the one before is solved, so that no two can be solved together.
    """

    operator: StencilOperator | SparseOperator
    b: Tensor
    parameters: Tensor | None = None
    sequential: bool = False

    def pick(self, indices: list[int]) -> tuple[LinearOperator, Tensor]:
        """Some of the systems as a batch."""
        held = self.operator
        if isinstance(held, SparseOperator):
            return SparseOperator(held.pattern, held.values[indices], held.shape, held.tags), self.b[indices]
        return StencilOperator(held.offsets, held.coefficients[indices], tags=held.tags), self.b[indices]

    def arrays(self) -> dict[str, np.ndarray]:
        """As the peers take them; see ``peers/protocol.py``."""
        operator, tags = self.operator, self.operator.tags
        if isinstance(operator, SparseOperator):
            pattern, data = operator.pattern, operator.values.numpy()
            indptr, indices = pattern.indptr.numpy(), pattern.indices.numpy()
        else:
            matrices = [operator.to_scipy(i) for i in range(operator.batch)]
            data = np.stack([matrix.data for matrix in matrices])
            indptr, indices = matrices[0].indptr, matrices[0].indices
        return {
            "data": data,
            "indices": indices,
            "indptr": indptr,
            "b": self.b.flatten(1).numpy(),
            "shape": np.array(operator.shape),
            "symmetric": np.array(Tag.SYMMETRIC in tags),
            "positive_definite": np.array(Tag.POSITIVE_DEFINITE in tags),
        }


def nearest_neighbours(parameters: Tensor) -> list[int]:
    """A greedy order: from the first system on always the nearest that is left."""
    flat = parameters.flatten(1)
    distance = torch.cdist(flat, flat)
    order = [0]
    distance[:, 0] = float("inf")
    while len(order) < flat.shape[0]:
        order.append(int(distance[order[-1]].argmin()))
        distance[:, order[-1]] = float("inf")
    return order


def _fields(field: GaussianField, dim: int, points: int, count: int, stream: int) -> Tensor:
    """``count`` samples on ``points`` nodes an axis, (count, *points); streams are independent."""
    seeds = [np.random.SeedSequence(stream, spawn_key=(i,)) for i in range(count)]
    return field.sample(seeds, unit_box(dim).grid(points))


class Helmholtz(Problem):
    """``-lap u - w u = f`` with ``w = k(x)^2``."""

    def __init__(self, dim: int) -> None:
        self.domain = unit_box(dim)
        self.conditions = (Dirichlet(0.0),)
        self.w = Parameter(GaussianField())
        self.f = Parameter(GaussianField())

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - p.w * u - p.f


def helmholtz(dim: int, n: int, k: float, count: int, damping: float = 0.0) -> SystemSequence:
    """``-lap u - k^2 (1 + 0.3 s(x)) (1 + i damping) u = f``, s and f smooth and independent, ``|s| <= 1``.

    The Laplacian's least eigenvalue is ``dim pi^2``: the operator is nearly singular around k = 4.4 in 2D and
    5.4 in 3D, and indefinite beyond.
    """
    problem = Helmholtz(dim)
    smooth = GaussianField(alpha=3.0)
    s = _fields(smooth, dim, n + 2, count, stream=1)
    s = s / s.abs().flatten(1).amax(1).reshape(-1, *(1,) * dim)
    f = _fields(smooth, dim, n + 2, count, stream=2)
    system = problem.discretise(problem.grid(n + 2), {"w": k**2 * (1 + 0.3 * s), "f": f})
    operator, b = system.operator, system.rhs
    inner = s[system.interior]
    if damping:
        coefficients = operator.coefficients.to(torch.complex128)
        coefficients[:, operator.offsets.index((0,) * dim)] -= 1j * damping * k**2 * (1 + 0.3 * inner)
        operator, b = StencilOperator(operator.offsets, coefficients), b.to(torch.complex128)
    return SystemSequence(operator, b, inner.flatten(1))


def convection_stencil(psi: Tensor, diffusion: float | Tensor, upwind: bool) -> StencilOperator:
    """``-diffusion lap u + v . grad u`` by finite volumes for ``v = (d psi/dy, -d psi/dx)``.

    ``psi``, (batch, n + 1, n + 1), is given at the corners of the cells around the n x n unknowns, so that v
    is free of divergence cell by cell. Values at the faces are means, or with ``upwind`` those upstream.
    """
    h = 1 / psi.shape[1]
    # The flow through each cell's east, west, north and south face, outwards.
    east = (psi[:, 1:, 1:] - psi[:, 1:, :-1]) / h
    west = -(psi[:, :-1, 1:] - psi[:, :-1, :-1]) / h
    north = -(psi[:, 1:, 1:] - psi[:, :-1, 1:]) / h
    south = (psi[:, 1:, :-1] - psi[:, :-1, :-1]) / h
    diffusion = torch.as_tensor(diffusion, dtype=psi.dtype).reshape(-1, 1, 1) / h**2
    centre, sides = 4 * diffusion, []
    for flow in (east, west, north, south):
        inflow = flow.clamp(max=0) if upwind else flow / 2
        sides.append(inflow / h - diffusion)
        centre = centre + (flow - inflow) / h
    offsets = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    return StencilOperator(offsets, torch.stack([centre.expand_as(east), *sides], 1))


def _streams(n: int, count: int, stream: int) -> Tensor:
    """Smooth stream functions at the (n + 1)^2 corners, with velocities of at most 1."""
    psi = _fields(GaussianField(alpha=4.0), 2, 2 * n + 3, count, stream)[:, 1::2, 1::2]
    return psi / _speed(psi).reshape(-1, 1, 1)


def _speed(psi: Tensor) -> Tensor:
    n = psi.shape[1]
    return (
        torch.maximum(psi.diff(dim=1).abs().flatten(1).amax(1), psi.diff(dim=2).abs().flatten(1).amax(1)) * n
    )


def convection(n: int, peclet: float, count: int, kind: str) -> SystemSequence:
    """Convection and diffusion at a cell Peclet number ``max |v| h / diffusion``; above 2 upwind.

    ``sweep``: steady, the velocity turns from one field into another, f fixed; ``time``: implicit Euler steps
    of 10 h for the same velocities, each right-hand side from the solution before; ``unrelated``: steady,
    velocities and f independent.
    """
    h, upwind = 1 / (n + 1), peclet > 2
    f = _fields(GaussianField(alpha=3.0), 2, n + 2, count, stream=4)[:, 1:-1, 1:-1]
    if kind == "unrelated":
        psi = _streams(n, count, stream=3)
        return SystemSequence(convection_stencil(psi, h / peclet, upwind), f, psi.flatten(1))
    angle = torch.linspace(0, torch.pi / 2, count, dtype=torch.float64).reshape(-1, 1, 1)
    one, other = _streams(n, 2, stream=3)
    psi = torch.cos(angle) * one + torch.sin(angle) * other
    operator = convection_stencil(psi, h / peclet, upwind)
    if kind == "sweep":
        return SystemSequence(operator, f[:1].expand_as(f).contiguous())
    step = 10 * h
    coefficients = operator.coefficients
    coefficients[:, 0] += 1 / step
    operator, rows = StencilOperator(operator.offsets, coefficients), []
    u = torch.zeros((n, n), dtype=torch.float64)
    for i in range(count):
        rows.append(u / step + f[0])
        u = torch.from_numpy(_direct(operator.to_scipy(i), rows[-1].numpy().ravel())).reshape(n, n)
    return SystemSequence(operator, torch.stack(rows), sequential=True)


def _direct(A: Any, b: np.ndarray) -> np.ndarray:
    return scipy.sparse.linalg.splu(A.tocsc()).solve(b)


def contrast(dim: int, n: int, count: int) -> SystemSequence:
    """``-div(a grad u) = 1``, a thresholded to 1e4 or 1."""
    problem = Darcy(dim, ThresholdedField(1.0, 1e4), Constant(1.0))
    grid = problem.grid(n + 2)
    parameters = problem.sample(range(count), grid, seed=5)
    system = problem.discretise(grid, parameters)
    return SystemSequence(system.operator, system.rhs, parameters["a"].log().flatten(1))


def disc_mesh(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (points, 2) of the unit disc, a ring of them on the circle, and Delaunay triangles (m, 3)."""
    from scipy.spatial import Delaunay

    generator = np.random.default_rng(6)
    ring = int(np.sqrt(4 * np.pi * points))
    angle = 2 * np.pi * np.arange(ring) / ring
    # Golden-angle spirals are even; shaking the points makes the mesh unstructured.
    inside = points - ring
    index = np.arange(inside) + 0.5
    radius = (1 - np.sqrt(np.pi / points)) * np.sqrt(index / inside)
    turn = np.pi * (1 + 5**0.5) * index
    nodes = np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1)
    nodes += generator.uniform(-0.3, 0.3, nodes.shape) / np.sqrt(points)
    nodes = np.concatenate([nodes, np.stack([np.cos(angle), np.sin(angle)], 1)])
    return nodes, Delaunay(nodes).simplices


def stiffness(nodes: np.ndarray, triangles: np.ndarray, a: np.ndarray) -> tuple[Any, np.ndarray]:
    """P1 elements: the matrix of ``int a grad u . grad v`` and ``int v``, a (m,) constant by triangle."""
    corners = nodes[triangles]
    # The edge opposite to each corner, turned by a right angle, is the gradient times twice the area.
    edges = np.roll(corners, -2, 1) - np.roll(corners, -1, 1)
    area = 0.5 * np.abs(edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    local = np.einsum("t,tid,tjd->tij", a / (4 * area), edges, edges)
    rows, columns = np.repeat(triangles, 3, 1).ravel(), np.tile(triangles, (1, 3)).ravel()
    size = len(nodes)
    A = scipy.sparse.coo_array((local.ravel(), (rows, columns)), shape=(size, size)).tocsr()
    load = np.bincount(triangles.ravel(), np.repeat(area / 3, 3), size)
    return A, load


def finite_elements(points: int, count: int) -> SystemSequence:
    """``-div(a grad u) = 1`` on the unit disc with P1 elements on an unstructured mesh, a log-normal."""
    nodes, triangles = disc_mesh(points)
    inner = np.flatnonzero(np.hypot(*nodes.T) < 1 - 1e-9)
    centres = nodes[triangles].mean(1)
    generator = np.random.default_rng(7)
    logarithms = np.stack([_random_waves(generator, centres) for _ in range(count)])
    matrices, loads = [], []
    for logarithm in logarithms:
        A, load = stiffness(nodes, triangles, np.exp(logarithm))
        matrices.append(A[inner][:, inner])
        loads.append(load[inner])
    operator = SparseOperator.from_scipy(matrices, tags=(Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE))
    return SystemSequence(operator, torch.from_numpy(np.stack(loads)), torch.from_numpy(logarithms))


def _random_waves(generator: np.random.Generator, at: np.ndarray, waves: int = 64) -> np.ndarray:
    """A stationary Gaussian field of standard deviation 1.5 by random Fourier features."""
    frequency = generator.standard_normal((2, waves)) * 3.0
    phase = generator.uniform(0, 2 * np.pi, waves)
    return 1.5 * np.sqrt(2 / waves) * np.cos(at @ frequency + phase).sum(1)


def quasilinear_residual(u: Tensor, f: Tensor) -> Tensor:
    """``-div((1 + u^2) grad u) - f`` at the interior nodes, u (n, n) zero on the boundary."""
    h = 1 / (u.shape[0] + 1)
    padded = torch.nn.functional.pad(u, (1, 1, 1, 1))
    total = -f * h**2
    for axis, inner in ((0, padded[:, 1:-1]), (1, padded[1:-1])):
        difference = inner.diff(dim=axis)
        mean = inner.narrow(axis, 0, inner.shape[axis] - 1) + 0.5 * difference
        total = total - ((1 + mean**2) * difference).diff(dim=axis)
    return total / h**2


def quasilinear_jacobian(u: Tensor) -> StencilOperator:
    """The derivative of :func:`quasilinear_residual`, ``-div((1 + u^2) grad w + 2 u w grad u)``."""
    h = 1 / (u.shape[0] + 1)
    padded = torch.nn.functional.pad(u, (1, 1, 1, 1))
    centre, sides = torch.zeros_like(u), []
    for axis, inner in ((0, padded[:, 1:-1]), (1, padded[1:-1])):
        difference = inner.diff(dim=axis)
        mean = inner.narrow(axis, 0, inner.shape[axis] - 1) + 0.5 * difference
        # The flow through a face by the value before it and by the value after it.
        before = -(1 + mean**2) + mean * difference
        after = (1 + mean**2) + mean * difference
        n = u.shape[axis]
        upper, lower = slice(1, n + 1), slice(0, n)
        pick = (lambda t, s: t[s]) if axis == 0 else (lambda t, s: t[:, s])
        centre = centre - pick(before, upper) + pick(after, lower)
        sides += [-pick(after, upper), pick(before, lower)]
    offsets = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    return StencilOperator(offsets, torch.stack([centre, *sides])[None] / h**2)


def newton(n: int, count: int, steps: int = 4) -> SystemSequence:
    """Newton steps for ``-div((1 + u^2) grad u) = t f`` while t grows: ``steps`` for every t."""
    f = _fields(GaussianField(alpha=3.0), 2, n + 2, 1, stream=8)[0, 1:-1, 1:-1]
    f = 100 * f / f.abs().max()
    u, operators, rows = torch.zeros_like(f), [], []
    for i in range(count):
        load = (1 + i // steps) / (1 + (count - 1) // steps)
        operators.append(quasilinear_jacobian(u))
        rows.append(-quasilinear_residual(u, load * f))
        u = u + torch.from_numpy(_direct(operators[-1].to_scipy(), rows[-1].numpy().ravel())).reshape(n, n)
    coefficients = torch.cat([operator.coefficients for operator in operators])
    operator = StencilOperator(operators[0].offsets, coefficients)
    return SystemSequence(operator, torch.stack(rows), sequential=True)


@dataclass(frozen=True)
class Family:
    """One sequence of the benchmark, and the preconditioners that it is solved with in the first contest."""

    name: str
    dim: int
    make: Callable[[int], SystemSequence]
    preconditioners: tuple[str, ...]


def _helmholtz_family(dim: int, n: int, k: float, damping: float = 0.0) -> Family:
    name = f"{'damped' if damping else 'helmholtz'}_{dim}d_{n}_k{k:g}"
    return Family(name, dim, lambda count: helmholtz(dim, n, k, count, damping), ("none", "ilu"))


def _convection_family(kind: str, peclet: float, n: int = 128) -> Family:
    preconditioners = ("jacobi", "ilu", "multigrid") if peclet <= 2 else ("jacobi", "ilu")
    name = f"convection_{kind}_{n}_pe{peclet:g}"
    return Family(name, 2, lambda count: convection(n, peclet, count, kind), preconditioners)


FAMILIES = (
    *(_helmholtz_family(2, 64, k) for k in (4, 6, 8, 11)),
    *(_helmholtz_family(2, 128, k) for k in (4, 11, 20, 30)),
    *(_helmholtz_family(3, 32, k) for k in (8, 11, 20)),
    *(_helmholtz_family(3, 48, k) for k in (11, 30)),
    *(_helmholtz_family(2, n, k, damping=0.1) for n, k in ((64, 11), (128, 30))),
    _helmholtz_family(3, 32, 20, damping=0.1),
    *(_convection_family(kind, peclet) for kind in ("time", "sweep", "unrelated") for peclet in (0.1, 1, 10)),
    Family("contrast_2d_128", 2, lambda count: contrast(2, 128, count), ("jacobi", "ilu")),
    Family("elements_2d_16000", 2, lambda count: finite_elements(16_000, count), ("jacobi", "ilu")),
    Family("newton_2d_128", 2, lambda count: newton(128, count), ("jacobi", "ilu", "multigrid")),
)
