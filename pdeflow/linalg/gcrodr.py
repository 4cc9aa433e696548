"""GCRO-DR: GMRES that carries a deflation space from cycle to cycle and from system to system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.arnoldi import combine
from pdeflow.linalg.arnoldi_cycles import ArnoldiCycles, ArnoldiState, Stalls, kept_correction
from pdeflow.linalg.harmonic_ritz import harmonic_ritz
from pdeflow.linalg.lockstep import Prepared
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.orthonormal import orthonormal_images
from pdeflow.linalg.preconditioner import Preconditioner

# A space that is further from invariant than this, as the mean square of its cosines, is not carried on.
LEAST_COSINE = 0.8


@dataclass
class Space:
    """A space U with ``A U = C`` and orthonormal C, which stands in the first rows of the basis.

    A vector that was dropped is zero in U, before_M and C.

    Attributes
    ----------
    U
        ``(batch, recycle, size)``, in the space of x.
    before_M
        U as it was before the preconditioner, ``M^-1 U``: the same tensor without one, and approximate once M
        has changed.
    inner
        ``C* M^-1 U``, ``(batch, recycle, recycle)`` in double precision.
    alive
        ``(batch, recycle)`` bool: which vectors were not dropped.
    """

    U: Tensor
    before_M: Tensor
    inner: Tensor
    alive: Tensor


@dataclass
class RecyclingState(ArnoldiState):
    """Adds the space that is carried along, or None before there is one."""

    space: Space | None


@dataclass(frozen=True)
class GCRODR(ArnoldiCycles):
    """GCRO-DR(m, k) for sequences of any nonsingular systems, preconditioned from the right.

    The state holds k vectors U with ``A U = C``, C orthonormal. A cycle first takes from the residual its
    part in C, then builds m - k vectors of the Krylov space of ``(I - C C*) A M`` from the rest::

        A [U, Z] = [C, V] G,   Z = M V_(m-k),   G = [[I, B], [0, H]],   B = C* A Z
        y = argmin || r - [C, V] G y ||;   x += [U, Z] y

    and from that space it picks the next U: the k harmonic Ritz vectors of smallest ``|theta|``,
    ``G* G z = theta G* [C, V]* [M^-1 U, V_(m-k)] z``. These approximate the eigenvectors that slow GMRES
    down. The first cycle of the first system is one of GMRES(m).

    For the next system of a sequence, ``init(A, preconditioner, previous=state)`` computes A U for the new
    A and orthonormalises it; directions that depend on others are dropped. U is kept in the space of x,
    preconditioned, so that k products with A are all that a new system costs, whatever its preconditioner;
    this also makes the method flexible: M may change from step to step. A sample that failed
    hands nothing on; where the batch has another size, shape or dtype, the sequence starts afresh. So does a
    sample whose A is not tagged symmetric and turns the space far away, so that U means nothing to it:
    to project out such a C would spoil the convergence (a Hermitian operator stays Hermitian under it).

    Stopping and statuses are those of :class:`~pdeflow.linalg.gmres.GMRES`.

    References: M. L. Parks, E. de Sturler, G. Mackey, D. D. Johnson, S. Maiti, "Recycling Krylov subspaces
    for sequences of linear systems", SIAM J. Sci. Comput. 28 (2006); the flexible form:
    L. M. Carvalho, S. Gratton, R. Lago, X. Vasseur, "A flexible generalized conjugate residual method with
    inner orthogonalization and deflated restarting", SIAM J. Matrix Anal. Appl. 32 (2011).

    Parameters
    ----------
    restart
        m: vectors of a cycle, those of C included.
    recycle
        k: vectors that are carried along, less than m. A system takes memory for m + k + 1 vectors, and
        with a preconditioner for m + k more.
    dtype
        Of the cycles, as for GMRES.

    Raises
    ------
    InvalidInput
        Unless 1 <= recycle < restart, or for another dtype.
    """

    restart: int = 40
    recycle: int = 20
    dtype: torch.dtype | None = None

    patience: ClassVar[int] = 2  # a cycle that gains nothing may still find the vectors for the next

    def __post_init__(self) -> None:
        check_count("restart", self.restart)
        check_count("recycle", self.recycle)
        if self.recycle >= self.restart:
            raise InvalidInput("recycle", self.recycle, f"at least 1, and less than restart={self.restart}")
        super().__post_init__()

    @property
    def total(self) -> int:
        """m."""
        return self.restart

    def keeps(self, state: Prepared) -> bool:
        """All, unless they are the v_j."""
        return state.M is not None

    def init(
        self,
        A: LinearOperator,
        preconditioner: Preconditioner | None = None,
        previous: RecyclingState | None = None,
    ) -> RecyclingState:
        """Prepare preconditioner and basis, and carry the space of ``previous`` over to the new A."""
        ready = super().init(A, preconditioner, previous)
        state = RecyclingState(**vars(ready), space=None)
        if previous is None or previous.space is None or previous.basis is not state.basis:
            return state
        # The same number of points on another grid is another problem.
        if previous.space.U.shape[1] != self.recycle or previous.A.shape != A.shape:
            return state
        state.space = self._carried(state, previous.space)
        if state.M is not None:
            self._rescale(state, state.space)
        if Tag.SYMMETRIC not in A.tags and not self._keep_related(state, state.space):
            state.space = None
        return state

    def _carried(self, state: RecyclingState, space: Space) -> Space:
        """The space with C made from A U."""
        shape = (-1, *state.A.shape)
        images = torch.stack([state.A.apply(u.reshape(shape)).flatten(1) for u in space.U.unbind(1)], 1)
        plain = space.before_M is space.U
        C, turned = orthonormal_images(images, [space.U] if plain else [space.U, space.before_M])
        state.basis.rows[:, : self.recycle] = C
        before_M = turned[-1]
        inner = torch.bmm(C, before_M.conj().mT).conj().to(state.exact.dtype)
        return Space(turned[0], before_M, inner, torch.linalg.vector_norm(C, dim=2) > 0)

    def _rescale(self, state: RecyclingState, space: Space) -> None:
        """Fit the size of ``M^-1 U`` to the new M, by one application.

        Vectors that seem too large before M pass for eigenvectors of tiny eigenvalues, and would never leave.
        """
        assert state.M is not None
        image = state.M.apply(space.before_M.sum(1).reshape(-1, *state.A.shape)).flatten(1)
        ratio = torch.linalg.vector_norm(space.U.sum(1), dim=1) / torch.linalg.vector_norm(image, dim=1)
        usable = torch.isfinite(ratio) & (ratio > 0)
        ratio = torch.where(usable, ratio, torch.ones_like(ratio)).reshape(-1, 1, 1)
        space.before_M = space.before_M * ratio
        space.inner = space.inner * ratio

    def _keep_related(self, state: RecyclingState, space: Space) -> bool:
        """Drop the spaces that the new operator turns too far; the host reads whether any is left.

        The square of the cosine between A M W and W, on average over the directions of ``W = M^-1 U``, is
        1 for an invariant space.
        """
        gram = torch.bmm(space.before_M.conj(), space.before_M.mT).to(space.inner.dtype)
        scale = torch.diagonal(gram, dim1=1, dim2=2).real.clamp(min=1e-300).rsqrt().unsqueeze(1)
        values, vectors = torch.linalg.eigh(scale * gram * scale.mT)
        independent = values > 1e-12 * values[:, -1:]
        root = torch.where(independent, values.clamp(min=1e-300).rsqrt(), torch.zeros_like(values))
        cosines = torch.bmm(space.inner * scale, vectors * root.unsqueeze(1))
        kept = cosines.abs().square().sum((1, 2)) >= LEAST_COSINE * independent.sum(1)
        keep = kept.reshape(-1, 1, 1)
        state.basis.rows[:, : self.recycle] *= keep
        before_M = space.before_M * keep
        space.U = before_M if space.before_M is space.U else space.U * keep
        space.before_M, space.inner = before_M, space.inner * keep
        space.alive = space.alive & kept.unsqueeze(1)
        return bool(kept.any())

    def open(self, state: RecyclingState, s: Stalls) -> int:
        """Begin the basis, and where rounding has parted C from A U, make C anew first."""
        if state.space is not None and bool((s.stalls > 0).any()):
            state.space = self._carried(state, state.space)
        return super().open(state, s)

    def forget(self, state: RecyclingState) -> RecyclingState:
        """The buffers without the space."""
        return RecyclingState(**{**vars(state), "space": None})

    def fixed(self, state: RecyclingState) -> int:
        """The rows of C."""
        return 0 if state.space is None else self.recycle

    def correction(self, state: RecyclingState, y: Tensor) -> Tensor:
        """``[U, Z] y``; what a z_j brings into C is taken out again by the column of U that makes it."""
        basis = state.basis
        change = kept_correction(basis, y)
        if state.space is None:
            return change
        unit = basis.length.unsqueeze(1).to(basis.inside.dtype)
        into_C = combine(y, basis.h[:, : basis.fixed, : basis.used].mT)
        return change + combine(basis.inside * unit - into_C, state.space.U)

    def harvest(self, state: RecyclingState, change: Tensor) -> None:
        """Pick the next U and C from the space of the cycle."""
        basis, space = state.basis, state.space
        used, fixed = basis.used, basis.fixed
        rows = basis.rows[:, : fixed + used + 1]
        V = rows[:, fixed : fixed + used]
        along = None
        if space is not None:
            below = torch.bmm(rows[:, fixed:], space.before_M.conj().mT).conj()
            along = torch.cat([space.inner, below.to(space.inner.dtype)], 1)
        hermitian = state.M is None and Tag.SYMMETRIC in state.A.tags
        alive = None if space is None else space.alive
        weights, images, inner = harmonic_ritz(basis, along, alive, self.recycle, hermitian)
        C = torch.bmm(images.mT, rows)
        before_M = U = _combined(weights, None if space is None else space.before_M, V)
        if basis.z is not None:
            U = _combined(weights, None if space is None else space.U, basis.z[:, :used])
        basis.rows[:, : self.recycle] = C
        state.space = Space(U, before_M, inner, images.abs().amax(1) > 0)


def _combined(weights: Tensor, first: Tensor | None, second: Tensor) -> Tensor:
    """``[first, second] weights`` for rows that are vectors."""
    if first is None:
        return torch.bmm(weights.mT, second)
    fixed = first.shape[1]
    return torch.baddbmm(torch.bmm(weights[:, :fixed].mT, first), weights[:, fixed:].mT, second)
