"""All metrics of a set from one pass over it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torchmetrics import Metric

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.calibration import Calibration
from pdeflow.training.component_errors import ComponentErrors
from pdeflow.training.metrics import (
    BoundaryRMSE,
    ConservedRMSE,
    MaxError,
    MeanLoss,
    NormalisedRMSE,
    RelativeH1Error,
    RelativeL2Error,
    VarianceScaledRMSE,
)
from pdeflow.training.point_errors import PointErrors
from pdeflow.training.rollout_error import RolloutError, held
from pdeflow.training.spectral_error import SpectralError

METRICS: dict[str, Callable[[], Metric]] = {
    "l2": RelativeL2Error,
    "h1": RelativeH1Error,
    "nrmse": NormalisedRMSE,
    "vrmse": VarianceScaledRMSE,
    "crmse": ConservedRMSE,
    "brmse": BoundaryRMSE,
    "frmse": SpectralError,
    "max_error": MaxError,
}
GRID_ONLY = ("h1", "vrmse", "frmse")


class Evaluator(nn.Module):
    """Metrics by their short names, updated together; of samples on meshes those that meshes have.

    Parameters
    ----------
    names
        Among ``l2, h1, nrmse, vrmse, crmse, brmse, frmse, max_error``; all of them by default.
    """

    def __init__(self, names: Sequence[str] = tuple(METRICS)) -> None:
        super().__init__()
        for name in names:
            if name not in METRICS:
                raise InvalidInput("metrics", name, "the name of a metric", choices=METRICS)
        self.metrics = nn.ModuleDict({name: METRICS[name]() for name in names})
        self.rollout = RolloutError()
        self.calibration = Calibration()
        self.everywhere, self.unanswered = MeanLoss(), MeanLoss()
        self.points = PointErrors()
        self.components = ComponentErrors()

    def update(
        self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes, variance: Tensor | None = None
    ) -> None:
        """Take a batch in: ``(batch, channels, *grid.shape)`` in physical units, any floating dtype.

        On meshes (nodes, channels); ``h1``, ``vrmse`` and ``frmse`` are then left out. Trajectories are
        ``(batch, steps, channels, *grid.shape)``, on meshes (nodes, steps, channels): every state is then a
        channel of its own, and there are the metrics of `RolloutError` too. Where the model gives a variance,
        of the shape of the prediction, there are those of `Calibration`.
        """
        if variance is not None:
            share = grid.weight if isinstance(grid, MeshNodes) else None
            self.calibration.update(prediction, variance, target, share)
        prediction, target = prediction.detach().double(), target.double()
        if prediction.ndim == (grid.dim + 3 if isinstance(grid, Grid) else 3):
            self.rollout.update(prediction, target, grid)
            prediction, target = held(prediction).flatten(1, 2), target.flatten(1, 2)
        for name, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            if not (isinstance(grid, MeshNodes) and name in GRID_ONLY):
                metric.update(prediction, target, grid)

    def update_everywhere(self, errors: Tensor, unanswered: Tensor) -> None:
        """Take in errors (batch,) of last states at all nodes that have an answer: ``l2_last_everywhere``.

        And what shares (batch,) of the nodes have none: ``unanswered``.
        """
        self.everywhere.update(errors.mean(), len(errors))
        self.unanswered.update(unanswered.mean(), len(unanswered))

    def update_points(
        self, residual: Tensor, conditions: Mapping[str, Tensor], values: Tensor, exact: Tensor | None
    ) -> None:
        """Take in what `PointErrors` takes: what is left of a statement at points."""
        self.points.update(residual, conditions, values, exact)

    def update_components(self, names: Sequence[str], values: Tensor, exact: Tensor) -> None:
        """Take in what `ComponentErrors` takes: solutions of several unknowns."""
        self.components.update(names, values, exact)

    def compute(self) -> dict[str, Tensor]:
        """Every metric, by name; ``frmse`` gives ``frmse_low``, ``frmse_mid`` and ``frmse_high``.

        With several processes all of them have to call this. A metric that no sample could add to
        (``brmse`` on a periodic box, ``h1`` on meshes) is left out. Spectra are in ``curves``.
        """
        values: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            assert isinstance(metric, Metric)
            if not metric.update_called or getattr(metric, "count", 1) == 0:
                continue
            result = metric.compute()
            if isinstance(result, dict):
                values |= {f"{name}_{band}": v for band, v in result.items() if v.ndim == 0}
            else:
                values[name] = result
        return values | {name: value for name, value in self._others().items() if value.ndim == 0}

    def _others(self) -> dict[str, Tensor]:
        """What trajectories, variances and queries add."""
        found: dict[str, Tensor] = {}
        for metric in (self.rollout, self.calibration, self.points, self.components):
            if metric.update_called:
                found |= metric.compute()
        if self.everywhere.update_called:
            found["l2_last_everywhere"] = self.everywhere.compute()
            found["unanswered"] = self.unanswered.compute()
        return found

    def curves(self) -> dict[str, Tensor]:
        """Mean energy by wavenumber, ``spectrum_error`` and ``spectrum_truth``, empty without ``frmse``.

        Of trajectories also ``rollout_l2`` and ``rollout_drift``, by step; of models that give a variance
        ``coverage``, by the level of `Calibration`.
        """
        found = self._others()
        for metric in self._each():
            if isinstance(metric, SpectralError) and metric.update_called:
                found |= metric.compute()
        return {name: value for name, value in found.items() if value.ndim == 1}

    def reset(self) -> None:
        """Forget all samples."""
        others = (self.rollout, self.calibration, self.points, self.components)
        for metric in (*self._each(), *others, self.everywhere, self.unanswered):
            metric.reset()

    def _each(self) -> list[Metric]:
        return [metric for metric in self.metrics.values() if isinstance(metric, Metric)]
