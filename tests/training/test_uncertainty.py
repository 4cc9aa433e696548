"""Means and variances: the head, the mixture, the likelihood, the scores, and what training makes of them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import norm
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn.functional import softplus
from toy import STATISTICS, ToyData, toy_grid, toy_trainer

import pdeflow
from pdeflow.data import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.operators import FNO, GNO, Ensemble, Gaussian, GaussianOperator, MeanVariance, Operator
from pdeflow.operators.gaussian_operator import VARIANCE_FLOOR
from pdeflow.surrogate import Surrogate
from pdeflow.training import Evaluator, GaussianNLL, TrainingTask
from pdeflow.training.calibration import Calibration


def fno(seed: int = 0, out_channels: int = 2) -> FNO:
    torch.manual_seed(seed)
    return FNO(modes=[4, 4], width=4, layers=1, out_channels=out_channels)


class Line(Operator):
    """Mean ``w a + b`` and raw number ``c`` at every node: linear regression with one variance."""

    def __init__(self) -> None:
        super().__init__({}, dim=2, in_channels=1, out_channels=2)
        self.weight = nn.Parameter(torch.zeros(3, dtype=torch.float32))

    def evaluate(self, x: Tensor) -> Tensor:
        w, b, c = self.weight
        return torch.cat([w * x + b, c.expand_as(x)], dim=1)


def test_head_reads_means_and_softplus_of_what_follows() -> None:
    operator, x = fno(out_channels=4), torch.randn(3, 1, 9, 10)
    model = MeanVariance(operator)
    assert (model.dim, model.in_channels, model.out_channels) == (2, 1, 2)
    found, raw = model.distribution(x), operator(x)
    assert torch.equal(found.mean, raw[:, :2])
    torch.testing.assert_close(found.variance, softplus(raw[:, 2:]) + VARIANCE_FLOOR)
    assert torch.equal(model(x), found.mean)


def test_variances_keep_their_floor_in_half_precision() -> None:
    line = Line()
    nn.init.constant_(line.weight, -30.0)
    found = MeanVariance(line.bfloat16()).distribution(torch.randn(1, 1, 4, 4, dtype=torch.bfloat16))
    assert found.variance.dtype == torch.float32
    assert found.variance.min().item() == pytest.approx(VARIANCE_FLOOR, rel=1e-3)


@pytest.mark.parametrize("head", [True, False])
def test_ensemble_has_the_moments_of_the_mixture(head: bool) -> None:
    x = torch.randn(2, 1, 8, 8)
    members = [MeanVariance(fno(seed)) if head else fno(seed, 1) for seed in range(4)]
    mean, variance = Ensemble(members).distribution(x)
    if head:
        each = [member.distribution(x) for member in members if isinstance(member, MeanVariance)]
        means, deviations = (torch.stack(part, -1) for part in zip(*((m, v.sqrt()) for m, v in each)))
        mixture = MixtureSameFamily(Categorical(torch.ones_like(means)), Normal(means, deviations))
        torch.testing.assert_close(mean, mixture.mean)
        torch.testing.assert_close(variance, mixture.variance)
    else:
        means = torch.stack([member(x) for member in members])
        torch.testing.assert_close(mean, means.mean(0))
        torch.testing.assert_close(variance, means.var(0, correction=0))


def test_members_that_agree_have_the_least_variance() -> None:
    found = Ensemble([fno(3, 1), fno(3, 1)]).distribution(torch.randn(2, 1, 8, 8))
    assert torch.equal(found.variance, torch.full_like(found.variance, VARIANCE_FLOOR))


def test_what_has_no_variance_to_give() -> None:
    with pytest.raises(InvalidInput, match=r"out_channels: got 3, expected an even number(?s:.*)6"):
        MeanVariance(fno(out_channels=3))
    with pytest.raises(InvalidInput, match="gives no variance yet"):
        MeanVariance(MeanVariance(fno(out_channels=4)))
    with pytest.raises(InvalidInput, match="at least 2 members"):
        Ensemble([fno()])
    with pytest.raises(InvalidInput, match="differ in their weights alone"):
        Ensemble([fno(), fno(out_channels=4)])
    with pytest.raises(InvalidInput, match="differ in their weights alone"):
        Ensemble([GNO(radius=0.5, width=4, kernel_width=4), fno(out_channels=1)])
    task = TrainingTask(fno(out_channels=1), objective=GaussianNLL(), normalisation=STATISTICS)
    with pytest.raises(InvalidInput, match=r"model: got 'FNO'|model: got FNO"):
        task.predict({"input": torch.randn(1, 1, 8, 8)})
    with pytest.raises(InvalidInput, match="Rollout"):
        GaussianNLL().predict(task, {"input": torch.randn(1, 1, 8, 8), "state": 1})


class Own(GaussianOperator):
    """One that knows its mean and variance itself, and is made of no other operator."""

    def __init__(self, level: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__({"deviation": deviation}, dim=2, in_channels=1, out_channels=1)
        self.level = nn.Parameter(torch.tensor(level))
        self.deviation = deviation

    def distribution(self, x: Tensor) -> Gaussian:
        return Gaussian(x + self.level, torch.full_like(x, self.deviation**2))


def test_an_operator_that_writes_its_distribution_alone(tmp_path: Path) -> None:
    x = torch.randn(2, 1, 6, 7)
    surrogate = Surrogate(Own(1.0, 0.5))
    assert repr(surrogate).startswith("Surrogate(Own: ")
    mean, std = surrogate.predict_with_std(x)
    torch.testing.assert_close((mean, std), (x + 1.0, torch.full_like(x, 0.5)))
    torch.testing.assert_close(surrogate(x), x + 1.0)
    # What members know of themselves counts in an ensemble of them.
    found = Ensemble([Own(-1.0, 0.5), Own(1.0, 0.5)]).distribution(x)
    torch.testing.assert_close(found, Gaussian(x, torch.full_like(x, 1.25)))
    with pytest.raises(InvalidInput):
        pdeflow.save(Own(), tmp_path / "kept")
    task = TrainingTask(
        Own(), GaussianNLL(), lambda p: torch.optim.Adam(p, lr=1e-2), normalisation=STATISTICS
    )
    batch = {"input": x, "target": x, "grid": toy_grid()}
    prediction = task.objective.predict(task, batch)
    task.objective(prediction, batch).backward()
    assert isinstance(task.model, Own)
    assert task.model.level.grad is not None


def test_likelihood_is_that_of_torch_in_physical_units() -> None:
    x, target = torch.randn(3, 1, 8, 8), torch.randn(3, 1, 8, 8)
    task = TrainingTask(MeanVariance(fno()), objective=GaussianNLL(), normalisation=STATISTICS)
    batch = {"input": x, "target": target, "grid": toy_grid()}
    prediction = task.objective.predict(task, batch)
    normalised = task.model.distribution((x - 0.5) / 2.0)  # pyright: ignore[reportCallIssue]
    physical = Normal(3.0 * normalised.mean - 1.0, 3.0 * normalised.variance.sqrt())
    torch.testing.assert_close(prediction, Gaussian(physical.mean, physical.variance))
    torch.testing.assert_close(task.objective(prediction, batch), -physical.log_prob(target).mean())
    assert torch.equal(task.predict(batch), prediction.mean)


def test_training_finds_the_line_and_the_noise_around_it() -> None:
    """Of ``u = 3 a - 1 + N(0, 0.5^2)`` maximum likelihood is least squares and the mean squared residual."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(16, 1, 16, 16, generator=generator)
    u = 3 * a - 1 + 0.5 * torch.randn(a.shape, generator=generator)
    statistics = Normalisation(("a",), ("u",), (0.0,), (1.0,), (float(u.mean()),), (float(u.std()),))
    task = TrainingTask(MeanVariance(Line()), objective=GaussianNLL(), normalisation=statistics)
    optimizer = torch.optim.LBFGS(task.model.parameters(), max_iter=100, line_search_fn="strong_wolfe")
    batch = {"input": a, "target": u, "grid": toy_grid(16)}

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.objective(task.objective.predict(task, batch), batch)
        loss.backward()
        return loss

    optimizer.step(closure)  # pyright: ignore[reportArgumentType]
    design = torch.stack([a.flatten(), torch.ones(a.numel())], dim=1)
    best = torch.linalg.lstsq(design, u.flatten()[:, None])
    residual = u.flatten() - (design @ best.solution)[:, 0]
    with torch.no_grad():
        found = task.distribution(a)
    torch.testing.assert_close(found.mean.flatten(), (design @ best.solution)[:, 0], rtol=1e-3, atol=1e-3)
    assert float(found.variance.mean()) == pytest.approx(float(residual.square().mean()), rel=1e-3)
    assert float(found.variance.mean()) == pytest.approx(0.25, rel=0.05)


