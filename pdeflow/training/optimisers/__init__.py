"""Optimisers beyond those of torch: quasi-Newton and Gauss-Newton methods, and schedules of optimisers."""

from pdeflow.training.optimisers.least_squares import LeastSquares, ResidualOptimiser
from pdeflow.training.optimisers.levenberg_marquardt import LevenbergMarquardt
from pdeflow.training.optimisers.natural_gradient import EnergyNaturalGradient
from pdeflow.training.optimisers.quasi_newton import QuasiNewton
from pdeflow.training.optimisers.restarted_lbfgs import RestartedLBFGS
from pdeflow.training.optimisers.ssbroyden import SSBroyden
from pdeflow.training.optimisers.stages import Stage, Stages

__all__ = [
    "EnergyNaturalGradient",
    "LeastSquares",
    "LevenbergMarquardt",
    "QuasiNewton",
    "ResidualOptimiser",
    "RestartedLBFGS",
    "SSBroyden",
    "Stage",
    "Stages",
]
