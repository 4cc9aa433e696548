"""Systems with known properties, and what their answers are compared with, for the tests of this folder."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from pdeflow.linalg import LinearOperator, Preconditioner, StencilOperator, Tag, diffusion_stencil, solve
from pdeflow.linalg.sparse_matrix import SparsePattern

SPD = (Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE)
HERMITIAN = (Tag.SYMMETRIC,)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def diffusion(
    coefficient: Tensor, periodic: tuple[bool, ...] | None = None, reaction: float = 0.0
) -> StencilOperator:
    """-div(a grad u) + c u for a on all nodes, ``(batch, *nodes)``, vouched for as positive definite.

    The outermost nodes of a bounded axis are the eliminated boundary. The spacing is 1 / (nodes - 1).
    """
    periodic = periodic or (False,) * (coefficient.ndim - 1)
    spacing = [1 / (n - (not wraps)) for n, wraps in zip(coefficient.shape[1:], periodic)]
    boundary = ["periodic" if wraps else "dirichlet" for wraps in periodic]
    return diffusion_stencil(coefficient, spacing, boundary, reaction).retagged(SPD)


def jumps(batch: int, shape: tuple[int, ...], seed: int = 0, low: float = 3.0, high: float = 12.0) -> Tensor:
    """A smooth random field thresholded to two values, ``(batch, *shape)``."""
    noise = torch.randn(batch, *shape, generator=generator(seed), dtype=torch.float64)
    axes = tuple(range(1, len(shape) + 1))
    waves = torch.meshgrid(*(torch.fft.fftfreq(n, dtype=torch.float64) * n for n in shape), indexing="ij")
    decay = 1 / (9 + sum(wave**2 for wave in waves))
    field = torch.fft.ifftn(torch.fft.fftn(noise, dim=axes) * decay, dim=axes).real
    return torch.where(field > 0, torch.full_like(field, high), torch.full_like(field, low))


def darcy(batch: int, interior: tuple[int, ...], seed: int = 0, **levels: float) -> StencilOperator:
    return diffusion(jumps(batch, tuple(n + 2 for n in interior), seed, **levels))


def helmholtz(n: int, shift: float, batch: int = 2) -> StencilOperator:
    """-u'' - shift u in 1D: indefinite once shift passes the lowest eigenvalue, about pi^2."""
    return diffusion(torch.ones(batch, n + 2, dtype=torch.float64), reaction=-shift)


def hermitian(batch: int, n: int, seed: int = 0) -> StencilOperator:
    """A positive definite complex Hermitian 5-point stencil: diffusion in a magnetic field."""
    real = darcy(batch, (n, n), seed)
    phase = torch.rand(batch, 2, n, n, generator=generator(seed), dtype=torch.float64)
    coefficients = real.coefficients.to(torch.complex128)
    for axis in range(2):
        k = real.offsets.index(tuple(-1 if a == axis else 0 for a in range(2)))
        turn = torch.polar(torch.ones_like(phase[:, axis]), 2 * phase[:, axis])
        coefficients[:, k] *= turn
        coefficients[:, k + 1] *= turn.roll(-1, axis + 1).conj()
    return StencilOperator(real.offsets, coefficients, tags=SPD)


def right_hand_side(A: LinearOperator, seed: int = 1) -> Tensor:
    return torch.randn(A.batch, *A.shape, generator=generator(seed), dtype=A.dtype)


def dense(A: LinearOperator) -> Tensor:
    """Every matrix of the batch, ``(batch, size, size)``, column by column through ``apply``."""
    columns = []
    for j in range(A.size):
        unit = torch.zeros(A.batch, A.size, dtype=A.dtype)
        unit[:, j] = 1
        columns.append(A.apply(unit.reshape(A.batch, *A.shape)).flatten(1))
    return torch.stack(columns, 2)


def bumps(batch: int, n: int, seed: int) -> Tensor:
    """A smooth random field within [-1, 1], ``(batch, n, n)``."""
    noise = torch.randn(batch, n, n, generator=generator(seed), dtype=torch.float64)
    wave = torch.fft.fftfreq(n, dtype=torch.float64) * n
    decay = torch.exp(-(wave[:, None] ** 2 + wave**2) / 18)
    field = torch.fft.ifft2(torch.fft.fft2(noise) * decay).real
    return field / field.abs().amax((1, 2), keepdim=True)


def waves(batch: int, n: int, k: float, seed: int = 0, damping: float = 0.0) -> StencilOperator:
    """-Laplace u - k(x)^2 u on the unit square, k^2 varying by 30 %; complex symmetric where damped."""
    square = k**2 * (1 + 0.3 * bumps(batch, n, seed))
    edge = torch.full_like(square, float((n + 1) ** 2))
    values = torch.stack([4 * edge - square, -edge, -edge, -edge, -edge], 1)
    offsets = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
    if not damping:
        return StencilOperator(offsets, values, tags=HERMITIAN)
    values = values.to(torch.complex128)
    values[:, 0] += 1j * damping
    return StencilOperator(offsets, values)


def convection(batch: int, n: int, speed: float = 20.0) -> StencilOperator:
    """-Laplace u + speed u_x on the unit square by central differences: not symmetric."""
    edge = torch.full((batch, n, n), float((n + 1) ** 2), dtype=torch.float64)
    drift = torch.full_like(edge, speed * (n + 1) / 2) * torch.linspace(1, 1.5, batch).reshape(-1, 1, 1)
    values = torch.stack([4 * edge, -edge, -edge, -edge + drift, -edge - drift], 1)
    return StencilOperator([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)], values)


def same(found: Tensor, expected: Tensor, relative: float = 1e-6) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=relative * float(expected.abs().max()))


def least_norm(A: LinearOperator, b: Tensor) -> Tensor:
    """The answer of NumPy's least squares, sample by sample."""
    one_for_all = dense(A).expand(b.shape[0], -1, -1)
    rows = [
        np.linalg.lstsq(matrix.numpy(), y.numpy(), rcond=1e-11)[0]
        for matrix, y in zip(one_for_all, b.flatten(1))
    ]
    return torch.from_numpy(np.stack(rows)).reshape(b.shape)


def drifting(count: int, n: int = 12, batch: int = 1, **levels: float) -> list[StencilOperator]:
    """Diffusion whose coefficient changes by two per cent from system to system."""
    a = jumps(batch, (n + 2, n + 2), **levels)
    noise = [torch.rand(a.shape, generator=generator(i), dtype=torch.float64) for i in range(count)]
    return [diffusion(a * (1 + 0.02 * x)) for x in noise]


def scaled(A: StencilOperator, factor: float) -> StencilOperator:
    return StencilOperator(A.offsets, A.coefficients * factor, A.periodic, A.tags)


def consistent(A: StencilOperator) -> Tensor:
    b = right_hand_side(A)
    return b - b.mean((1, 2), keepdim=True)


def relative_difference(x: Tensor, y: Tensor) -> float:
    return float(((x - y).abs().flatten(1).amax(1) / y.abs().flatten(1).amax(1)).max())


def random_pattern(rows: int, columns: int, density: float, seed: int) -> SparsePattern:
    rng = np.random.default_rng(seed)
    matrix = scipy.sparse.csr_array(rng.random((rows, columns)) < density)
    return SparsePattern(torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices), columns)


def iterations(A: LinearOperator, preconditioner: Preconditioner) -> int:
    """The most that a system of b = 1 takes."""
    b = torch.ones(A.batch, *A.shape, dtype=A.dtype)
    return int(solve(A, b, preconditioner=preconditioner).iterations.max())
