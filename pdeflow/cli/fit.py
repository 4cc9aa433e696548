"""``pdeflow fit``: train a surrogate from a config, or go on with a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pdeflow.cli import run_folder
from pdeflow.cli.failure import Interrupted, UsageError
from pdeflow.cli.own_options import Parser, take
from pdeflow.cli.quick_imports import quick_imports
from pdeflow.cli.run_folder import RunFolder
from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    from pdeflow.cli.training_cli import TrainingCLI

OPTIONS = {
    "--run": "name (in runs/) or folder of the run; default runs/<name of the config>",
    "--resume": "run to go on with, from its last checkpoint and with its config; other options override it",
    "--allow": "prefix of class names that the config may use besides pdeflow's own (may be repeated)",
    "--traceback": "show where an error came from",
}
DESCRIPTION = (
    "Train a surrogate.  Start: pdeflow fit -c configs/darcy_fno.yaml.  "
    "Change one value: --trainer.max_epochs=100, --model.width=64.  "
    "See what would run: --print_config.  The arguments of one class: --model.help FNO."
)


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow fit --help``."""
    own = Parser("pdeflow fit", add_help=False)
    own.add_argument("--run")
    own.add_argument("--resume")
    given, rest = take(arguments, own)
    if not arguments:
        raise UsageError(
            "command", "pdeflow fit", "a config or a run", "Run: pdeflow fit -c configs/darcy_fno.yaml"
        )
    resumed = RunFolder.open(given.resume) if given.resume else None
    if resumed:
        if given.config or given.run:
            raise UsageError(
                "--resume", given.resume, "no -c and no --run beside it", "The run has its own config."
            )
        rest = ["--config", str(resumed.config), *rest]
    with quick_imports():
        from pdeflow.cli.training_cli import TrainingCLI
        from pdeflow.training.callbacks import default_callbacks
    from pdeflow.cli.quiet import quiet

    quiet()
    cli = TrainingCLI("fit", rest, given.allow, OPTIONS, DESCRIPTION)
    checkpoint = _checkpoint(cli, resumed) if resumed else None
    cli.build()
    if cli.config.trainer.fast_dev_run:
        cli.build_trainer([], logger=False)
        _train(cli, None, None)
        _say(
            cli, "fast_dev_run: the config works. Nothing was saved; train with the same command without it."
        )
        return 0
    name = given.run or (given.config[-1].stem if given.config else "run")
    folder, free = (resumed, True) if resumed else RunFolder.claim(name)
    try:
        if not free:
            _say(cli, f"{name} exists already, so this run is {folder}.")
        _describe(cli, folder, resumed is not None)
        cli.build_trainer(default_callbacks(folder.path), **_places(cli, folder))
        if cli.trainer.is_global_zero:
            cli.save_config(folder.config)
        _train(cli, folder, str(checkpoint) if checkpoint else None)
    finally:
        os.environ.pop(run_folder.SHARED, None)
        folder.discard_if_empty()
    _finish(cli, folder)
    return 0


def _checkpoint(cli: TrainingCLI, folder: RunFolder) -> Any:
    """The last checkpoint, once it is known to be readable and to leave something to train."""
    from pdeflow.training.checkpoint_io import load_checkpoint

    path = folder.checkpoint("last")
    progress = load_checkpoint(path).get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    done, wanted = progress.get("current", {}).get("processed", 0), cli.config.trainer.max_epochs
    if wanted is not None and 0 <= wanted <= done:
        raise InvalidInput(
            "trainer.max_epochs",
            wanted,
            f"more than the {done} epochs that {folder} has done",
            f"Run: pdeflow fit --resume {folder} --trainer.max_epochs={2 * done}",
        )
    return path


def _places(cli: TrainingCLI, folder: RunFolder) -> dict[str, Any]:
    """Where the trainer writes: into the run folder, unless the config names a logger of its own or none."""
    places: dict[str, Any] = {"default_root_dir": str(folder.path)}
    if cli.config.trainer.logger in (None, True):
        from lightning.pytorch.loggers import TensorBoardLogger

        places["logger"] = TensorBoardLogger(str(folder.path), name="tensorboard", version="")
    return places


def _train(cli: TrainingCLI, folder: RunFolder | None, checkpoint: str | None) -> None:
    try:
        cli.trainer.fit(cli.task, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
    except SystemExit:
        # Lightning turns Ctrl-C into exit(1), having saved and closed what it could.
        if not cli.trainer.interrupted:
            raise
        raise Interrupted(_interrupted(folder)) from None


def _interrupted(folder: RunFolder | None) -> str:
    if folder is None or not folder.last.is_file():
        return "interrupted before the first checkpoint: nothing to resume, run the same command again."
    return f"interrupted. What was trained is kept.\nGo on with: pdeflow fit --resume {folder}"


def _say(cli: TrainingCLI, text: str) -> None:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    if rank_zero_only.rank == 0:
        print(text, flush=True)


def _describe(cli: TrainingCLI, folder: RunFolder, resumed: bool) -> None:
    from pdeflow.operators.operator import parameter_count

    model = cli.task.model
    start = "going on with" if resumed else "into"
    _say(cli, f"Training {type(model).__name__} ({parameter_count(model):,} parameters) {start} {folder}")


def _finish(cli: TrainingCLI, folder: RunFolder) -> None:
    shown = {
        key: f"{float(value):.4g}"
        for key, value in sorted(cli.trainer.callback_metrics.items())
        if key.startswith("valid/")
    }
    # The loss is most often one of the metrics under another name.
    loss = shown.pop("valid/loss", None)
    if loss is not None and loss not in shown.values():
        shown["valid/loss"] = loss
    epochs = cli.trainer.current_epoch
    lines = [
        f"Trained {epochs} epoch{'s' * (epochs != 1)}. {', '.join(map(' '.join, shown.items()))}".rstrip(),
        f"  config       {folder.config}",
    ]
    if saved := [path.stem for path in (folder.best, folder.last) if path.is_file()]:
        names = saved[0] if len(saved) == 1 else f"{{{','.join(saved)}}}"
        lines.append(f"  checkpoints  {folder.checkpoints}/{names}.ckpt")
    if (folder.path / "surrogate").is_dir():
        lines.append(f"  surrogate    {folder.path}/surrogate    (in Python: pdeflow.load({str(folder)!r}))")
    lines.append(f"  curves       tensorboard --logdir {folder}")
    lines.append(f"Next: pdeflow test {folder}")
    _say(cli, "\n".join(lines))
