"""Fields: networks that are one solution, with their derivatives."""

from pdeflow.fields.field import Field
from pdeflow.fields.mlp import MLP

__all__ = ["MLP", "Field"]
