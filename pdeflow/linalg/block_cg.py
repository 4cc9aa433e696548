"""The conjugate gradient method for several right-hand sides on one matrix, as one block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.expanded import ExpandedOperator
from pdeflow.linalg.lockstep import RUNNING, Iterate, Prepared, ShortRecurrence, begin, mark, norm
from pdeflow.linalg.operator import LinearOperator, Tag, column, double_precision
from pdeflow.linalg.solution import Status


@dataclass
class BlockIterate(Iterate):
    """Blocks of k rows: ``p``, ``w`` = A p, ``q`` and ``z`` = M q; and S, ``(k, k)``, with R = S q."""

    p: Tensor
    q: Tensor
    z: Tensor
    w: Tensor
    S: Tensor


@dataclass(frozen=True)
class BlockCG(ShortRecurrence):
    """Block conjugate gradients for one Hermitian positive definite matrix with k right-hand sides.

    All k residuals feed one Krylov space, in which every system finds its own best x. So the count of
    iterations falls with k, most where few eigenvalues far below the others make CG slow; a step costs k
    products with A and with M, and ``O(k^2 n)`` more.

    The residuals are kept as ``R = Q S`` with columns of Q that are orthonormal in the inner product of
    M, so that they may become dependent, or of very different size, without harm::

        Q S = R,  P = M Q                          (QR in the inner product of M)
        C = (P* A P)^-1;   X += P C S
        Q_new Z = Q - A P C;   S_new = Z S;   P_new = M Q_new + P Z*

    The factorisation goes through the eigenvalues of the Gram matrix of the scaled columns: directions
    whose eigenvalue is rounding become zero columns, which cost nothing but their products, and no other
    column notices. A system that has ended keeps its x, and its residual goes on to serve the others. All
    else is as in :class:`~pdeflow.linalg.cg.CG`, except that a breakdown in the block ends all its systems.

    A is of batch 1, as in ``solve(A, b)`` with one matrix and k right-hand sides, which are not cut into
    pieces. ``iterations`` counts steps of the block.

    References: D. P. O'Leary, "The block conjugate gradient algorithm and related methods", Linear Algebra
    Appl. 29 (1980); A. A. Dubrulle, "Retooling the method of block conjugate gradients", Electron. Trans.
    Numer. Anal. 12 (2001).

    Parameters
    ----------
    check_every
        As for :class:`~pdeflow.linalg.cg.CG`.

    Raises
    ------
    InvalidInput
        If A is a batch of different operators, or not tagged ``SYMMETRIC``.
    """

    requires: ClassVar[frozenset[Tag]] = frozenset({Tag.SYMMETRIC})
    couples: ClassVar[bool] = True

    def check(self, A: LinearOperator) -> None:
        """Raise InvalidInput unless A is one Hermitian operator."""
        super().check(A)
        if A.batch > 1 and not isinstance(A, ExpandedOperator):
            hint = "Use CG() for different operators, or solve with A.pieces(1)[i]."
            raise InvalidInput("A.batch", A.batch, "1: one operator for all right-hand sides", hint)

    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> BlockIterate:
        """The first residuals and the block they span."""
        first = begin(state, b, x0, rtol, atol)
        flat = first.r.flatten(1)
        p, q, z, w = (torch.zeros_like(flat) for _ in range(4))
        s = BlockIterate(**vars(first), p=p, q=q, z=z, w=w, S=flat.new_zeros((len(flat), len(flat))))
        self.restart(state, s, s.status == RUNNING)
        return s

    def restart(self, state: Any, s: Any, again: Tensor) -> None:
        """A new block from the residuals of the systems that run."""
        r = torch.where(column(again, s.r), s.r, torch.zeros_like(s.r)).flatten(1)
        s.S, s.q, s.z = self._factor(state, s, r, passes=2)
        s.p = s.z.clone()

    def step(self, state: Any, s: Any) -> None:
        """One step of the block; nothing is read by the host."""
        state.A.apply_into(s.p.view_as(s.x), s.w.view_as(s.x))
        C = self._inverse(s, gram(s.p, s.w))
        running = s.status == RUNNING
        s.iterations += running
        step = torch.where(running[:, None], s.S @ C, 0.0)
        s.x.add_((step @ s.p).view_as(s.x))
        Z, s.q, s.z = self._factor(state, s, torch.addmm(s.q, C, s.w, alpha=-1), passes=1)
        s.S = s.S @ Z
        s.p = torch.addmm(s.z, Z.mH, s.p)
        lengths = norm(s.S) if state.M is None else norm(s.S @ s.q)
        running = s.status == RUNNING
        s.norm = torch.where(running, lengths, s.norm)
        s.status = mark(s.status, running & ~torch.isfinite(lengths), Status.BREAKDOWN)
        s.status = mark(s.status, (s.status == RUNNING) & (lengths <= s.target), Status.CONVERGED)

    def _factor(
        self, state: Prepared, s: BlockIterate, r: Tensor, passes: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``r = Z q`` with rows of q that are orthonormal in the inner product of M or zero; Z, q, M q."""
        z = r if state.M is None else state.M.apply(r.view_as(s.x)).flatten(1)
        total: Tensor | None = None
        # A second pass removes what rounding left in the first: for residuals that come as they like.
        for _ in range(passes):
            G = gram(r, z)
            self._judge(s, ~torch.isfinite(G).all(), Status.BREAKDOWN)
            size = torch.diagonal(G).real.abs().sqrt()
            scale = torch.where(size > 0, size, 1.0)
            G = _finite(G / (scale[:, None] * scale))
            values, vectors = torch.linalg.eigh(0.5 * (G + G.mH))
            # What an M of lower precision rounds shows in how far from Hermitian the matrix is.
            rounding = torch.finfo(r.dtype).eps + (G - G.mH).abs().amax()
            floor = 10 * len(r) * rounding
            self._judge(s, (values < -floor).any(), Status.INDEFINITE_PRECONDITIONER)
            keep = values > floor
            root = torch.where(keep, values, 1.0).sqrt()
            forward = torch.where(keep, vectors * scale[:, None] * root, 0.0)
            back = torch.where(keep, vectors / scale[:, None] / root, 0.0)
            # In columns q = r D^-1 V L^-1/2; a block of rows is the transpose of one of columns.
            q, z = (back.mT.to(r.dtype) @ block for block in (r, z))
            Z = forward.conj().to(r.dtype)
            total = Z if total is None else total @ Z
            r = q
        assert total is not None
        return total, r, r if state.M is None else z

    def _inverse(self, s: BlockIterate, H: Tensor) -> Tensor:
        """``C`` for blocks of rows: the transpose of the inverse of ``P* A P``, 1 for directions of zero."""
        self._judge(s, ~torch.isfinite(H).all(), Status.BREAKDOWN)
        H = _finite(H)
        size = torch.diagonal(H).real
        unused = size == 0
        self._judge(s, (size < 0).any(), Status.INDEFINITE_OPERATOR)
        scale = torch.where(size > 0, size, 1.0).rsqrt().to(H.dtype)
        H = H * scale[:, None] * scale + torch.diag(unused.to(H.dtype))
        factor, failed = torch.linalg.cholesky_ex(0.5 * (H + H.mH))
        self._judge(s, failed > 0, Status.INDEFINITE_OPERATOR)
        inverse = torch.cholesky_inverse(
            torch.where(failed > 0, torch.eye(len(H), dtype=H.dtype, device=H.device), factor)
        )
        return (inverse * scale[:, None] * scale).mT.to(s.p.dtype)

    def _judge(self, s: BlockIterate, failed: Tensor, status: Status) -> None:
        """A failure of the block is one of every system that runs."""
        s.status = mark(s.status, (s.status == RUNNING) & failed, status)

    def suspects(self, s: Any) -> tuple[Tensor, ...]:
        """The directions."""
        return (s.p.view_as(s.x),)


def gram(u: Tensor, v: Tensor) -> Tensor:
    """All inner products ``u_i* v_j`` of two blocks of rows, in double precision."""
    products = u.conj() @ v.mT
    return products.to(double_precision(products.dtype))


def _finite(matrix: Tensor) -> Tensor:
    """The matrix, or the identity in place of one with NaN or infinity, which LAPACK would choke on."""
    identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
    return torch.where(torch.isfinite(matrix).all(), matrix, identity)
