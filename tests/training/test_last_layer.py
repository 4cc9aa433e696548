"""A field that is linear in its last layer starts from the least squares of its statement."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, Gaussians, PirateNet
from pdeflow.problems import ConvectedSine, KleinGordon, Problem, SineHelmholtz, SinePoisson
from pdeflow.training import Collocation, PhysicsInformed, TrainingTask
from pdeflow.training.last_layer import fit_last_layer

LAST = ("last.weight", "last.bias")
LOG = "pdeflow.training"


def stated(
    problem: Problem, kind: Callable[..., Field] = PirateNet, hard: bool = True
) -> tuple[PhysicsInformed, Field, dict[str, Any]]:
    torch.manual_seed(0)
    objective, data = PhysicsInformed(problem, hard=hard).double(), Collocation(problem, inside=300)
    field = objective.constrain(kind(**data.model_arguments).double())
    return objective, field, next(iter(data.train_dataloader()))


def loss_of(objective: PhysicsInformed, field: Field, batch: dict[str, Any]) -> float:
    return float(objective.weighted(field, batch).square().sum().detach())


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("problem", [SinePoisson(), ConvectedSine(beta=2.0)], ids=lambda p: p.name)
def test_of_a_linear_statement_it_is_the_minimum(problem: Problem, hard: bool) -> None:
    objective, field, batch = stated(problem, hard=hard)
    before = loss_of(objective, field, batch)
    others = {name: p.clone() for name, p in field.named_parameters() if "last" not in name}
    assert fit_last_layer(objective, field, batch)
    after = loss_of(objective, field, batch)
    assert after < 1e-2 * before
    last = {name: p for name, p in field.named_parameters() if "last" in name}
    assert len(last) == 2
    start = [p.detach().clone() for p in last.values()]
    for seed in range(5):
        torch.manual_seed(seed)
        for p, old in zip(last.values(), start):
            p.data = old + 1e-2 * torch.randn_like(old)
        assert loss_of(objective, field, batch) > after
    for name, p in field.named_parameters():
        if name in others:
            torch.testing.assert_close(p, others[name], rtol=0, atol=0)


def test_gaussians_are_solved_for_where_no_layer_is_on_top() -> None:
    """A second step finds nothing more; where it is not asked for there is none."""
    plain = partial(Gaussians, gaussians=40, features=2, hidden=0)
    objective, field, batch = stated(SinePoisson(), partial(plain, least_squares=True))
    before = loss_of(objective, field, batch)
    assert fit_last_layer(objective, field, batch)
    after = loss_of(objective, field, batch)
    assert after < 1e-2 * before
    fit_last_layer(objective, field, batch)
    assert loss_of(objective, field, batch) > 0.99 * after
    assert not fit_last_layer(*stated(SinePoisson(), plain))
    with pytest.raises(InvalidInput, match=r"model.least_squares: got True, expected false, for hidden is 8"):
        Gaussians(hidden=8, least_squares=True)


def test_of_another_statement_the_loss_falls(caplog: pytest.LogCaptureFixture) -> None:
    objective, field, batch = stated(KleinGordon(stop=1.0), hard=False)
    before = loss_of(objective, field, batch)
    with caplog.at_level(logging.INFO, logger=LOG):
        assert fit_last_layer(objective, field, batch)
    after = loss_of(objective, field, batch)
    assert after < 0.1 * before
    assert (
        f"Least squares for the last layer: the loss falls from {before:.3g} to {after:.3g}." in caplog.text
    )


def test_a_step_that_makes_the_loss_larger_is_taken_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    objective, field, batch = stated(SinePoisson())
    linearised = PhysicsInformed.linearised

    def wrong(self: PhysicsInformed, *given: Any) -> Any:
        r, J = linearised(self, *given)
        return r, -0.1 * J

    monkeypatch.setattr(PhysicsInformed, "linearised", wrong)
    before = {name: p.clone() for name, p in field.named_parameters()}
    with caplog.at_level(logging.INFO, logger=LOG):
        assert not fit_last_layer(objective, field, batch)
    assert "The last layer stays: least squares take the loss from " in caplog.text
    for name, p in field.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0)


def test_layers_that_are_frozen_or_not_linear_stay() -> None:
    objective, field, batch = stated(SinePoisson(), MLP)
    assert not fit_last_layer(objective, field, batch)
    objective, field, batch = stated(SinePoisson())
    for name, p in field.named_parameters():
        p.requires_grad_("last" not in name)
    before = {name: p.clone() for name, p in field.named_parameters()}
    assert not fit_last_layer(objective, field, batch)
    for name, p in field.named_parameters():
        torch.testing.assert_close(p, before[name], rtol=0, atol=0)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.numbers = max(
            [self.numbers, *(p.numel() for p in pytree.tree_leaves(found) if isinstance(p, Tensor))]
        )
        return found


def test_no_more_is_formed_than_the_columns_of_the_last_layer() -> None:
    """Of all layers there would be 300 matrices of 128 x 128: the width times more than is there now."""
    problem, width = SinePoisson(dim=2), 128
    objective, data = PhysicsInformed(problem, hard=False).double(), Collocation(problem, inside=300)
    field = PirateNet(**data.model_arguments, width=width).double()
    batch = next(iter(data.train_dataloader()))
    with Largest() as evaluated, torch.no_grad():
        objective.weighted(field, batch)
    with Largest() as fitted:
        assert fit_last_layer(objective, field, batch)
    r, J = objective.linearised(field, {f"field.{name}": field.get_parameter(name) for name in LAST}, batch)
    with_ridge = (len(r) + J.shape[1]) * (width + 1)
    assert fitted.numbers <= max(2 * evaluated.numbers, with_ridge)
    assert fitted.numbers < 300 * width**2 / 10
    assert all(p.requires_grad for p in field.parameters())


def test_training_begins_there() -> None:
    """Steps of length 0: what is there at the end is the start."""
    torch.manual_seed(0)
    problem = SineHelmholtz(1, 1)
    data = Collocation(problem, inside=300, steps=2, test_resolutions=(11,))
    task = TrainingTask(
        PirateNet(**data.model_arguments), PhysicsInformed(problem), partial(torch.optim.SGD, lr=0.0)
    )
    trainer = lightning.Trainer(
        max_epochs=1,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule=data)
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-3
