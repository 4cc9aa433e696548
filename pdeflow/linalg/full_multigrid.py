"""Nested iteration, the full multigrid method, for a first guess."""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.expanded import broadcast
from pdeflow.linalg.multigrid import Multigrid, MultigridCycle
from pdeflow.linalg.null_space import without_mean
from pdeflow.linalg.operator import LinearOperator, Tag, check_vector, magnitude
from pdeflow.linalg.stencil import StencilOperator


@torch.no_grad()
def full_multigrid(A: LinearOperator, b: Tensor, multigrid: Multigrid | None = None) -> Tensor:
    """An approximate solution of ``A x = b`` by one pass of full multigrid, to be the ``x0`` of a solve::

        x0 = full_multigrid(A, b)
        solution = solve(A, b, preconditioner=Multigrid(), x0=x0)

    b is restricted to every grid of the hierarchy, the coarsest system is solved, and from there on upwards
    the solution of a grid is interpolated to the next and improved by one cycle. The work is that of a few
    cycles on the finest grid. Where b is smooth, every cycle has only to remove what the next finer grid
    adds, and the error comes down to about that of the discretisation, whatever the number of points, as long
    as the spacings along the axes are alike; where it is not, as for random numbers at all points, the guess
    is worth about one cycle.

    It is a guess and not a preconditioner, because the pass is not symmetric. Nothing is differentiated
    through it, as nothing is through the iterations of ``solve``.

    References: A. Brandt, "Multi-level adaptive solutions to boundary-value problems", Math. Comp. 31 (1977);
    W. L. Briggs, V. E. Henson, S. F. McCormick, *A Multigrid Tutorial*, 2nd ed., SIAM 2000, chapter 3.

    Parameters
    ----------
    A
        A stencil that ``multigrid`` takes; of batch 1 it serves any number of right-hand sides.
    b
        Right-hand sides, ``(batch, *shape)``, in A's dtype and device.
    multigrid
        The hierarchy and the cycle, by default ``Multigrid("W", dtype=None)``. W, because a cycle has to
        divide smooth errors by more than the four of a refinement, which V cycles do not do on every number
        of points (of the discretisation error they leave 13 times on 512 x 512, and 1 time on 1023 x 1023, W
        cycles 1 time on both); A's dtype, because float32 can be seen beside that error from 512 x 512 on.

    Returns
    -------
    Tensor
        x0, like b. Where A is tagged ``CONSTANT_NULL_SPACE`` its mean is zero; where A or b are not finite,
        neither is x0, in that system alone.

    Raises
    ------
    InvalidInput
        If b does not fit A, or A is not an operator for multigrid.
    """
    if not isinstance(A, StencilOperator):
        raise InvalidInput("A", type(A).__name__, "a StencilOperator", "Only a grid has coarser ones.")
    check_vector("b", b, broadcast(A, b))
    multigrid = Multigrid("W", dtype=None) if multigrid is None else multigrid
    # On a CPU a system stays in the cache while it is worked on: each has its turn in the memory of one, and
    # the levels of an A that all share are built once. Elsewhere the batch goes through at once.
    host, shared = A.device.type == "cpu", A.batch != b.shape[0]
    if shared and not host:
        A = A.with_parameter(A.coefficients.expand(b.shape[0], *A.coefficients.shape[1:]))
    M = multigrid.init(A, in_turn=host and not shared)
    x = torch.empty_like(b, memory_format=torch.contiguous_format)
    if not b.shape[0]:  # split() gives one part of nothing, which the cycle of a shared A would read beyond
        return x
    for part, into in zip(b.split(A.batch), x.split(A.batch)):
        into.copy_(_pass(M, part))
    return x


def _pass(M: MultigridCycle, b: Tensor) -> Tensor:
    # The cycle may have a shorter range of numbers than b.
    largest = magnitude(b)
    scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0)
    scale = scale.reshape(-1, *(1,) * len(M.shape)).to(b.dtype)
    if Tag.CONSTANT_NULL_SPACE in M.tags:
        return scale * without_mean(M.nested_iteration(without_mean(b / scale)))
    return scale * M.nested_iteration(b / scale)
