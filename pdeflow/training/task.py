"""The one LightningModule: model, objective, optimiser, schedule and metrics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.operators.gaussian_operator import Gaussian, GaussianOperator
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.normaliser import Normaliser
from pdeflow.operators.operator import Operator
from pdeflow.operators.periodicity import check_periodicity
from pdeflow.training.batch_squares import BatchSquares
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.gradient_checks import check_gradients
from pdeflow.training.half_precision import check_precision
from pdeflow.training.last_layer import fit_last_layer
from pdeflow.training.messages import inform
from pdeflow.training.metrics import MeanLoss
from pdeflow.training.objective import Objective
from pdeflow.training.optimisers import ResidualOptimiser, Stages
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, VectorOptimiser
from pdeflow.training.physics_informed import INSIDE, PhysicsInformed
from pdeflow.training.schedules import Schedule
from pdeflow.training.sparse_march import errors_everywhere
from pdeflow.training.supervised import Supervised
from pdeflow.training.weight_decay import spare_from_decay

if TYPE_CHECKING:
    from torch_geometric.data import Data


class TrainingTask(lightning.LightningModule):
    """Trains an operator on batches ``{input, target, index, grid}``, as GridData, TrajectoryData and
    MeshData give them.

    ``prediction = decode(model(encode(input)))``: the model works with normalised numbers, while the
    loss, the metrics and the predictions are in physical units. The normalisation is kept in buffers
    and so travels in checkpoints.

    Logs ``train/loss``, ``valid/loss``, ``valid/l2``, ``valid/h1`` once an epoch and
    ``test/<name>/<metric>`` for every test set, named by the data module's ``test_names``.

    Parameters
    ----------
    model
        The operator.
    objective
        What is minimised; ``Supervised()`` where it is null.
    optimizer
        Makes the optimiser from the parameters; AdamW with torch's defaults if not given. Parameters of the
        objective do not decay.
    lr_scheduler
        A Schedule over the whole run, stepped with the optimiser, or what makes a torch scheduler from
        the optimiser, stepped every epoch (ReduceLROnPlateau watches ``valid/loss``).
    normalisation
        Statistics of the training samples; taken from the data module when training starts if not given.
    compile
        Compile the model by ``torch.compile`` when training starts, which takes some seconds to minutes.
        Weights and checkpoints stay as they are.
    """

    def __init__(
        self,
        model: Operator,
        objective: Objective | None = None,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer] = torch.optim.AdamW,
        lr_scheduler: Schedule | Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None = None,
        normalisation: Normalisation | None = None,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.objective = objective if objective is not None else Supervised()
        self.model = self.objective.constrain(model)
        self.compiled = compile
        self.make_optimizer = optimizer
        self.make_scheduler = lr_scheduler
        self.normalisation = normalisation
        self._fitting, self._first_of_batch = False, True
        self.normaliser = Normaliser(model.in_channels, model.out_channels)
        if normalisation is not None:
            self.normaliser.set(normalisation)
        self.train_loss = MeanLoss()
        self.valid_loss = MeanLoss()
        self.valid_evaluator = Evaluator(("l2", "h1"))
        self.test_evaluators = nn.ModuleDict()

    def forward(self, x: Tensor | Data) -> Tensor:
        """Physical values ``(batch, in_channels, *shape)`` to physical ``(batch, out_channels, *shape)``.

        A graph with the input at its nodes to (nodes, out_channels).
        """
        return self.normaliser.decode(self.model(self.normaliser.encode(x)))

    def distribution(self, x: Tensor | Data) -> Gaussian:
        """Mean and variance in physical units, of a `GaussianOperator`, of the shape that a call gives.

        Raises
        ------
        InvalidInput
            For an operator that gives no variance.
        """
        if not isinstance(self.model, GaussianOperator):
            expected = "MeanVariance(operator) or Ensemble(members), which give a variance"
            raise InvalidInput("model", type(self.model).__name__, expected)
        mean, variance = self.model.distribution(self.normaliser.encode(x))
        return Gaussian(self.normaliser.decode(mean), self.normaliser.decode_variance(variance))

    def predict(self, batch: dict[str, Any]) -> Tensor:
        """What is compared with ``batch["target"]``: see `Objective.predict`; the mean of a `Gaussian`."""
        return _mean(self.objective.predict(self, batch))

    def query(self, graph: Data, points: Tensor) -> Tensor:
        """Physical values at points (points, dim) of one mesh, of an operator on meshes."""
        assert isinstance(self.model, GraphOperator)
        return self.normaliser.decode(self.model.query(self.normaliser.encode(graph), points))

    def setup(self, stage: str) -> None:
        """Compare the operator with the grid of the data; take their normalisation where none was given."""
        self._fitting = stage == "fit"
        datamodule: Any = getattr(self.trainer, "datamodule", None)
        if self._fitting and hasattr(datamodule, "wraps"):
            check_periodicity(self.model, datamodule.wraps)
        check_precision(self.model, self.trainer.precision)
        # Before a checkpoint is restored, which would round its numbers of double precision to single.
        self.trainer.strategy.precision_plugin.convert_module(self)
        if self._fitting and self.compiled:
            # In place: a wrapped module would give its weights other names.
            self.model.compile()
        if self._fitting and self.normalisation is None:
            if not hasattr(datamodule, "normalisation"):
                raise InvalidInput(
                    "normalisation",
                    None,
                    "statistics of the training samples, or a data module that has them",
                    "Train with GridData or MeshData, or pass normalisation=Normalisation(...).",
                )
            self.normalisation = datamodule.normalisation
            self.normaliser.set(self.normalisation)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        loss = self.objective(self.objective.predict(self, batch), batch)
        if self._first_of_batch:  # an optimiser with a line search evaluates the batch again
            self.train_loss.update(loss, self.objective.counts(batch))
            self._first_of_batch = False
        if self.trainer.is_last_batch:
            self._log_train_loss()
        return loss

    def on_train_batch_end(self, outputs: Any, batch: dict[str, Any], batch_idx: int) -> None:
        """Log the loss of an epoch that ends here because there is no better step."""
        if self.trainer.should_stop and not self.trainer.is_last_batch:
            self._log_train_loss()

    def _log_train_loss(self) -> None:
        """Once an epoch: the trainer's bookkeeping would cost a small model a tenth of every step."""
        self.log("train/loss", self.train_loss, on_step=False, on_epoch=True, prog_bar=True)
        for name, value in self.objective.progress().items():
            self.log(f"train/{name}", value.float(), on_step=False, on_epoch=True, batch_size=1)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        """Take a batch into the validation metrics; gives the prediction."""
        prediction = self.objective.predict(self, batch)
        self.valid_loss.update(self.objective(prediction, batch), self.objective.counts(batch))
        if "target" in batch:
            self.valid_evaluator.update(_mean(prediction), batch["target"], batch["grid"])
        return _mean(prediction)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics, of all processes together."""
        values = {
            "loss": self.valid_loss.compute(),
            **self.valid_evaluator.compute(),
            **self.objective.found(),
        }
        self.valid_loss.reset()
        self.valid_evaluator.reset()
        if not self.trainer.sanity_checking and self.objective.satisfied(float(values["loss"])):
            self.trainer.should_stop = True
        for name, value in values.items():
            # Every process holds the same value by now; sync_dist only keeps Lightning from warning.
            shown = name != "loss" or self.objective.monitor == "valid/loss"
            self.log(f"valid/{name}", value, prog_bar=shown, sync_dist=True)

    def on_test_start(self) -> None:
        """One evaluator for each test set."""
        names = getattr(getattr(self.trainer, "datamodule", None), "test_names", None)
        if not names:
            loaders = self.trainer.num_test_batches
            names = ["test"] if len(loaders) == 1 else [f"test{i}" for i in range(len(loaders))]
        self.test_evaluators = nn.ModuleDict({name: Evaluator() for name in names}).to(self.device)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        """Take a batch into the metrics of its test set; gives the prediction.

        Of a field it gives its values and residuals where they are looked at, by name.
        """
        if isinstance(self.objective, PhysicsInformed):
            return self._test_field(self.objective, batch, dataloader_idx)
        variance = None
        if isinstance(self.model, GaussianOperator) and "state" not in batch:
            prediction, variance = self.distribution(batch["input"])
        else:
            prediction = self.predict(batch)
        evaluator = list(self.test_evaluators.values())[dataloader_idx]
        assert isinstance(evaluator, Evaluator)
        evaluator.update(prediction, batch["target"], batch["grid"], variance)
        if "everywhere" in batch:
            assert isinstance(self.model, GraphOperator)
            evaluator.update_everywhere(*errors_everywhere(self.model, self.query, prediction, batch))
        return prediction

    def _test_field(
        self, objective: PhysicsInformed, batch: dict[str, Any], number: int
    ) -> dict[str, Tensor]:
        """What is left of the statement at points, or on a grid; and the errors, where they are known."""
        assert isinstance(self.model, Field)
        evaluator = list(self.test_evaluators.values())[number]
        assert isinstance(evaluator, Evaluator)
        fields = objective.problem.fields
        if "points" in batch:
            points = batch["points"]
            values, residual = self.model.at(points[INSIDE]), objective.residual(self.model, points[INSIDE])
            conditions = objective.condition_residuals(self.model, points)
            evaluator.update_points(residual, conditions, values, batch.get("exact"))
            if len(fields) > 1 and "exact" in batch:
                evaluator.update_components(fields, values, batch["exact"])
            return {"prediction": values, "residual": residual}
        prediction = self(batch["input"])
        nodes = batch["input"].movedim(1, -1)
        residual = objective.residual(self.model, nodes.reshape(-1, self.model.dim))
        residual = residual.reshape(*nodes.shape[:-1], -1).movedim(-1, 1)
        if "target" in batch:
            evaluator.update(prediction, batch["target"], batch["grid"])
            if len(fields) > 1:
                evaluator.update_components(fields, prediction, batch["target"])
        return {"prediction": prediction, "residual": residual}

    def on_test_epoch_end(self) -> None:
        """Log the metrics of every test set; they stay in ``test_evaluators`` for callbacks."""
        for test_name, evaluator in self.test_evaluators.items():
            assert isinstance(evaluator, Evaluator)
            for name, value in evaluator.compute().items():
                self.log(f"test/{test_name}/{name}", value, sync_dist=True)

    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Tensor:
        """The prediction in physical units, ``(batch, out_channels, *shape)`` or (nodes, out_channels)."""
        return self.predict(batch)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimiser and, where there is one, the schedule."""
        optimizer = self.make_optimizer([*self.model.parameters(), *self.objective.parameters()])
        spare_from_decay(optimizer, self.objective.parameters())
        if self.make_scheduler is None:
            return optimizer
        if any("lr" not in group for group in optimizer.param_groups):
            expected = f"none, for {type(optimizer).__name__} has no learning rate"
            raise InvalidInput("lr_scheduler", str(self.make_scheduler), expected, "Leave the key out.")
        if isinstance(self.make_scheduler, Schedule):
            if self.trainer.max_epochs == -1 and self.trainer.max_steps == -1:
                raise InvalidInput(
                    "trainer.max_epochs",
                    self.trainer.max_epochs,
                    f"a number, because {type(self.make_scheduler).__name__} spans the run",
                    "Set trainer.max_epochs or trainer.max_steps.",
                )
            # Asked for later: the number makes the trainer set up its loaders, and loaders that are
            # set up before a checkpoint is restored are not told where in the epoch they stand.
            scheduler = {
                "scheduler": self.make_scheduler(optimizer, lambda: self.trainer.estimated_stepping_batches),
                "interval": "step",
            }
        else:
            scheduler = {
                "scheduler": self.make_scheduler(optimizer),
                "interval": "epoch",
                "monitor": "valid/loss",
            }
        return {"optimizer": optimizer, "lr_scheduler": scheduler}  # pyright: ignore[reportReturnType]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Check the trainer, and keep the batch for optimisers that see its residuals one by one.

        Before the first step a field that is linear in some of its parameters is given the best of these.
        """
        check_gradients(self.trainer, self.objective)
        objective, model = self.objective, self.model
        if self.global_step == 0 and isinstance(objective, PhysicsInformed) and isinstance(model, Field):
            fit_last_layer(objective, model, batch)
        self._batch, self._first_of_batch = batch, True
        self.objective.begin_step(self.model, self.global_step)

    def on_train_end(self) -> None:
        """Let the objective say what there is to know of the end."""
        if not self.trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            self.objective.ended(float(self.trainer.callback_metrics.get("valid/loss", math.nan)))

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """One step; a `ResidualOptimiser` is given the residuals of the batch.

        Training stops where the optimiser has ``stalled``, or its last stage is over. A model of the Hessian
        that was forgotten is told of.
        """
        inner = optimizer.optimizer if hasattr(optimizer, "optimizer") else optimizer
        current = inner.current if isinstance(inner, Stages) else inner
        before = getattr(current, "restarts", 0)
        if isinstance(current, ResidualOptimiser):
            squares = BatchSquares(self.objective, self.model, current.parameters, self._batch)
            optimizer.step(closure=optimizer_closure, least_squares=squares)
        else:
            optimizer.step(closure=optimizer_closure)
        if getattr(current, "restarts", 0) > before:
            name = type(current).__name__
            inform(f"{name} stalled in step {self.global_step} and starts again from the gradient.")
        if isinstance(inner, Stages):
            self._fit_schedules(inner, begun=inner.current is not current)
            self.trainer.should_stop = self.trainer.should_stop or inner.over
        if isinstance(current, VectorOptimiser) and getattr(inner, "stalled", False):
            done = self.global_step + 1  # this one is counted after it
            begun = self.objective.advance(done) if current.cause == NO_STEP else None
            if begun is not None:
                name = type(current).__name__
                inform(f"{name} {current.cause} in step {done}: {begun} begins.")
                current.stalled = False
                return
            self.trainer.should_stop = True
            rank_zero_warn(f"{type(current).__name__} {current.cause}: stopped.")

    def _fit_schedules(self, optimizer: Stages, begun: bool) -> None:
        """Let schedules move the groups of the current stage, which may be more or fewer than those before.

        Where it has just begun, those that multiply a rate at the start take that which it has now.
        """
        groups = optimizer.param_groups
        for config in self.trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            if begun and hasattr(schedule, "base_lrs"):
                schedule.base_lrs = [group["lr"] for group in groups]
            for name in ("lr_lambdas", "min_lrs"):  # one for each group, all alike
                if hasattr(schedule, name):
                    setattr(schedule, name, getattr(schedule, name)[:1] * len(groups))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the epoch has measured: its validation, or its running loss if it is not over.

        With the latter a run resumed in mid-epoch reports the loss of the whole epoch.
        """
        checkpoint["valid_metrics"] = {
            name: float(value)
            for name, value in self.trainer.callback_metrics.items()
            if name.startswith("valid/")
        }
        if not self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            checkpoint["train_loss"] = dict(self.train_loss.metric_state)

    def _compare_normalisation(self, state: dict[str, Tensor]) -> None:
        for name, buffer in self.normaliser.named_buffers():
            fitted, std = (
                torch.tensor(getattr(self.normalisation, key), dtype=buffer.dtype)
                for key in (name, name.replace("mean", "std"))
            )
            stored = state[f"normaliser.{name}"].cpu()
            # Another machine may sum in another order: round-off is no change of the data.
            if stored.shape != fitted.shape or not bool(
                ((stored - fitted).abs() <= 1e-6 * fitted.abs() + 1e-5 * std).all()
            ):
                raise InvalidInput(
                    f"normalisation.{name}",
                    tuple(fitted.tolist()),
                    f"{tuple(stored.tolist())}, which the weights of the checkpoint were trained with",
                    "The data have changed since the run began: start a new run, or put the old data back.",
                )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the running mean back; when fitting, see first that the data are still the same.

        Raises
        ------
        InvalidInput
            If the weights were trained with another normalisation than the one of today's data.
        """
        if self._fitting:
            self._compare_normalisation(checkpoint["state_dict"])
        for name, value in checkpoint.get("train_loss", {}).items():
            setattr(self.train_loss, name, value.to(self.device))


def _mean(prediction: Tensor | Gaussian) -> Tensor:
    return prediction.mean if isinstance(prediction, Gaussian) else prediction
