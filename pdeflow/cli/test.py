"""``pdeflow test RUN``: metrics at every test resolution, the report, and a table."""

from __future__ import annotations

from collections.abc import Sequence

from pdeflow.cli.evaluate import build_trainer, prepare

DESCRIPTION = (
    "Metrics of a trained run at every test resolution, written to RUN/test, with RUN/report.html.  "
    "Start: pdeflow test runs/darcy_fno.  Other resolutions: --data.test_resolutions=[33,65].  "
    "Other files: --data.test_paths=[other.h5]."
)


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow test --help``."""
    cli, folder, checkpoint = prepare("test", arguments, DESCRIPTION)
    assert folder is not None
    from pdeflow.training import PhysicsInformed
    from pdeflow.training.callbacks import FieldResults, SpectralRefiner, TestResults

    results = FieldResults if isinstance(cli.task.objective, PhysicsInformed) else TestResults
    build_trainer(cli, folder, [results(folder.path)])
    cli.trainer.test(
        cli.task, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True, verbose=False
    )
    if not cli.trainer.is_global_zero:
        return 0
    from pdeflow.report import metrics_table, trust_lines, write_report
    from pdeflow.report.run_folder import read_run

    page = write_report(folder.path)
    print(metrics_table(folder.path))
    if told := trust_lines(folder.path):
        print(told)
    if told := read_run(folder.path).unfinished:
        print(f"{told}\nGo on with: pdeflow fit --resume {folder}")
    print(f"Metrics  {folder.metrics}\nReport   {page}    (open it in a browser)")
    for callback in cli.trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(callback, SpectralRefiner):
            failed = sum("failure" in row for row in callback.rows)
            told = f"    ({failed} of {len(callback.rows)} failed)" if failed else ""
            print(f"Refined  {folder.path / 'refined.json'}{told}")
    return 0
