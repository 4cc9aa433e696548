"""The training loop: one task, its objectives, losses, schedules, metrics and callbacks."""

from pdeflow.training.callbacks import Checkpoints, History, NonFiniteLoss, RandomState
from pdeflow.training.causal_weights import CausalWeights
from pdeflow.training.checkpoint_io import SafeCheckpointIO
from pdeflow.training.collocation import Collocation
from pdeflow.training.curriculum import Curriculum
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.gaussian_nll import GaussianNLL
from pdeflow.training.growing_time import GrowingTime
from pdeflow.training.learning_rate_annealing import LearningRateAnnealing
from pdeflow.training.losses import H1, L2, Loss, RelativeL2, Sobolev, Spectral
from pdeflow.training.ntk_weights import NTKWeights
from pdeflow.training.objective import Objective
from pdeflow.training.optimisers import (
    EnergyNaturalGradient,
    LevenbergMarquardt,
    RestartedLBFGS,
    SSBroyden,
    Stage,
    Stages,
)
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.relobralo import ReLoBRaLo
from pdeflow.training.residual import Residual
from pdeflow.training.residual_adaptive import R3, RAD, Redraw, Resampling
from pdeflow.training.rollout import Rollout
from pdeflow.training.schedules import Cosine, OneCycle, Schedule
from pdeflow.training.stepper_residual import StepperResidual
from pdeflow.training.supervised import Supervised
from pdeflow.training.task import TrainingTask
from pdeflow.training.time_marching import TimeMarching

__all__ = [
    "H1",
    "L2",
    "R3",
    "RAD",
    "CausalWeights",
    "Checkpoints",
    "Collocation",
    "Cosine",
    "Curriculum",
    "EnergyNaturalGradient",
    "Evaluator",
    "GaussianNLL",
    "GrowingTime",
    "History",
    "LearningRateAnnealing",
    "LevenbergMarquardt",
    "Loss",
    "NTKWeights",
    "NonFiniteLoss",
    "Objective",
    "OneCycle",
    "PhysicsInformed",
    "RandomState",
    "ReLoBRaLo",
    "Redraw",
    "RelativeL2",
    "Resampling",
    "Residual",
    "RestartedLBFGS",
    "Rollout",
    "SSBroyden",
    "SafeCheckpointIO",
    "Schedule",
    "Sobolev",
    "Spectral",
    "Stage",
    "Stages",
    "StepperResidual",
    "Supervised",
    "TimeMarching",
    "TrainingTask",
]
