"""``pdeflow fit``: train a surrogate from a config, or go on with a run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pdeflow.atomic_file import write_json
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
TRAINED = "trained"
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
        from pdeflow.cli import ensemble
        from pdeflow.cli.training_cli import TrainingCLI
        from pdeflow.training.callbacks import default_callbacks
    from pdeflow.cli.quiet import quiet

    quiet()
    cli = TrainingCLI("fit", rest, given.allow, OPTIONS, DESCRIPTION)
    members = cli.config.ensemble
    starts = _starts(cli, resumed) if resumed else [None] * members
    cli.build()
    if cli.config.trainer.fast_dev_run:
        cli.build_trainer([], logger=False)
        _train(cli, None, None)
        _say("fast_dev_run: the config works. Nothing was saved; train with the same command without it.")
        return 0
    name = given.run or (given.config[-1].stem if given.config else "run")
    folder, free = (resumed, True) if resumed else RunFolder.claim(name)
    try:
        if not free:
            _say(f"{name} exists already, so this run is {folder}.")
        _describe(cli, folder, resumed is not None)
        for number, (part, start) in enumerate(zip(folder.members(members), starts)):
            if start == TRAINED:
                continue
            if members > 1:
                ensemble.begin_member(cli, number)
            cli.build_trainer(default_callbacks(part.path), **_places(cli, part))
            if cli.trainer.is_global_zero:
                cli.save_config(folder.config)
                part.ended.unlink(missing_ok=True)
            _train(cli, folder, start)
            if members > 1 and cli.trainer.is_global_zero:
                write_json(part.ended, _limits(cli))
            _say(f"Member {number + 1} of {members}: {_measured(cli)}" if members > 1 else _measured(cli))
        if members > 1 and _is_first_process():
            ensemble.join(folder, members)
    finally:
        os.environ.pop(run_folder.SHARED, None)
        folder.discard_if_empty()
    _finish(folder, members, given.allow)
    return 0


def _starts(cli: TrainingCLI, folder: RunFolder) -> list[str | None]:
    """For every member its last checkpoint, TRAINED, or, where its training has not begun, nothing."""
    parts, wanted = folder.members(cli.config.ensemble), cli.config.trainer.max_epochs or -1
    if len(parts) == 1:
        return [str(_checkpoint(cli, folder))]
    begun = [part.last.is_file() for part in parts]
    spent = [known and 0 <= wanted <= _epochs(part.last) for part, known in zip(parts, begun)]
    # A callback may end a member before its last epoch: it is trained, unless it is given other limits.
    ended = [known and _ended_by(part) == _limits(cli) for part, known in zip(parts, begun)]
    trained = [any(both) for both in zip(spent, ended)]
    if all(trained) and (folder.path / "surrogate" / "surrogate.json").is_file():
        if all(spent):
            _checkpoint(cli, parts[0])
        trained = spent  # asked once more, all of them go on, as a single model does
    return [
        TRAINED if done else str(part.checkpoint("last")) if known else None
        for part, known, done in zip(parts, begun, trained)
    ]


def _limits(cli: TrainingCLI) -> dict[str, str]:
    """What ends a training at the latest."""
    return {key: str(cli.config.trainer[key]) for key in ("max_epochs", "max_steps", "max_time")}


def _ended_by(member: RunFolder) -> dict[str, str] | None:
    """The limits under which the training of a member has ended, if it has."""
    return json.loads(member.ended.read_text(encoding="utf-8")) if member.ended.is_file() else None


def _epochs(path: Path) -> int:
    """How many epochs a checkpoint has behind it."""
    from pdeflow.training.checkpoint_io import load_checkpoint

    progress = load_checkpoint(path).get("loops", {}).get("fit_loop", {}).get("epoch_progress", {})
    return progress.get("current", {}).get("processed", 0)


def _checkpoint(cli: TrainingCLI, folder: RunFolder) -> Path:
    """The last checkpoint, once it is known to be readable and to leave something to train."""
    path, run = folder.checkpoint("last"), folder.ensemble or folder
    done, wanted = _epochs(path), cli.config.trainer.max_epochs
    if wanted is not None and 0 <= wanted <= done:
        raise InvalidInput(
            "trainer.max_epochs",
            wanted,
            f"more than the {done} epochs that {run} has done",
            f"Run: pdeflow fit --resume {run} --trainer.max_epochs={2 * done}",
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
    if folder is None or not any(folder.path.rglob("last.ckpt")):
        return "interrupted before the first checkpoint: nothing to resume, run the same command again."
    return f"interrupted. What was trained is kept.\nGo on with: pdeflow fit --resume {folder}"


def _is_first_process() -> bool:
    from lightning.pytorch.utilities.rank_zero import rank_zero_only

    return rank_zero_only.rank == 0


def _say(text: str) -> None:
    if _is_first_process():
        print(text, flush=True)


def _describe(cli: TrainingCLI, folder: RunFolder, resumed: bool) -> None:
    from pdeflow.operators.operator import parameter_count

    model = cli.task.model
    start = "going on with" if resumed else "into"
    name = cli.config.model.class_path.rpartition(".")[2]
    members = f"{cli.config.ensemble} times " if cli.config.ensemble > 1 else ""
    _say(f"Training {members}{name} ({parameter_count(model):,} parameters) {start} {folder}")


def _measured(cli: TrainingCLI) -> str:
    """How long was trained, and the last validation."""
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
    wanted = loss is not None and cli.task.objective.satisfied(
        float(cli.trainer.callback_metrics["valid/loss"])
    )
    told = ", when the residual was as small as is wanted" if wanted else ""
    measured = ", ".join(map(" ".join, shown.items())) or "There was no validation."
    trainer, length = cli.trainer, f"{epochs} epoch{'s' * (epochs != 1)}"
    if not trainer.is_last_batch and 0 < trainer.max_steps <= trainer.global_step:
        length = f"{trainer.global_step} step{'s' * (trainer.global_step != 1)}"
    return f"Trained {length}{told}. {measured}"


def _finish(folder: RunFolder, members: int, allowed: Sequence[str]) -> None:
    lines = [f"  config       {folder.config}"]
    if members > 1:
        lines.append(f"  members      {folder}/members/{{1..{members}}}/checkpoints")
    if saved := [path.stem for path in (folder.best, folder.last) if path.is_file()]:
        names = saved[0] if len(saved) == 1 else f"{{{','.join(saved)}}}"
        lines.append(f"  checkpoints  {folder.checkpoints}/{names}.ckpt")
    if (folder.path / "surrogate").is_dir():
        lines.append(f"  surrogate    {folder.path}/surrogate    (in Python: pdeflow.load({str(folder)!r}))")
    lines.append(f"  curves       tensorboard --logdir {folder}")
    lines.append(" ".join([f"Next: pdeflow test {folder}", *(f"--allow {name}" for name in allowed)]))
    _say("\n".join(lines))
