"""Which numbers an optimiser lets decay."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn
from torch.optim import Optimizer

from pdeflow.training.optimisers import Stages


def spare_from_decay(optimizer: Optimizer, parameters: Iterable[nn.Parameter]) -> None:
    """Put parameters into groups without ``weight_decay``; of `Stages`, in every stage.

    Decay draws weights towards 0, which is no better than another value for a number that means something.

    Parameters
    ----------
    optimizer
        Any; one without weight decay stays as it is.
    parameters
        Some of those that it moves.
    """
    spared = {id(parameter) for parameter in parameters}
    for one in optimizer.optimisers if isinstance(optimizer, Stages) else [optimizer]:
        for group in [group for group in one.param_groups if group.get("weight_decay")]:
            apart = [parameter for parameter in group["params"] if id(parameter) in spared]
            if apart:
                group["params"] = [p for p in group["params"] if id(p) not in spared]
                one.param_groups.append({**group, "params": apart, "weight_decay": 0.0})
