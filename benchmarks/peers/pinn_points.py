"""Points that peers are given, those of our config with the same seed, and where all are compared.

As many as ours has at any time, where ours has them at the start; peers keep them, while some of our configs
draw or choose others on the way. Where the form of our u meets the conditions, sides need no points and the
config has none: peers that learn values there get a tenth as many on each as there are inside.
"""

from __future__ import annotations

from typing import Any

import torch
import yaml
from torch import Tensor

import pdeflow.problems
from benchmarks.result import ROOT
from pdeflow.problems import Problem
from pdeflow.training import Collocation


def settings(config: str) -> dict[str, Any]:
    """A config that ships."""
    return yaml.safe_load((ROOT / "configs" / f"{config}.yaml").read_text())


def problem_of(config: str) -> Problem:
    """What it states."""
    stated = settings(config)["problem"]
    return getattr(pdeflow.problems, stated["class_path"])(**stated.get("init_args", {}))


def points_of(config: str, seed: int) -> dict[str, Tensor]:
    """Points (N, d), float64, by ``"inside"`` and the sides; of windows in time, as many in each."""
    told, problem = settings(config), problem_of(config)
    given = told["data"]["init_args"]
    inside = given["inside"] * told["model"]["init_args"].get("windows", 1)
    own = {key: given[key] for key in ("sampler", "on_sides") if key in given}
    data = Collocation(problem, **({"on_sides": inside // 10} | own), inside=inside, seed=seed)
    return {name: found[:, : data.dim] for name, found in data.points(0, inside).items()}


def tested_at(config: str) -> Tensor:
    """Nodes (N, d), float64, of the first test grid, on which ours is validated."""
    points = settings(config)["data"]["init_args"]["test_resolutions"][0]
    return torch.cartesian_prod(*problem_of(config).grid(points).coordinates())
