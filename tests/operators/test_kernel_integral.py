"""The integral is the plain formula; the neighbours are those of a dense table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.operators.kernel_integral import KernelIntegral
from pdeflow.operators.neighbours import edges_within, joined, random_order, repeated


def plain(
    integral: KernelIntegral, features: Tensor, v: Tensor, source: Tensor, target: Tensor, n: int
) -> Tensor:
    """The mean of kappa(e) v with the matrix of every edge."""
    width = integral.width
    matrices = integral.last(integral.hidden(features)).view(-1, width, width)
    messages = torch.einsum("eij,ej->ei", matrices, v[source])
    total = torch.zeros(n, width, dtype=v.dtype).index_add(0, target, messages)
    return total / torch.bincount(target, minlength=n).clamp(min=1)[:, None]


@pytest.mark.parametrize("targets", [40, 25])
def test_the_order_of_sums_does_not_matter(targets: int) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    sources = rng.random((40, 2))
    # The last point sees nobody.
    points = np.concatenate([rng.random((targets - 1, 2)), [[7.0, 7.0]]])
    edges = edges_within(0.3, points, sources)
    neighbours = joined([edges])
    integral = KernelIntegral(5, 6, 8).double()
    features = torch.randn(len(edges.source), 5, dtype=torch.float64, requires_grad=True)
    v = torch.randn(40, 6, dtype=torch.float64, requires_grad=True)
    fast = integral(integral.basis(features, neighbours), v, neighbours)
    slow = plain(integral, features, v, neighbours.source, neighbours.target, targets)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-10)
    assert (fast[-1] == 0).all()
    assert fast[:-1].abs().min() > 0
    wanted = [features, v, *integral.parameters()]
    weights = torch.randn_like(fast)
    for one, other in zip(
        torch.autograd.grad((fast * weights).sum(), wanted),
        torch.autograd.grad((slow * weights).sum(), wanted),
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_it_can_start_as_a_share_of_the_mean() -> None:
    points = np.random.default_rng(0).random((40, 2))
    edges = edges_within(0.3, points, points)
    neighbours = joined([edges])
    integral = KernelIntegral(5, 6, 8).double()
    for parameter in integral.last.parameters():
        torch.nn.init.zeros_(parameter)
    integral.start_as_mean(0.7)
    v = torch.randn(40, 6, dtype=torch.float64)
    features = torch.randn(len(edges.source), 5, dtype=torch.float64)
    near = torch.from_numpy(np.linalg.norm(points[:, None] - points[None], axis=2) <= 0.3).double()
    mean = near @ v / near.sum(1, keepdim=True)
    torch.testing.assert_close(integral(integral.basis(features, neighbours), v, neighbours), 0.7 * mean)


def test_neighbours_are_those_of_a_dense_table() -> None:
    rng = np.random.default_rng(1)
    points, sources = rng.random((30, 2)), rng.random((50, 2))
    edges = edges_within(0.25, points, sources)
    near = np.linalg.norm(points[:, None] - sources[None], axis=2) <= 0.25
    expected = np.argwhere(near)
    np.testing.assert_array_equal(np.stack([edges.target, edges.source], axis=1), expected)
    back = edges.reversed()
    np.testing.assert_array_equal(np.stack([back.target, back.source], axis=1), np.argwhere(near.T))


def test_edges_of_several_meshes_do_not_mix() -> None:
    rng = np.random.default_rng(2)
    meshes = [rng.random((n, 2)) for n in (7, 12, 5)]
    parts = [edges_within(0.5, mesh, mesh) for mesh in meshes]
    neighbours = joined(parts)
    starts = np.cumsum([0, 7, 12, 5])
    for part, start, stop, first in zip(
        parts, starts, starts[1:], np.cumsum([0, *(len(p.source) for p in parts)])
    ):
        ours = slice(first, first + len(part.source))
        np.testing.assert_array_equal(neighbours.source[ours] - start, part.source)
        assert ((neighbours.target[ours] >= start) & (neighbours.target[ours] < stop)).all()
    # Each edge stands once, in the row of its target.
    rows = [row[row < len(neighbours.source)] for table in neighbours.tables for row in table]
    assert sorted(torch.cat(rows).tolist()) == list(range(len(neighbours.source)))
    for target, row in enumerate(neighbours.row.tolist()):
        assert (neighbours.target[rows[row]] == target).all()


def test_the_random_order_depends_on_places_alone() -> None:
    rng = np.random.default_rng(3)
    points = rng.random((200, 2)).astype("f4")
    points[0] = [0.0, -0.0]
    shuffle = rng.permutation(200)
    first, second = points[random_order(points)], points[shuffle][random_order(points[shuffle])]
    np.testing.assert_array_equal(first, second)
    # As good as random: a quarter of the nodes is spread as all of them are.
    assert np.abs(first[:50].mean(0) - points.mean(0)).max() < 0.15
    assert sorted(random_order(points)) == list(range(200))


def test_copies_of_a_mesh_are_a_batch_of_it() -> None:
    rng = np.random.default_rng(0)
    edges = edges_within(0.3, rng.random((25, 2)), rng.random((40, 2)))
    copies, batch = repeated(joined([edges]), 3, 40, 25), joined([edges] * 3)
    for part in ("source", "target", "among"):
        assert torch.equal(getattr(copies, part), getattr(batch, part))
    # Rows may stand elsewhere, but each target has a row with its edges.
    targets = torch.cat([batch.target, torch.tensor([-1])])
    rows = [row for table in copies.tables for row in table]
    for target, row in enumerate(copies.row.tolist()):
        listed = rows[row][rows[row] < len(batch.source)]
        assert torch.equal(listed, torch.nonzero(targets == target)[:, 0])
