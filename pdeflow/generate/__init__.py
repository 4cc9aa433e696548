"""Floor 4: a recipe becomes a data set, chain by chain, in shards that survive any kill."""

from pdeflow.generate.engine import GenerationReport, generate
from pdeflow.generate.estimate import Estimate, estimate
from pdeflow.generate.recipe import Recipe

__all__ = ["Estimate", "GenerationReport", "Recipe", "estimate", "generate"]