def test_fit_and_test_report_likelihood_and_coverage(tmp_path: Path) -> None:
    task = TrainingTask(MeanVariance(fno()), objective=GaussianNLL())
    trainer = toy_trainer(tmp_path, epochs=2)
    data = ToyData()
    trainer.fit(task, datamodule=data)
    assert float(trainer.callback_metrics["valid/loss"]) < 3  # of normal numbers of deviation 3: 2.5
    trainer.test(task, datamodule=data, verbose=False)
    logged = trainer.callback_metrics
    with torch.no_grad():
        batches = [{**batch, "grid": toy_grid()} for batch in data.test_dataloader()[0]]
        losses = [task.objective(task.objective.predict(task, batch), batch) * len(batch["input"])
                  for batch in batches]  # fmt: skip
    assert float(logged["test/8x8/nll"]) == pytest.approx(float(sum(losses)) / 7, rel=1e-5)
    assert {"test/12x12/crps", "test/12x12/coverage_1std", "test/12x12/coverage_2std"} <= set(logged)


def scores(target: Tensor, mean: Tensor, variance: Tensor) -> dict[str, Tensor]:
    metric = Calibration()
    for parts in zip(mean.split(2), variance.split(2), target.split(2)):
        metric.update(*parts)
    return metric.compute()


