"""From a state to those that follow, by a model of one step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput

LIMIT = 1e3
"""How many times as large as it began a state may become."""


def march(
    step: Callable[[Tensor], Tensor], past: Tensor, constants: Tensor, steps: int, channels: int
) -> Tensor:
    """Feed each state back for the next: ``u_{n+1} = step(u_{n-h+1}, ..., u_n, constants)``.

    A sample diverges when a state is not finite, or when its root mean square is above ``LIMIT`` times that
    of the states that it started from. Its states are NaN from then on; the others are not touched.

    Parameters
    ----------
    step
        ``(batch, in_channels, *shape)`` to ``(batch, channels, *shape)``, in physical units.
    past
        ``(batch, history * channels, *shape)``, the oldest state first.
    constants
        ``(batch, k, *shape)``, read at every step; k may be 0.
    steps
        How many states are wanted; there may be none.
    channels
        Of a state.

    Returns
    -------
    Tensor
        ``(batch, steps, channels, *shape)``.
    """
    start = past
    alive = torch.ones(len(past), dtype=torch.bool, device=past.device)
    states = []
    for _ in range(steps):
        state = step(torch.cat([past, constants], dim=1))
        alive = alive & in_bounds(state, start)
        rows = alive.view(-1, *(1,) * (state.ndim - 1))
        states.append(torch.where(rows, state, torch.nan))
        # A sample that has diverged stands still, so that nothing that is not finite goes through the model.
        past = torch.cat([past[:, channels:], torch.where(rows, state, past[:, -channels:])], dim=1)
    return torch.stack(states, dim=1) if states else past.new_empty(len(past), 0, channels, *past.shape[2:])


def march_on_nodes(
    step: Callable[[Any], Tensor], graph: Any, samples: int, known: int, steps: int, channels: int
) -> Tensor:
    """`march` on the nodes of graphs.

    Parameters
    ----------
    step
        A graph to (nodes, channels), in physical units.
    graph
        So many meshes, all with as many nodes; ``x`` (nodes, in_channels) holds the states, the oldest first,
        and then the constants. It is not changed.
    samples
        How many meshes.
    known
        How many channels are states.
    steps, channels
        As for `march`.

    Returns
    -------
    Tensor
        (nodes, steps, channels).

    Raises
    ------
    InvalidInput
        For meshes of different sizes, whose nodes would pass for one another's.
    """
    if len(sizes := set(graph.ptr.diff().tolist() if hasattr(graph, "ptr") else [])) > 1:
        hint = "March on them one by one."
        raise InvalidInput("graph", f"meshes of {sorted(sizes)} nodes", "as many nodes in each", hint)
    at_nodes = on_graph(step, graph)

    def by_sample(u: Tensor) -> Tensor:
        return u.unflatten(0, (samples, -1)).transpose(1, 2)

    def stepped(x: Tensor) -> Tensor:
        return by_sample(at_nodes(x.transpose(1, 2).flatten(0, 1)))

    x = by_sample(graph.x)
    states = march(stepped, x[:, :known], x[:, known:], steps, channels)
    return states.permute(0, 3, 1, 2).flatten(0, 1)


def on_graph(step: Callable[[Any], Tensor], graph: Any) -> Callable[[Tensor], Tensor]:
    """The step of a graph as one of the values at its nodes, (nodes, in_channels) to (nodes, channels).

    The graph is not changed.
    """

    def stepped(x: Tensor) -> Tensor:
        current = copy.copy(graph)
        current.x = x
        return step(current)

    return stepped


def fed_back(x: Tensor, states: Tensor, known: int) -> Tensor:
    """What the next step reads after some states, (nodes, in_channels), as the first one read ``x``.

    Parameters
    ----------
    x
        (nodes, in_channels), the states, the oldest first, and then the constants.
    states
        (nodes, steps, channels), those that came after them.
    known
        How many channels of ``x`` are states.
    """
    past = torch.cat([x[:, :known], states.flatten(1)], dim=1)[:, -known:]
    return torch.cat([past, x[:, known:]], dim=1)


def in_bounds(state: Tensor, start: Tensor) -> Tensor:
    """``(batch,)`` which samples are finite, and at most ``LIMIT`` times as large as what they started from.

    Both are ``(batch, channels, *shape)``, of any channels and shapes; nothing bounds what started from zero.
    """
    size, square = _mean_square(start), _mean_square(state)
    return torch.isfinite(square) & (square <= torch.where(size > 0, LIMIT**2 * size, torch.inf))


def _mean_square(state: Tensor) -> Tensor:
    return state.detach().flatten(1).square().mean(1)
