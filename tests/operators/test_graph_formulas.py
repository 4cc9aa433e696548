"""The graph operators are their formulas, written out node by node and neighbour by neighbour in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import nn
from torch_geometric.data import Batch, Data

from pdeflow.operators import GINO, GNO, MKGN
from pdeflow.operators.kernel_integral import KernelIntegral
from pdeflow.operators.neighbours import random_order

Array = np.ndarray


def gelu(x: Array) -> Array:
    return 0.5 * x * (1.0 + erf(x / np.sqrt(2.0)))


def affine(layer: nn.Module, x: Array) -> Array:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()


def network(layers: nn.Sequential, x: Array) -> Array:
    """One hidden layer."""
    return affine(layers[2], gelu(affine(layers[0], x)))


def kernel(integral: KernelIntegral, *edge: Array) -> Array:
    """``kappa(e)``, a matrix."""
    hidden = gelu(network(integral.hidden, np.concatenate(edge)))
    return affine(integral.last, hidden).reshape(integral.width, integral.width)


def mean_within(
    integral: KernelIntegral, radius: float, here: tuple[Array, Array], there: tuple[Array, Array], v: Array
) -> Array:
    """``1/|N| sum_{j in N} kappa(x, (y_j - x) / r, a(x), a(y_j)) v_j``, zero where no y_j is within r of x.

    ``here`` is a position and its input, ``there`` positions and inputs.
    """
    (x, a), (positions, inputs) = here, there
    near = [j for j, y in enumerate(positions) if np.sqrt(((y - x) ** 2).sum()) <= radius]
    total = np.zeros(integral.width)
    for j in near:
        total += kernel(integral, x, (positions[j] - x) / radius, a, inputs[j]) @ v[j]
    return total / max(len(near), 1)


def by_gno(operator: GNO, positions: Array, inputs: Array) -> Array:
    """``v <- act(W v + K v)``, so many times."""
    v = np.array([affine(operator.lift, np.concatenate(node)) for node in zip(positions, inputs)])
    for _ in range(operator.layers):
        v = np.array(
            [
                gelu(
                    affine(operator.local, v[i])
                    + mean_within(
                        operator.integral,
                        operator.radius,
                        (positions[i], inputs[i]),
                        (positions, inputs),
                        v,
                    )
                )
                for i in range(len(v))
            ]
        )
    return np.array([network(operator.project, row) for row in v])


def by_mkgn(operator: MKGN, positions: Array, inputs: Array) -> Array:
    """V-cycles: down ``v_{l+1} <- act(v_{l+1} + K v_l)``, up ``v_l <- act(W_l v_l + K v_l + K v_{l+1})``."""
    order = random_order(positions)
    chosen = [np.arange(len(positions)), *(order[:count] for count in operator.coarse)]
    levels = [(positions[nodes], inputs[nodes]) for nodes in chosen]
    v = [np.array([affine(operator.lift, np.concatenate(node)) for node in zip(*level)]) for level in levels]

    def integral(kernels: nn.ModuleList, number: int, radius: float, to: int, origin: int) -> Array:
        one = kernels[number]
        assert isinstance(one, KernelIntegral)
        nodes = zip(*levels[to])
        return np.array([mean_within(one, radius, node, levels[origin], v[origin]) for node in nodes])

    bottom = len(levels) - 1
    for _ in range(operator.layers):
        for level in range(bottom):
            from_above = integral(operator.down, level, operator.inter[level], level + 1, level)
            v[level + 1] = gelu(v[level + 1] + from_above)
        for level in range(bottom, -1, -1):
            total = np.array([affine(operator.local[level], row) for row in v[level]])
            total += integral(operator.within, level, operator.inner[level], level, level)
            if level < bottom:
                total += integral(operator.up, level, operator.inter[level], level, level + 1)
            v[level] = gelu(total)
    return np.array([network(operator.project, row) for row in v[0]])


def by_gino(operator: GINO, positions: Array, inputs: Array) -> Array:
    """Both integrals; the Fourier layers between them are those of ``FNO``."""
    x, y = (np.linspace(a, b, n) for a, b, n in zip(operator.latent.lower, operator.latent.upper, (5, 6)))
    grid = np.array([[a, b] for a in x for b in y])
    nothing = np.zeros((len(grid), 0))
    lifted = np.array([affine(operator.lift, np.concatenate(node)) for node in zip(positions, inputs)])
    encoded = np.array(
        [
            mean_within(operator.encode, operator.in_radius, (node, nothing[0]), (positions, inputs), lifted)
            for node in grid
        ]
    )
    distances = np.sqrt(((grid[:, None] - positions[None]) ** 2).sum(2))
    seen = (distances <= operator.in_radius).any(1)
    assert 0 < seen.sum() < len(seen)
    functions = np.concatenate([encoded, seen[:, None]], axis=1).T.reshape(1, -1, 5, 6)
    w = operator.fourier(torch.from_numpy(functions)).detach().numpy()[0].reshape(operator.encode.width, -1).T
    decoded = [
        mean_within(operator.decode, operator.out_radius, (node, np.zeros(0)), (grid, nothing), w)
        for node in positions
    ]
    return np.array([network(operator.project, row) for row in decoded])


SIZES = {"width": 3, "kernel_width": 5, "layers": 2, "in_channels": 2, "out_channels": 2}
CASES: dict[str, tuple[Callable[[], GNO | MKGN | GINO], Callable[..., Array]]] = {
    "GNO": (lambda: GNO(radius=0.4, **SIZES), by_gno),
    "MKGN": (lambda: MKGN([9, 4], inner=[0.4, 0.6, 2.0], inter=[0.4, 0.7], **SIZES), by_mkgn),
    "GINO": (
        lambda: GINO(
            grid=[5, 6],
            modes=[3, 3],
            in_radius=0.25,
            out_radius=0.3,
            lower=[0.0, 0.0],
            upper=[1.0, 1.0],
            **SIZES,
        ),
        by_gino,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_formula(name: str) -> None:
    torch.manual_seed(0)
    make, written_out = CASES[name]
    operator, rng = make().double(), np.random.default_rng(4)
    # Of the second mesh the points that are left in a corner leave most of GINO's grid without any.
    meshes = [0.7 * rng.random((26, 2)), 0.5 * rng.random((18, 2))]
    # Of numbers that float32 has: positions decide which nodes are coarse.
    meshes = [mesh.astype(np.float32).astype(np.float64) for mesh in meshes]
    given = [rng.standard_normal((len(mesh), 2)) for mesh in meshes]
    expected = np.concatenate([written_out(operator, *both) for both in zip(meshes, given)])
    graphs = [Data(x=torch.from_numpy(x), pos=torch.from_numpy(pos)) for x, pos in zip(given, meshes)]
    with torch.no_grad():
        found = operator(Batch.from_data_list(graphs)).numpy()
    assert expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
