"""Maps between functions, learned from samples. neuraloperator is wrapped here and nowhere else."""

from pdeflow.operators.fno import FNO
from pdeflow.operators.gno import GNO
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.mgno import MgNO
from pdeflow.operators.mkgn import MKGN
from pdeflow.operators.operator import Operator
from pdeflow.operators.tfno import TFNO

__all__ = ["FNO", "GNO", "MKGN", "TFNO", "GraphOperator", "MgNO", "Operator"]
