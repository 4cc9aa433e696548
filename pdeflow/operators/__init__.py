"""Maps between functions, learned from samples. neuraloperator is wrapped here and nowhere else."""

from pdeflow.operators.codano import CODANO
from pdeflow.operators.deeponet import DeepONet
from pdeflow.operators.ensemble import Ensemble
from pdeflow.operators.fno import FNO
from pdeflow.operators.gaussian_graph_operator import GaussianGraphOperator
from pdeflow.operators.gaussian_operator import Gaussian, GaussianOperator
from pdeflow.operators.gino import GINO
from pdeflow.operators.gno import GNO
from pdeflow.operators.graph_operator import GraphOperator
from pdeflow.operators.lno import LNO
from pdeflow.operators.local_no import LocalNO
from pdeflow.operators.mean_variance import MeanVariance
from pdeflow.operators.mgno import MgNO
from pdeflow.operators.mkgn import MKGN
from pdeflow.operators.multionet import MultiONet
from pdeflow.operators.operator import Operator
from pdeflow.operators.tfno import TFNO
from pdeflow.operators.unet import UNet
from pdeflow.operators.uno import UNO

__all__ = [
    "CODANO",
    "FNO",
    "GINO",
    "GNO",
    "LNO",
    "MKGN",
    "TFNO",
    "UNO",
    "DeepONet",
    "Ensemble",
    "Gaussian",
    "GaussianGraphOperator",
    "GaussianOperator",
    "GraphOperator",
    "LocalNO",
    "MeanVariance",
    "MgNO",
    "MultiONet",
    "Operator",
    "UNet",
]
