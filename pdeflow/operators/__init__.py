"""Maps between functions, learned from samples. neuraloperator is wrapped here and nowhere else."""

from pdeflow.operators.fno import FNO
from pdeflow.operators.mgno import MgNO
from pdeflow.operators.operator import Operator
from pdeflow.operators.tfno import TFNO

__all__ = ["FNO", "TFNO", "MgNO", "Operator"]
