"""Floor 2: equations stated once, their parameters' distributions, and their discretisation."""

from pdeflow.problems.advection import Advection
from pdeflow.problems.allen_cahn import AllenCahn
from pdeflow.problems.burgers import Burgers
from pdeflow.problems.calculus import D, cos, cosh, exp, log, sin, sinh, sqrt, tan, tanh
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.convection_diffusion import ConvectionDiffusion
from pdeflow.problems.darcy import Darcy
from pdeflow.problems.discretise import System, discretise
from pdeflow.problems.distributions import Choice, Constant, Distribution, LogUniform, Uniform
from pdeflow.problems.domain import Box
from pdeflow.problems.etdrk4 import Trajectory
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.grid_function import evaluate
from pdeflow.problems.heat import Heat
from pdeflow.problems.helmholtz import Helmholtz
from pdeflow.problems.korteweg_de_vries import KortewegDeVries
from pdeflow.problems.kuramoto_sivashinsky import KuramotoSivashinsky
from pdeflow.problems.manufactured import Manufactured, manufacture
from pdeflow.problems.mesh_problem import MeshProblem, MeshSystem
from pdeflow.problems.poisson import Poisson
from pdeflow.problems.polygon import Polygon, RandomPolygon
from pdeflow.problems.polygon_diffusion import PolygonDiffusion
from pdeflow.problems.polygon_elasticity import PolygonElasticity
from pdeflow.problems.polygon_mesh import triangulate
from pdeflow.problems.problem import Parameter, Problem
from pdeflow.problems.random_fields import GaussianField, LogNormalField, ThresholdedField

__all__ = [
    "Advection",
    "AllenCahn",
    "Box",
    "Burgers",
    "Choice",
    "Constant",
    "ConvectionDiffusion",
    "D",
    "Darcy",
    "Dirichlet",
    "Distribution",
    "Evolution",
    "GaussianField",
    "Heat",
    "Helmholtz",
    "KortewegDeVries",
    "KuramotoSivashinsky",
    "LogNormalField",
    "LogUniform",
    "Manufactured",
    "MeshProblem",
    "MeshSystem",
    "Parameter",
    "Poisson",
    "Polygon",
    "PolygonDiffusion",
    "PolygonElasticity",
    "Problem",
    "RandomPolygon",
    "System",
    "ThresholdedField",
    "Trajectory",
    "Uniform",
    "cos",
    "cosh",
    "discretise",
    "evaluate",
    "exp",
    "log",
    "manufacture",
    "sin",
    "sinh",
    "sqrt",
    "tan",
    "tanh",
    "triangulate",
]
