"""From a state to those that follow, by a model of one step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

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
        How many states are wanted.
    channels
        Of a state.

    Returns
    -------
    Tensor
        ``(batch, steps, channels, *shape)``.
    """
    size = _mean_square(past)
    bound = torch.where(size > 0, LIMIT**2 * size, torch.inf)
    alive = torch.ones_like(size, dtype=torch.bool)
    states = []
    for _ in range(steps):
        state = step(torch.cat([past, constants], dim=1))
        square = _mean_square(state)
        alive = alive & torch.isfinite(square) & (square <= bound)
        rows = alive.view(-1, *(1,) * (state.ndim - 1))
        states.append(torch.where(rows, state, torch.nan))
        # A sample that has diverged stands still, so that nothing that is not finite goes through the model.
        past = torch.cat([past[:, channels:], torch.where(rows, state, past[:, -channels:])], dim=1)
    return torch.stack(states, dim=1)


def _mean_square(state: Tensor) -> Tensor:
    return state.detach().flatten(1).square().mean(1)
