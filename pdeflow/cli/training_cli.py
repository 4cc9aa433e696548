"""LightningCLI as pdeflow's configs need it: model, objective, data, optimizer, lr_scheduler, trainer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentError, Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, ReduceLROnPlateau
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pdeflow.atomic_file import write_bytes
from pdeflow.cli import allowlist
from pdeflow.cli.failure import UsageError
from pdeflow.cli.field_settings import (
    check_field,
    check_objective,
    check_problem,
    fit_to_domain,
    with_problem,
)
from pdeflow.cli.progress import progress_callbacks
from pdeflow.cli.quiet import quiet
from pdeflow.cli.rewrite import instantiate, made_of_operators, usage_error
from pdeflow.data.datamodule import GridData
from pdeflow.data.mesh_data import MeshData
from pdeflow.data.sparse_trajectory_data import SparseTrajectoryData
from pdeflow.data.trajectory_data import TrajectoryData
from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators import GraphOperator, MeanVariance, Operator
from pdeflow.operators.periodicity import check_file_periodicity, check_periodicity
from pdeflow.problems import Problem
from pdeflow.training import (
    Collocation,
    GaussianNLL,
    Objective,
    Residual,
    Rollout,
    Schedule,
    StepperResidual,
    Supervised,
    TrainingTask,
)
from pdeflow.training.checkpoint_io import SafeCheckpointIO
from pdeflow.training.messages import warn
from pdeflow.training.spectral_refiner import spectral_layers

SEED = 0
FLAGS = ("--traceback",)
GRAPHS = (MeshData, SparseTrajectoryData)
"""What gives graphs."""
AN_AXIS_EACH = ("modes", "mesh", "sensors")
"""Arguments of operators on grids with a number for each axis."""
OptimizerFactory = Callable[[Iterable], Optimizer]
SchedulerFactory = Schedule | Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] | None

TRAINER_DEFAULTS: dict[str, Any] = {
    "max_epochs": 50,
    "log_every_n_steps": 10,
    # The first line that `fit` prints says what the summary table would.
    "enable_model_summary": False,
    # A broken validation step shows at the end of the first epoch, which is soon enough on a grid.
    "num_sanity_val_steps": 0,
}


class TrainingCLI(LightningCLI):
    """Parses a training config and builds the datamodule, the `TrainingTask` and the trainer from it.

    The constructor builds and runs nothing: `build` and `build_trainer` do, once the run folder is known.

    Parameters
    ----------
    verb
        The verb being run, for messages.
    arguments
        Command-line arguments with configs already resolved to files.
    allow
        Prefixes of class names that the command line allows beyond the usual ones.
    options
        Help of the verb's own options (name -> text), shown by ``--help`` only: they are taken off the
        command line before the parser sees it, so that a config cannot set them.
    """

    def __init__(
        self, verb: str, arguments: list[str], allow: list[str], options: dict[str, str], description: str
    ) -> None:
        self.verb, self.arguments, self.options = verb, arguments, options
        usage = f"pdeflow {verb} {'-c CONFIG' if verb == 'fit' else 'RUN'} [--KEY=VALUE ...]"
        allowlist.apply(allow)  # here, because importing lightning.pytorch.cli changes the parsing settings
        super().__init__(
            args=arguments,
            run=False,
            save_config_callback=None,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=SEED,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            parser_kwargs={
                "prog": f"pdeflow {verb}",
                "usage": usage,
                "description": description,
                "exit_on_error": False,
                "allow_abbrev": False,
                "dump_header": None,
            },
        )

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The keys of a config, instead of Lightning's ``model`` and ``data``."""
        if "--help" in self.arguments or "-h" in self.arguments:
            group = parser.add_argument_group("pdeflow's own options (not keys of a config)")
            for name, text in self.options.items():
                flag = {"action": "store_true"} if name in FLAGS else {"metavar": name.strip("-").upper()}
                group.add_argument(name, help=text, **flag)  # pyright: ignore[reportArgumentType]
        parser.add_subclass_arguments(
            Problem, "problem", required=False, help="the statement that objective and data are given"
        )
        parser.add_subclass_arguments(
            Operator, "model", required=True, help="the operator or field, e.g. FNO, GNO, MLP"
        )
        parser.add_subclass_arguments(Objective, "objective", help="what is minimised, e.g. Supervised")
        parser.set_defaults({"objective": {"class_path": "pdeflow.training.Supervised"}})
        parser.add_subclass_arguments(
            LightningDataModule, "data", required=True, help="the data, e.g. GridData"
        )
        parser.add_argument("--optimizer", type=OptimizerFactory, help="any of torch.optim, e.g. AdamW")
        parser.set_defaults({"optimizer": {"class_path": "torch.optim.AdamW"}})
        parser.add_argument(
            "--lr_scheduler",
            type=SchedulerFactory,
            default=None,
            help="OneCycle or Cosine over the whole run, or any of torch's, stepped every epoch",
        )
        parser.add_argument(
            "--ensemble",
            type=PositiveInt,
            default=1,
            help="train so many members, one after the other, each from a seed of its own",
        )
        parser.add_argument(
            "--compile", type=bool, default=False, help="compile the model by torch.compile (in fit)"
        )
        parser.add_lightning_class_args(self.trainer_class, "trainer")
        parser.set_defaults({f"trainer.{key}": value for key, value in self.trainer_defaults.items()})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse twice: those values that the user gave, which tells a default from a choice, and all.

        Where the user names a class, the defaults are its own: jsonargparse would keep those of the class
        that is the default where both have an argument of the name, and AdamW's weight decay is not nothing.
        """
        try:
            asked = [argument for argument in args if not argument.startswith("--print_config")]
            self.given = parser.parse_args(asked, defaults=False)
            for key in ("objective", "optimizer"):
                chosen = (self.given.get(key) or Namespace()).get("class_path")
                if chosen is not None:
                    parser.set_defaults({key: {"class_path": chosen}})
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            raise usage_error(str(error), parser, self.verb) from error

    def instantiate_classes(self) -> None:
        """Nothing yet: see `build`."""

    def build(self) -> None:
        """Build the datamodule, fit the model's channels to it, and build the task (both on the CPU)."""
        self._check_accelerator()
        if refused := made_of_operators(self.config.model.class_path):
            raise refused
        self.datamodule = instantiate(self.parser, Namespace(data=with_problem(self.config, "data"))).data
        check_problem(self.config)
        self.build_task()
        if isinstance(self.task.model, Field) and self.config.trainer.precision is None:
            # Derivatives of second order lose half the digits.
            self.config.trainer.precision = "64-true"
        if self.verb == "fit":
            # Check the settings, the data, and that it fills a batch, now: before a run folder is made.
            self._check_length()
            self._check_ensemble()
            self._check_refiner()
            self._check_optimizer()
            if isinstance(self.datamodule, GridData):
                check_periodicity(self.task.model, self.datamodule.wraps)
                self.check_files(self.datamodule.path)
            self.datamodule.setup("fit")
            self.datamodule.train_dataloader()
            if isinstance(self.datamodule, GRAPHS):
                self.datamodule.probe(self.task.model)  # pyright: ignore[reportArgumentType]
            else:
                self.task.model.check((1, self.datamodule.in_channels, *self.datamodule.grid.shape))
                self._compare_mesh()

    def build_task(self) -> None:
        """Build the model, with weights drawn from the generators as they are, and the task around it."""
        objective = instantiate(
            self.parser, Namespace(objective=with_problem(self.config, "objective"))
        ).objective
        self._check_objective(objective)
        has_variance = isinstance(objective, GaussianNLL)
        self._check_axes()
        self._fit_model_to_data(2 if has_variance else 1)
        keys = ("model", "optimizer", "lr_scheduler")
        parts = instantiate(self.parser, Namespace({key: self.config[key] for key in keys}))
        self._check_model(parts.model)
        self.task = TrainingTask(
            model=MeanVariance(parts.model) if has_variance else parts.model,
            objective=objective,
            optimizer=parts.optimizer,
            lr_scheduler=parts.lr_scheduler,
            compile=self.config.compile,
        )

    def build_trainer(self, callbacks: list, **overrides: Any) -> None:
        """Build the trainer.

        ``overrides`` win over the config; a callback of the config over one of ``callbacks`` of its class.
        """
        config = {**instantiate(self.parser, Namespace(trainer=self.config.trainer)).trainer, **overrides}
        chosen = config.get("callbacks") or []
        chosen = list(chosen) if isinstance(chosen, (list, tuple)) else [chosen]
        if not any(isinstance(callback, ProgressBar) for callback in chosen):
            shown, settings = progress_callbacks(config)
            callbacks, config = [*callbacks, *shown], {**config, **settings}
        kinds = {type(callback) for callback in chosen}
        config["plugins"] = [*(config.get("plugins") or []), SafeCheckpointIO()]
        config["callbacks"] = chosen + [new for new in callbacks if type(new) not in kinds]
        quiet()  # again: packages imported since, tensorly among them, put their own filters in front
        try:
            self.trainer = self.trainer_class(**config)
        except (ValueError, TypeError, MisconfigurationException) as error:
            given = (self.given.get("trainer") or Namespace()).as_dict()
            why = str(error).strip().splitlines()[0]
            raise UsageError(
                "trainer", given, "settings that Lightning's Trainer takes together", why
            ) from error

    def save_config(self, path: Path) -> None:
        """Write the whole config, defaults included, to ``path`` (through a partial file)."""
        keep = self.config.clone()
        keep.pop("config", None)
        write_bytes(path, self.parser.dump(keep, skip_none=False, skip_validation=True).encode())

    def _check_accelerator(self) -> None:
        asked = self.config.trainer.accelerator
        names = ("auto", "cpu", "gpu", "cuda", "mps", "tpu")
        if isinstance(asked, str) and asked not in names:
            raise InvalidInput("trainer.accelerator", asked, "the name of an accelerator", choices=names)
        here = ["cpu"] + ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available()
        if (asked in ("cuda", "mps") and asked not in here) or (asked == "gpu" and here == ["cpu"]):
            raise InvalidInput(
                "trainer.accelerator",
                asked,
                f"one that this machine has: {', '.join(here)}",
                "Leave the key out (or give --trainer.accelerator=auto), or run: pdeflow doctor",
            )

    def _check_length(self) -> None:
        for key in ("max_epochs", "max_steps"):
            if self.config.trainer[key] == 0:
                raise InvalidInput(
                    f"trainer.{key}",
                    0,
                    "at least 1, or -1 for no limit",
                    "To see whether a config works: --trainer.fast_dev_run=true",
                )

    def _refines(self) -> bool:
        """Whether the config has a SpectralRefiner."""
        chosen = self.config.trainer.callbacks or []
        chosen = chosen if isinstance(chosen, list) else [chosen]
        return any(one.class_path.rpartition(".")[2] == "SpectralRefiner" for one in chosen)

    def _check_ensemble(self) -> None:
        if self.config.ensemble > 1 and self._refines():
            expected = "1, for the SpectralRefiner refines a single operator"
            raise InvalidInput("ensemble", self.config.ensemble, expected, "Leave one of them out.")

    def _check_objective(self, objective: Objective) -> None:
        """Refuse an objective of trajectories for data that are pairs, and the other way round.

        And a loss that needs a grid, for data that are on nodes.
        """
        name, data = type(objective).__name__, type(self.datamodule).__name__
        check_objective(objective, self.datamodule)
        if isinstance(self.datamodule, MeshData):
            if isinstance(objective, (Residual, Rollout, StepperResidual)):
                raise InvalidInput("objective", name, f"Supervised, for {data} gives pairs on meshes")
        elif isinstance(self.datamodule, TrajectoryData):
            on_nodes = isinstance(self.datamodule, SparseTrajectoryData)
            given = name if self.given.get("objective") else None
            hint = "Add --objective=Rollout."
            if self.verb != "fit":
                hint = f"An older run can be asked all the same: pdeflow {self.verb} RUN --objective=Rollout"
            if on_nodes and isinstance(objective, StepperResidual):
                raise InvalidInput("objective", name, f"Rollout, for {data} gives nodes and no grid", hint)
            if isinstance(objective, (GaussianNLL, Residual, Supervised)):
                raise InvalidInput("objective", given, "Rollout, for the data are trajectories", hint)
        elif type(self.datamodule) is GridData and isinstance(objective, (Rollout, StepperResidual)):
            expected = f"Supervised, for {data} gives pairs"
            raise InvalidInput("objective", name, expected, "Use TrajectoryData for trajectories.")
        if isinstance(self.datamodule, GRAPHS) and isinstance(objective, (Rollout, Supervised)):
            # What needs a grid says so itself when it is asked.
            u, shares, none = torch.ones(2, 1), torch.full((2,), 0.5), torch.zeros(2, dtype=torch.int64)
            objective.loss(u, u, MeshNodes(none, shares, none, samples=1))

    def check_files(self, trained_on: Path) -> None:
        """Refuse files of validation and test whose axes end otherwise than the operator takes.

        Those that it was trained on, a file or all in a folder, are taken: it is as good on them as it is.
        """
        for reader in self.datamodule.held_out_files:
            if not reader.path.is_relative_to(trained_on):
                check_file_periodicity(self.task.model, reader.wraps, reader.path)

    def _check_refiner(self) -> None:
        """Refuse a SpectralRefiner that has nothing to refine."""
        if not self._refines():
            return
        spectral_layers(self.task.model)
        if type(self.datamodule) is GridData:
            expected = "TrajectoryData, for the SpectralRefiner refines trajectories"
            raise InvalidInput("data", "GridData", expected)

    def _check_optimizer(self) -> None:
        """Make the optimiser once: torch checks its numbers only then."""
        try:
            self.task.make_optimizer(self.task.model.parameters())
        except (ValueError, TypeError) as error:
            name = self.config.optimizer.class_path.rpartition(".")[2]
            given = ((self.given.get("optimizer") or Namespace()).get("init_args") or Namespace()).as_dict()
            raise InvalidInput(
                "optimizer",
                given,
                f"arguments that {name} takes ({error})",
                f"Run: pdeflow fit --optimizer.help {name}",
            ) from error

    def _check_axes(self) -> None:
        """Refuse data of another number of axes than the operator, before anything else about them."""
        if not isinstance(self.datamodule, GridData):
            return
        if not self.config.model.class_path.startswith("pdeflow.operators."):
            return
        arguments, dim = self.config.model.init_args, self.datamodule.dim
        for key in AN_AXIS_EACH:
            if isinstance(value := arguments.get(key), list) and len(value) != dim:
                raise self._wrong_axes(key)

    def _wrong_axes(self, key: str) -> InvalidInput:
        dim, path = self.datamodule.dim, getattr(self.datamodule, "path", None)
        axes = f"{dim} ax{'e' if dim > 1 else 'i'}s"
        hint = f"Give data with other axes, or {key} with {dim} number{'s' * (dim > 1)}, one for each axis."
        return InvalidInput(
            f"model.init_args.{key}",
            self.config.model.init_args.get(key),
            f"a model of {axes}, as many as the data have" + f" ({path})" * (path is not None),
            hint if key in AN_AXIS_EACH else "",
        )

    def _compare_mesh(self) -> None:
        """Warn where an operator is told of another grid than that of the training data."""
        mesh, points = self.config.model.init_args.get("mesh"), list(self.datamodule.grid.points)
        if isinstance(mesh, list) and mesh != points:
            name, wanted = self.config.model.class_path.rpartition(".")[2], ",".join(map(str, points))
            warn(
                f"model.init_args.mesh is {mesh}, but the grid of the training data is {points}, and {name} "
                f"is made for that of its mesh. To train it for this one: --model.init_args.mesh=[{wanted}]"
            )

    def _fit_model_to_data(self, outputs: int) -> None:
        """Give the model the data's channels where the config says nothing; refuse a contradiction.

        ``outputs`` is how many channels of the model a target takes.
        """
        channels_out = outputs * self.datamodule.out_channels
        wanted = {"in_channels": self.datamodule.in_channels, "out_channels": channels_out}
        if isinstance(self.datamodule, Collocation):
            fit_to_domain(self.config, self.given, self.datamodule)
        names = {"in_channels": "inputs", "out_channels": "targets"}
        if isinstance(self.datamodule, TrajectoryData):
            names = {"in_channels": "fields, history and constants", "out_channels": "fields"}
        arguments = self.config.model.init_args
        given = (self.given.get("model") or Namespace()).get("init_args") or Namespace()
        for key, channels in wanted.items():
            if key not in arguments:
                continue
            if key in given and given[key] != channels:
                raise InvalidInput(
                    f"model.init_args.{key}",
                    given[key],
                    f"{channels}, the channels of data.init_args.{names[key]}"
                    + ", each a mean and a variance" * (key == "out_channels" and outputs == 2),
                    f"Leave {key} out: it then follows the data.",
                )
            arguments[key] = channels

    def _check_model(self, model: Operator) -> None:
        check_field(model, self.datamodule, self.config)
        on_meshes = isinstance(self.datamodule, GRAPHS)
        if isinstance(model, GraphOperator) != on_meshes:
            where, examples = ("meshes", "GNO or GINO") if on_meshes else ("grids", "FNO or TFNO")
            raise InvalidInput(
                "model.class_path",
                type(model).__name__,
                f"an operator on {where}, as {type(self.datamodule).__name__} gives them",
                f"Take one such as {examples}, or other data.",
            )
        if model.dim != self.datamodule.dim:
            parameters = inspect.signature(type(model).__init__).parameters
            raise self._wrong_axes(
                next((name for name in (*AN_AXIS_EACH, "dim") if name in parameters), "class_path")
            )
