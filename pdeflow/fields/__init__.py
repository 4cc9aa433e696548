"""Fields: networks that are one solution, with their derivatives."""

from pdeflow.fields.autograd_field import AutogradField
from pdeflow.fields.field import Field
from pdeflow.fields.fourier_features import FourierFeatures
from pdeflow.fields.gaussians import Gaussians
from pdeflow.fields.hard_conditions import HardConditions
from pdeflow.fields.joined_fields import JoinedFields
from pdeflow.fields.lagrangian import Lagrangian
from pdeflow.fields.mlp import MLP
from pdeflow.fields.pirate_net import PirateNet
from pdeflow.fields.separable import Separable
from pdeflow.fields.subdomains import Subdomains
from pdeflow.fields.time_windows import TimeWindows

__all__ = [
    "MLP",
    "AutogradField",
    "Field",
    "FourierFeatures",
    "Gaussians",
    "HardConditions",
    "JoinedFields",
    "Lagrangian",
    "PirateNet",
    "Separable",
    "Subdomains",
    "TimeWindows",
]
