"""GIOROM's split in a test: the ends of trajectories marched on a few nodes, asked for at all nodes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.march import fed_back
from pdeflow.training.rollout_error import held


def errors_everywhere(
    model: GraphOperator, query: Callable[[Any, Tensor], Tensor], states: Tensor, batch: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    """Relative L2 errors of the last states at the nodes of the grid, the last step of each march a query.

    Nodes of the grid where the operator does not answer, far from those that were drawn, are not in the
    errors; what share of the nodes they are is told beside them. Of a trajectory that has diverged the error
    is 1, that of zero.

    Parameters
    ----------
    model
        Says where it answers.
    query
        A graph of one mesh, and points, to (points, channels), in physical units.
    states
        Those that were marched, (nodes, steps, channels), NaN where a trajectory has diverged.
    batch
        Whole trajectories, as ``SparseTrajectoryData`` gives them in a test.

    Returns
    -------
    tuple of Tensor
        Errors, and shares of the nodes without an answer, (samples,) float64 each.
    """
    # It takes seconds, and who trains on grids has no use for it.
    from torch_geometric.data import Data

    graph, points, sample = batch["input"], batch["everywhere"]["points"], batch["grid"].sample
    x = fed_back(graph.x, held(states)[:, :-1], batch["state"])
    errors, unanswered = [], []
    for number, truth in enumerate(batch["everywhere"]["last"]):
        mine = sample == number
        nodes = graph.pos[mine].cpu().numpy()
        answered = torch.from_numpy(model.answers(points.cpu().numpy(), nodes)).to(points.device)
        unanswered.append(1 - answered.double().mean())
        target = truth.T[answered].double()
        prediction = torch.full_like(target, torch.nan)
        if bool(torch.isfinite(states[mine]).all()):
            found = model.connect(nodes, sampled=True)
            one = model.connected([Data(x=x[mine], pos=graph.pos[mine])], [found]).to(str(x.device))
            prediction = query(one, points[answered]).double()
        if not bool(torch.isfinite(prediction).all()):
            prediction = torch.zeros_like(target)
        errors.append((prediction - target).norm() / target.norm())
    return torch.stack(errors), torch.stack(unanswered)
