"""How much the symbol's preconditioner is worth: Poisson's equation in one dimension, 64 Fourier modes.

The finding of T. De Ryck, F. Bonnet, S. Mishra, E. de Bezenac, "An operator preconditioning perspective on
training in physics-informed machine learning", ICLR 2024.
"""

from __future__ import annotations

MODES = 64


def kappas() -> tuple[float, float]:
    """Condition numbers before and after preconditioning, each for the best weight of the conditions."""
    from pdeflow.fields import FourierFeatures
    from pdeflow.problems import SinePoisson
    from pdeflow.training import PhysicsInformed
    from pdeflow.training.condition_number import condition_number

    problem = SinePoisson(dim=1)
    field = FourierFeatures(problem.domain.lower, problem.domain.upper, modes=[MODES]).double()
    before = condition_number(problem, field).kappa
    PhysicsInformed(problem, hard=False, precondition=True).constrain(field)
    return before, condition_number(problem, field).kappa
