"""Floor 4: a recipe becomes a data set, chain by chain, in shards that survive any kill."""

from pdeflow.generate.engine import GenerationReport, generate
from pdeflow.generate.recipe import Recipe

__all__ = ["GenerationReport", "Recipe", "generate"]
