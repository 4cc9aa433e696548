r"""A start from the statement: the parameters in which a field is linear, by least squares.

S. Wang, B. Li, Y. Chen, P. Perdikaris, "PirateNets: physics-informed deep learning with residual adaptive
networks", J. Mach. Learn. Res. 25 (2024), section 4.3: the last layer from the linearised equation.
"""

from __future__ import annotations

from typing import Any

import torch

from pdeflow.fields import Field
from pdeflow.training.messages import inform
from pdeflow.training.physics_informed import PhysicsInformed


@torch.no_grad()
def fit_last_layer(objective: PhysicsInformed, field: Field, batch: dict[str, Any]) -> bool:
    r"""Solve :math:`\min_d |r + J d|^2 + \epsilon |d|^2` for the ``linear_parameters`` of a field.

    Where the statement is linear, they then have the least loss that the rest of the network allows. Of
    another statement it is one step of Gauss-Newton, which is taken if it makes the loss smaller. What it did
    is said. Of the Jacobian no more is formed than the columns of these parameters.

    Parameters
    ----------
    objective
        The statement.
    field
        Of its parameters those that are trained take part; the others stay.
    batch
        With ``points``.

    Returns
    -------
    bool
        Whether the parameters have changed.
    """
    named = dict(field.named_parameters())
    chosen = {name: named[name] for name in field.linear_parameters if named[name].requires_grad}
    if not chosen:
        return False
    rest = [p for name, p in named.items() if p.requires_grad and name not in chosen]
    try:
        for p in rest:  # fields form no columns of what needs no gradients
            p.requires_grad_(False)
        with torch.enable_grad():
            r, J = objective.linearised(field, {f"field.{name}": p for name, p in chosen.items()}, batch)
    finally:
        for p in rest:
            p.requires_grad_()
    # As large as the rounding of J^T J: what the points do not tell stays small.
    ridge = torch.finfo(J.dtype).eps ** 0.5 * torch.linalg.matrix_norm(J)
    below = ridge * torch.eye(J.shape[1], dtype=J.dtype, device=J.device)
    right = torch.cat([-r, torch.zeros_like(below[0])])
    step = torch.linalg.lstsq(torch.cat([J, below]), right[:, None]).solution[:, 0]
    before = [p.clone() for p in chosen.values()]
    for p, part in zip(chosen.values(), step.split([p.numel() for p in before])):
        p += part.view_as(p)
    first, last = float(r.square().sum()), float(objective.weighted(field, batch).square().sum())
    if last < first:
        inform(f"Least squares for the last layer: the loss falls from {first:.3g} to {last:.3g}.")
        return True
    for p, old in zip(chosen.values(), before):
        p.copy_(old)
    inform(f"The last layer stays: least squares take the loss from {first:.3g} to {last:.3g}.")
    return False
