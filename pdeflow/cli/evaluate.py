"""What ``test`` and ``validate`` share: a run's config, its checkpoint, a trainer that logs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from pdeflow.cli.failure import UsageError
from pdeflow.cli.own_options import Parser, take
from pdeflow.cli.quick_imports import quick_imports
from pdeflow.cli.run_folder import RunFolder

if TYPE_CHECKING:
    from pdeflow.cli.training_cli import TrainingCLI

OPTIONS = {
    "RUN": "first argument: the folder of a run, or its name in runs/",
    "--ckpt": "best (default; last where there was no validation), last, or a checkpoint file",
    "--allow": "prefix of class names that the config may use besides pdeflow's own (may be repeated)",
    "--traceback": "show where an error came from",
}


def prepare(
    verb: str, arguments: Sequence[str], description: str
) -> tuple[TrainingCLI, RunFolder | None, str | None]:
    """Parse ``RUN [options]`` and build everything but the trainer.

    Returns
    -------
    tuple
        The parsed command, the run's folder, and the checkpoint's path; of an ensemble the members have
        their weights already, and there is none.
    """
    own = Parser(f"pdeflow {verb}", add_help=False)
    own.add_argument("--ckpt")
    helping = bool({"-h", "--help"} & set(arguments))
    if not helping and (not arguments or arguments[0].startswith("-")):
        got = arguments[0] if arguments else "nothing"
        raise UsageError(
            "RUN", got, "the folder of a run as the first argument", f"Run: pdeflow {verb} runs/NAME"
        )
    given, rest = take(arguments if helping else arguments[1:], own)
    folder = checkpoint = None
    if not helping:
        folder = RunFolder.open(arguments[0])
        if not (folder.path / "members").is_dir():
            checkpoint = folder.checkpoint(given.ckpt or _usual([folder]))
        rest = ["--config", str(folder.config), *rest]
    with quick_imports():
        from pdeflow.cli.training_cli import TrainingCLI
    from pdeflow.cli.quiet import quiet

    quiet()
    cli = TrainingCLI(verb, rest, given.allow, OPTIONS, description)
    if folder and cli.config.ensemble > 1:
        paths = _member_checkpoints(cli, folder, given.ckpt)
        from pdeflow.cli.ensemble import assembled

        cli.build()
        _check_files(cli, folder)
        cli.task = assembled(cli, paths)
        return cli, folder, None
    if folder:
        from pdeflow.training.checkpoint_io import load_checkpoint

        checkpoint = checkpoint or folder.checkpoint(given.ckpt or _usual([folder]))
        load_checkpoint(checkpoint)  # refuses what is damaged or pickled, before any time is spent
    cli.build()
    if folder:
        _check_files(cli, folder)
    return cli, folder, str(checkpoint)


def _check_files(cli: TrainingCLI, folder: RunFolder) -> None:
    """Compare the ends of the axes of files that are not the run's own with those that it is trained for."""
    from pdeflow.data.datamodule import GridData

    if isinstance(cli.datamodule, GridData):
        arguments = yaml.safe_load(folder.config.read_text(encoding="utf-8"))["data"]["init_args"]
        cli.check_files(Path(arguments.get("path", cli.datamodule.path)))


def _usual(parts: list[RunFolder]) -> str:
    """The checkpoint where none is named: the best; the last, and it is said, where none was validated."""
    if any(part.best.is_file() or not part.last.is_file() or part.was_validated() for part in parts):
        return "best"
    run = parts[0].ensemble or parts[0]
    print(f"{run}: there was no validation, so there is no best checkpoint; the last is taken.")
    return "last"


def _member_checkpoints(cli: TrainingCLI, folder: RunFolder, which: str | None) -> list[Path]:
    """The best or the last checkpoint of every member."""
    parts = folder.members(cli.config.ensemble)
    which = which or _usual(parts)
    if which not in ("best", "last"):
        hint = f"To evaluate one member: --ensemble=1 --ckpt {folder}/members/1/checkpoints/best.ckpt"
        raise UsageError("--ckpt", which, "best or last, because the run is an ensemble", hint)
    return [part.checkpoint(which) for part in parts]


def build_trainer(cli: TrainingCLI, folder: RunFolder, callbacks: list) -> None:
    """A trainer that writes no logs and no checkpoints: evaluating leaves the training's records alone.

    Of the config's callbacks those of training are left out, which are all but the `SpectralRefiner`.
    """
    chosen = cli.config.trainer.callbacks or []
    chosen = chosen if isinstance(chosen, list) else [chosen]
    kept = [one for one in chosen if one.class_path.rpartition(".")[2] == "SpectralRefiner"]
    cli.config.trainer.callbacks = kept or None
    places = {"default_root_dir": str(folder.path)}
    cli.build_trainer(callbacks, logger=False, enable_checkpointing=False, **places)
