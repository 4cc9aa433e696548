"""The report of a run: one self-contained HTML page, one picture, one plain-text table."""

from pdeflow.report.metrics_table import metrics_table
from pdeflow.report.page import write_report
from pdeflow.report.trust import trust_lines

__all__ = ["metrics_table", "trust_lines", "write_report"]
