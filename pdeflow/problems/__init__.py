"""Floor 2: equations stated once, their parameters' distributions, and their discretisation."""

from pdeflow.problems.advected_step import AdvectedStep
from pdeflow.problems.advection import Advection
from pdeflow.problems.allen_cahn import AllenCahn
from pdeflow.problems.along_characteristics import AlongCharacteristics
from pdeflow.problems.ball import Ball
from pdeflow.problems.burgers import Burgers
from pdeflow.problems.burgers_fronts import BurgersFronts
from pdeflow.problems.calculus import (
    D,
    atan,
    cos,
    cosh,
    erf,
    exp,
    i_times,
    inverse_laplacian,
    log,
    relu,
    sin,
    sinh,
    sqrt,
    step,
    tan,
    tanh,
)
from pdeflow.problems.cell_evolution import CellEvolution
from pdeflow.problems.coefficient import Coefficient
from pdeflow.problems.complex_helmholtz import ComplexHelmholtz
from pdeflow.problems.conditions import Dirichlet, Neumann, Robin
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.convected_sine import ConvectedSine
from pdeflow.problems.convection_diffusion import ConvectionDiffusion
from pdeflow.problems.cosine_allen_cahn import CosineAllenCahn
from pdeflow.problems.cylinder import Cylinder
from pdeflow.problems.darcy import Darcy
from pdeflow.problems.disc import Disc
from pdeflow.problems.discretise import NotLinear, System, discretise
from pdeflow.problems.distributions import Choice, Constant, Distribution, LogUniform, Uniform
from pdeflow.problems.domain import Box, Domain
from pdeflow.problems.elastic_conditions import Displacement, Traction
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.finite_volumes import CellTrajectory
from pdeflow.problems.fisher import Fisher
from pdeflow.problems.flow_mixing import FlowMixing
from pdeflow.problems.gaussian_bumps import GaussianBumps
from pdeflow.problems.gray_scott import GrayScott
from pdeflow.problems.grid_function import evaluate
from pdeflow.problems.heat import Heat
from pdeflow.problems.heat_conduction import HeatConduction
from pdeflow.problems.heated_rod import HeatedRod
from pdeflow.problems.helmholtz import Helmholtz
from pdeflow.problems.hyperbolic_system import HyperbolicSystem
from pdeflow.problems.impedance_helmholtz import ImpedanceHelmholtz
from pdeflow.problems.initial import Initial
from pdeflow.problems.interface import Interface
from pdeflow.problems.inviscid_burgers import InviscidBurgers
from pdeflow.problems.klein_gordon import KleinGordon
from pdeflow.problems.korteweg_de_vries import KortewegDeVries
from pdeflow.problems.kovasznay_flow import KovasznayFlow
from pdeflow.problems.kuramoto_sivashinsky import KuramotoSivashinsky
from pdeflow.problems.l_shaped_poisson import LShapedPoisson
from pdeflow.problems.layered_conduction import LayeredConduction
from pdeflow.problems.manufactured import Manufactured, manufacture
from pdeflow.problems.mesh_problem import MeshProblem, MeshSystem
from pdeflow.problems.method_of_lines import MethodOfLines
from pdeflow.problems.navier_stokes import NavierStokes
from pdeflow.problems.newton import NonlinearSolution, newton
from pdeflow.problems.nonlinear_poisson import NonlinearPoisson
from pdeflow.problems.observed import Observed
from pdeflow.problems.observed_burgers import ObservedBurgers
from pdeflow.problems.observed_darcy import ObservedDarcy
from pdeflow.problems.p_laplace import PLaplace
from pdeflow.problems.parabolic_equation import ParabolicEquation
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.parametric_family import ParametricFamily
from pdeflow.problems.plane_wave import PlaneWave
from pdeflow.problems.poisson import Poisson
from pdeflow.problems.poisson_with_holes import PoissonWithHoles
from pdeflow.problems.polygon import Polygon, RandomPolygon
from pdeflow.problems.polygon_diffusion import PolygonDiffusion
from pdeflow.problems.polygon_elasticity import PolygonElasticity
from pdeflow.problems.polygon_mesh import triangulate
from pdeflow.problems.porous_medium import PorousMedium
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import GaussianField, LogNormalField, ThresholdedField
from pdeflow.problems.rosenbrock import ImplicitTrajectory
from pdeflow.problems.shallow_water import ShallowWater
from pdeflow.problems.sine_burgers import SineBurgers
from pdeflow.problems.sine_helmholtz import SineHelmholtz
from pdeflow.problems.sine_poisson import SinePoisson
from pdeflow.problems.sine_waves import SineWaves
from pdeflow.problems.spreading_bumps import SpreadingBumps
from pdeflow.problems.stefan import Stefan
from pdeflow.problems.thresholded_bumps import ThresholdedBumps
from pdeflow.problems.trajectory import Trajectory

__all__ = [
    "AdvectedStep",
    "Advection",
    "AllenCahn",
    "AlongCharacteristics",
    "Ball",
    "Box",
    "Burgers",
    "BurgersFronts",
    "CellEvolution",
    "CellTrajectory",
    "Choice",
    "Coefficient",
    "ComplexHelmholtz",
    "ConservationLaw",
    "Constant",
    "ConvectedSine",
    "ConvectionDiffusion",
    "CosineAllenCahn",
    "Cylinder",
    "D",
    "Darcy",
    "Dirichlet",
    "Disc",
    "Displacement",
    "Distribution",
    "Domain",
    "Evolution",
    "Fisher",
    "FlowMixing",
    "GaussianBumps",
    "GaussianField",
    "GrayScott",
    "Heat",
    "HeatConduction",
    "HeatedRod",
    "Helmholtz",
    "HyperbolicSystem",
    "ImpedanceHelmholtz",
    "ImplicitTrajectory",
    "Initial",
    "Interface",
    "InviscidBurgers",
    "KleinGordon",
    "KortewegDeVries",
    "KovasznayFlow",
    "KuramotoSivashinsky",
    "LShapedPoisson",
    "LayeredConduction",
    "LogNormalField",
    "LogUniform",
    "Manufactured",
    "MeshProblem",
    "MeshSystem",
    "MethodOfLines",
    "NavierStokes",
    "Neumann",
    "NonlinearPoisson",
    "NonlinearSolution",
    "NotLinear",
    "Observed",
    "ObservedBurgers",
    "ObservedDarcy",
    "PLaplace",
    "ParabolicEquation",
    "Parameter",
    "ParametricFamily",
    "PlaneWave",
    "Poisson",
    "PoissonWithHoles",
    "Polygon",
    "PolygonDiffusion",
    "PolygonElasticity",
    "PorousMedium",
    "Problem",
    "RandomPolygon",
    "Robin",
    "ShallowWater",
    "SineBurgers",
    "SineHelmholtz",
    "SinePoisson",
    "SineWaves",
    "SpreadingBumps",
    "Stefan",
    "System",
    "ThresholdedBumps",
    "ThresholdedField",
    "Traction",
    "Trajectory",
    "Uniform",
    "atan",
    "cos",
    "cosh",
    "discretise",
    "erf",
    "evaluate",
    "exp",
    "i_times",
    "inverse_laplacian",
    "log",
    "manufacture",
    "newton",
    "relu",
    "sin",
    "sinh",
    "sqrt",
    "step",
    "tan",
    "tanh",
    "triangulate",
]
