"""Optimisers of second order, which see the residuals one by one."""

from pdeflow.training.optimisers.least_squares import LeastSquares, ResidualOptimiser
from pdeflow.training.optimisers.levenberg_marquardt import LevenbergMarquardt

__all__ = ["LeastSquares", "LevenbergMarquardt", "ResidualOptimiser"]
