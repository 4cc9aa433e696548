"""``pdeflow validate RUN``: the metrics of a run on its validation split."""

from __future__ import annotations

from collections.abc import Sequence

from pdeflow.cli.evaluate import build_trainer, prepare

DESCRIPTION = "Metrics of a trained run on its validation split.  Start: pdeflow validate runs/darcy_fno."


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow validate --help``."""
    cli, folder, checkpoint = prepare("validate", arguments, DESCRIPTION)
    assert folder is not None
    build_trainer(cli, folder, [])
    metrics = cli.trainer.validate(
        cli.task, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False
    )[0]
    which = f"checkpoint {checkpoint}" if checkpoint else f"{cli.config.ensemble} members"
    print(f"{folder}, {which}, validation split:")
    for name, value in sorted(metrics.items()):
        print(f"  {name.removeprefix('valid/'):<12}{float(value):.4g}")
    return 0
