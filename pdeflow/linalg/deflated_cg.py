"""Conjugate gradients that carry a deflation space from system to system."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.arnoldi import combine
from pdeflow.linalg.conjugate_directions import ConjugateDirections, Directions, precondition
from pdeflow.linalg.lockstep import RUNNING, Prepared, norm, prepare
from pdeflow.linalg.operator import LinearOperator, column, double_precision
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass
class DeflationState(Prepared):
    """Adds the deflation space W and ``AW = A W``, ``(batch, recycle, size)``, or None before there is one.

    ``W* A W = I``, and ``gram = W* M^-1 W``; a vector that was dropped is zero. ``learned`` is what a solve
    found for the next system, its W (not yet conjugate) and gram.
    """

    W: Tensor | None
    AW: Tensor | None
    gram: Tensor | None
    learned: tuple[Tensor, Tensor] | None


@dataclass
class Window(Directions):
    """Adds what is gathered in the first steps: the preconditioned residuals z_j at unit length in M^-1.

    ``lanczos`` is ``(batch, window, size)``; the numbers of step j, ``(batch, window)``, are ``r* z``, the
    curvature ``p* A p`` and beta; ``along`` is ``(batch, window, recycle)``, the part of A z_j along W.
    """

    lanczos: Tensor
    squares: Tensor
    curvatures: Tensor
    betas: Tensor
    along: Tensor
    gathered: Tensor
    gathering: Tensor
    taken: int


@dataclass(frozen=True)
class DeflatedCG(ConjugateDirections):
    """Recycling CG for sequences of Hermitian positive definite systems.

    The state holds k vectors W with ``W* A W = I`` that approximate the lowest eigenvectors of M A. A solve
    starts with a residual that is orthogonal to W, and every direction is kept conjugate to W::

        x += W W* r;  r = b - A x
        z = M r;  p = z + beta p - W (A W)* z;  alpha, beta, x and r as in CG

    so that the iteration does not see that part of the spectrum. The first steps gather the Lanczos vectors
    z_j; from the span of W and these the next W is taken by the Rayleigh-Ritz method for
    ``A w = theta M^-1 w``, whose matrices follow from alpha, beta and ``(A W)* z`` without another product.

    For the next system of a sequence, ``init(A, preconditioner, previous=state)`` computes A W for the new A
    and makes W conjugate again; directions that depend on others are dropped. A new system costs k products.
    The first system is solved by plain CG. Stopping and statuses are those of
    :class:`~pdeflow.linalg.cg.CG`.

    Reference: Y. Saad, M. Yeung, J. Erhel, F. Guyomarc'h, "A deflated version of the conjugate gradient
    algorithm", SIAM J. Sci. Comput. 21 (2000).

    Parameters
    ----------
    recycle
        k, the vectors that are carried along.
    window
        Steps of each solve whose vectors are gathered, at least k. A system takes memory for
        window + 2 k vectors.
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, and 8 elsewhere.

    Raises
    ------
    InvalidInput
        Unless 1 <= recycle <= window.
    """

    recycle: int = 16
    window: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("recycle", self.recycle)
        check_count("window", self.window)
        if self.recycle > self.window:
            raise InvalidInput("recycle", self.recycle, f"at least 1, and at most window={self.window}")

    def init(
        self,
        A: LinearOperator,
        preconditioner: Preconditioner | None = None,
        previous: DeflationState | None = None,
    ) -> DeflationState:
        """Prepare the preconditioner, and make the W of ``previous`` conjugate in the new A."""
        ready = prepare(A, preconditioner, previous)
        state = DeflationState(**vars(ready), W=None, AW=None, gram=None, learned=None)
        if previous is None or previous.learned is None:
            return state
        W, gram = previous.learned
        form = ((A.batch, self.recycle, A.size), A.dtype, A.device, A.shape)
        if (tuple(W.shape), W.dtype, W.device, previous.A.shape) != form:
            return state
        AW = torch.stack([A.apply(w.reshape(-1, *A.shape)).flatten(1) for w in W.unbind(1)], 1)
        sound = torch.isfinite(AW).flatten(1).all(1).reshape(-1, 1, 1)
        W, AW, gram = (torch.where(sound, X, torch.zeros_like(X)) for X in (W, AW, gram))
        for _ in range(2):  # the first pass leaves rounding times the condition of W* A W
            energy = torch.bmm(W.conj(), AW.mT)
            diagonal = torch.diagonal(energy, dim1=1, dim2=2).real
            scale = torch.where(diagonal > 0, diagonal.rsqrt(), torch.zeros_like(diagonal)).unsqueeze(2)
            energy = scale * energy * scale.mT
            values, vectors = torch.linalg.eigh((energy + energy.mH) / 2)
            # Lanczos vectors that have lost their orthogonality come several times over.
            independent = values > torch.finfo(A.dtype).eps ** 0.5 * values[:, -1:].abs()
            root = torch.where(independent, values.abs().rsqrt(), torch.zeros_like(values))
            turn = scale * vectors * root.unsqueeze(1)
            W, AW = torch.bmm(turn.mT, W), torch.bmm(turn.mT, AW)
            gram = torch.bmm(turn.mH, torch.bmm(gram, turn))
        state.W, state.AW, state.gram = W, AW, gram
        return state

    def forget(self, state: DeflationState) -> DeflationState:
        """The preconditioner's buffers without W."""
        return DeflationState(state.A, state.exact, state.M, None, None, None, None)

    def start(self, state: DeflationState, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Window:
        """The first residual, orthogonal to W."""
        first = super().start(state, b, x0, rtol, atol)
        batch, size, steps = b.shape[0], state.A.size, self.window
        numbers = torch.zeros(3, batch, steps, dtype=torch.float64, device=b.device)
        s = Window(
            **vars(first),
            lanczos=b.new_zeros(batch, steps, size),
            squares=numbers[0],
            curvatures=numbers[1],
            betas=numbers[2],
            along=b.new_zeros(batch, steps, self.recycle),
            gathered=torch.zeros(batch, dtype=torch.int64, device=b.device),
            gathering=first.status == RUNNING,
            taken=0,
        )
        if state.W is not None:
            self._deflate(state, s, s.status == RUNNING)
        return s

    def _deflate(self, state: DeflationState, s: Window, where: Tensor) -> None:
        """``x += W W* r``, where that makes the residual shorter in energy, which is everywhere."""
        assert state.W is not None
        r = torch.where(where.unsqueeze(1), s.r.flatten(1), torch.zeros_like(s.r).flatten(1))
        along = torch.bmm(state.W.conj(), r.unsqueeze(2)).squeeze(2)
        s.x += combine(along, state.W).reshape(s.x.shape)
        true = s.b - state.exact.apply(s.x.to(s.b.dtype))
        s.r.copy_(torch.where(column(where, s.r), true.to(s.r.dtype), s.r))
        s.norm = torch.where(where, norm(true), s.norm)
        s.true_norm = torch.where(where, s.norm, s.true_norm)

    def restart(self, state: DeflationState, s: Window, again: Tensor) -> None:
        """No direction, and a residual orthogonal to W once more; nothing more is gathered."""
        super().restart(state, s, again)
        s.gathering = s.gathering & ~again
        if state.W is not None:
            self._deflate(state, s, again)

    def turn(self, state: DeflationState, s: Window) -> None:
        """``p = z + beta p - W (A W)* z``; nothing is read by the host."""
        rz = precondition(state, s)
        running = s.status == RUNNING
        beta = torch.where(running, rz / s.rz, 1.0)
        z, p = s.z.flatten(1), s.p.flatten(1)
        p.mul_(beta.unsqueeze(1).to(p.dtype)).addcmul_(running.unsqueeze(1).to(p.dtype), z)
        along = None
        if state.W is not None and state.AW is not None:
            along = torch.bmm(state.AW.conj(), z.unsqueeze(2)).squeeze(2) * running.unsqueeze(1)
            p.sub_(combine(along, state.W))
        j = s.taken
        if j < self.window:
            unit = torch.where(running & s.gathering, rz.rsqrt(), 0.0).unsqueeze(1).to(z.dtype)
            torch.mul(z, unit, out=s.lanczos[:, j])
            s.squares[:, j], s.betas[:, j] = rz, beta
            if along is not None:
                s.along[:, j] = along
        s.rz = rz

    def step(self, state: DeflationState, s: Window) -> None:
        """As in CG; the curvature of p is noted."""
        super().step(state, s)
        j = s.taken
        if j < self.window:
            moved = s.gathering & (s.alpha > 0)
            s.curvatures[:, j] = torch.where(moved, s.rz / s.alpha, torch.zeros_like(s.rz))
            s.gathered += moved
            s.gathering = moved
        s.taken += 1

    def learn(self, state: DeflationState, s: Window) -> None:
        """The lowest Ritz vectors of the span of W and the Lanczos vectors."""
        F, scale, valid, basis = self._projected(state, s)
        sound = torch.isfinite(F).flatten(1).all(1).reshape(-1, 1, 1)
        valid = valid & sound.squeeze(2)
        F = torch.where(valid.unsqueeze(1) & valid.unsqueeze(2), F, torch.zeros_like(F))
        # Columns that do not count come last.
        beyond = 1e3 * torch.diagonal(F, dim1=1, dim2=2).abs().amax(1, keepdim=True) + 1
        F = F + torch.diag_embed(torch.where(valid, 0.0, beyond)).to(F.dtype)
        _, vectors = torch.linalg.eigh((F + F.mH) / 2)
        vectors = torch.where(valid.unsqueeze(2), vectors, torch.zeros_like(vectors))[:, :, : self.recycle]
        gram = torch.bmm(vectors.mH, vectors)
        weights = torch.bmm(scale, vectors).to(basis.dtype)
        state.learned = torch.bmm(weights.mT, basis), gram.to(basis.dtype)

    def _projected(self, state: DeflationState, s: Window) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A in a basis of span(W, z_j) that is orthonormal in M^-1.

        Also the weights of that basis, which of its vectors count, and the rows that the weights are for.
        """
        double = double_precision(state.A.dtype)
        unit = torch.where(s.squares > 0, s.squares.rsqrt(), torch.zeros_like(s.squares))
        # z_j = p_j - beta_j p_(j-1) + W (A W)* z_j with conjugate p.
        earlier = torch.nn.functional.pad(s.curvatures[:, :-1], (1, 0))
        main = (s.curvatures + s.betas.square() * earlier) * unit.square()
        below = -(s.betas * earlier * unit)[:, 1:] * unit[:, :-1]
        T = torch.diag_embed(main) + torch.diag_embed(below, -1) + torch.diag_embed(below, 1)
        counts = torch.arange(self.window, device=unit.device) < s.gathered.unsqueeze(1)
        T = T.to(double)
        if state.W is None or state.gram is None:
            identity = torch.eye(self.window, dtype=double, device=unit.device).expand_as(T)
            return T, identity, counts, s.lanczos
        along = s.along.to(double) * unit.unsqueeze(2)
        values, vectors = torch.linalg.eigh(_finite(state.gram.to(double)))
        independent = values > 1e-12 * values[:, -1:].abs()
        root = torch.where(independent, values.abs().rsqrt(), torch.zeros_like(values))
        turn = vectors * root.unsqueeze(1)
        corner = torch.bmm(turn.mH, along.mT)
        lower = T + torch.bmm(along.conj(), along.mT)
        F = torch.cat([torch.cat([torch.bmm(turn.mH, turn), corner], 2), torch.cat([corner.mH, lower], 2)], 1)
        scale = torch.nn.functional.pad(turn, (0, self.window, 0, self.window))
        scale = scale + torch.diag_embed(torch.nn.functional.pad(torch.ones_like(unit), (self.recycle, 0)))
        rows = torch.cat([state.W, s.lanczos], 1)
        return F, scale, torch.cat([independent, counts], 1), rows


def _finite(matrix: Tensor) -> Tensor:
    """The matrix, or zero for a system whose matrix is not finite."""
    sound = torch.isfinite(matrix).flatten(1).all(1).reshape(-1, 1, 1)
    return torch.where(sound, (matrix + matrix.mH) / 2, torch.zeros_like(matrix))
