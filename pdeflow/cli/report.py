"""``pdeflow report RUN``: write the report of a run again from what its folder holds."""

from __future__ import annotations

from collections.abc import Sequence

from pdeflow.cli.own_options import Parser
from pdeflow.cli.run_folder import RunFolder


def parser() -> Parser:
    """The verb's command line."""
    made = Parser(
        "pdeflow report", description="Write RUN/report.html and RUN/report.png from what the run recorded."
    )
    made.add_argument("run", metavar="RUN", help="folder of a run, or its name in runs/")
    return made


def run(arguments: Sequence[str]) -> int:
    """Run the verb; see ``pdeflow report --help``."""
    given = parser().parse_args(list(arguments))
    folder = RunFolder.open(given.run)
    from pdeflow.report import metrics_table, trust_lines, write_report

    page = write_report(folder.path)
    if folder.metrics.is_file():
        print(metrics_table(folder.path))
    if told := trust_lines(folder.path):
        print(told)
    print(f"Report   {page}    (open it in a browser)")
    return 0