def some_gaussians() -> tuple[Tensor, Tensor, Tensor]:
    """Targets that are drawn from the means and variances beside them."""
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, noise = torch.randn(3, 8, 2, 100, 100, generator=generator, dtype=torch.float64)
    variance = log_variance.exp()
    return mean + variance.sqrt() * noise, mean, variance


def test_scores_of_what_is_as_it_says() -> None:
    found = scores(*some_gaussians())
    assert float(found["coverage_1std"]) == pytest.approx(0.6827, abs=4e-3)
    assert float(found["coverage_2std"]) == pytest.approx(0.9545, abs=2e-3)
    assert float(found["calibration"]) < 3e-3
    torch.testing.assert_close(found["coverage"], torch.arange(1, 20).double() / 20, rtol=0, atol=5e-3)


def test_scores_of_what_is_too_sure() -> None:
    """With deviations half as large as they should be, a level p covers 2 Phi(z_p / 2) - 1."""
    target, mean, variance = some_gaussians()
    found = scores(target, mean, variance / 4)
    levels = torch.arange(1, 20).double() / 20
    expected = torch.from_numpy(2 * norm.cdf(norm.ppf((1 + levels.numpy()) / 2) / 2) - 1)
    torch.testing.assert_close(found["coverage"], expected, rtol=0, atol=5e-3)
    off = (expected - levels).square().mean().sqrt()
    torch.testing.assert_close(found["calibration"], off, rtol=0, atol=3e-3)


def test_scores_are_their_definitions() -> None:
    target, mean, variance = some_gaussians()
    normal = Independent(Normal(mean, variance.sqrt()), 4)
    found = scores(target, mean, variance)
    torch.testing.assert_close(found["nll"], -normal.log_prob(target) / target.numel())
    # CRPS is the integral of (F(y) - 1[y >= t])^2, here of one value by the trapezoid rule.
    y = torch.linspace(-20, 20, 400_001, dtype=torch.float64)
    one = scores(
        torch.full((1,), 1.3).double(), torch.full((1,), 0.4).double(), torch.full((1,), 2.25).double()
    )
    integrand = (Normal(0.4, 1.5).cdf(y) - (y >= 1.3).double()).square()
    assert float(one["crps"]) == pytest.approx(float(torch.trapezoid(integrand, y)), rel=1e-4)
    assert float(one["nll"]) == pytest.approx(0.5 * math.log(2 * math.pi * 2.25) + 0.5 * 0.36)


def test_evaluator_has_scores_where_there_is_a_variance() -> None:
    target, mean, variance = (u[:, :, :10, :10] for u in some_gaussians())
    evaluator = Evaluator(("l2",))
    evaluator.update(mean, target, toy_grid(10))
    assert set(evaluator.compute()) == {"l2"}
    evaluator.update(mean, target, toy_grid(10), variance)
    assert set(evaluator.compute()) == {"l2", "nll", "crps", "coverage_1std", "coverage_2std", "calibration"}
    assert evaluator.curves()["coverage"].shape == (19,)
    evaluator.reset()
    evaluator.update(mean, target, toy_grid(10))
    assert set(evaluator.compute()) == {"l2"}


def test_a_prediction_that_is_no_number_shows_in_the_scores() -> None:
    target, mean, variance = some_gaussians()
    mean = mean.clone()
    mean[0] = torch.nan
    found = scores(target, mean, variance)
    assert math.isnan(float(found["nll"]))
    assert float(found["coverage"][-1]) < 1


def test_the_mixture_of_members_in_half_precision_is_in_single() -> None:
    members = [fno(seed, 1).bfloat16() for seed in (0, 1)]
    for member, value in zip(members, (1.0, 1.0078125)):
        member.forward = lambda x, value=value: torch.full((1, 1, 4, 4), value, dtype=torch.bfloat16)
    mean, variance = Ensemble(members).distribution(torch.zeros(1, 1, 4, 4))
    assert mean.dtype == variance.dtype == torch.float32
    assert mean[0, 0, 0, 0].item() == 1.00390625  # between two numbers of bfloat16
    assert variance[0, 0, 0, 0].item() == pytest.approx(0.00390625**2)
