"""Harmonic Ritz vectors of the space that a cycle of GCRO-DR has built."""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.linalg.arnoldi import Basis, without_dependent_rows
from pdeflow.linalg.operator import double_precision


def harmonic_ritz(
    basis: Basis, along: Tensor | None, alive: Tensor | None, wanted: int, hermitian: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The harmonic Ritz vectors of smallest ``|theta|``, as weights of ``[U, Z]`` and of ``[C, V]``.

    With ``A [U, Z] = [C, V] G`` and ``S = [C, V]* [M^-1 U, V_(used)]`` the pairs solve
    ``G* G z = theta G* S z``. By ``G = Q R`` and ``q = R z`` this is the standard problem
    ``(Q* S R^-1) q = q / theta``. An orthonormal basis of the span of the q wanted gives both sets
    of weights: ``[U, Z] R^-1 q`` is mapped to ``[C, V] Q q``, which is orthonormal.

    A real system gets the real and imaginary parts of conjugate pairs. Where a system has fewer columns
    than are wanted, the last vectors are zero.

    Parameters
    ----------
    basis
        After a cycle of ``used`` columns with ``fixed`` vectors in C.
    along, alive
        ``[C, V]* M^-1 U``, ``(batch, fixed + used + 1, fixed)`` in double precision, and which of the U are
        not dropped, ``(batch, fixed)``; None where there is no U.
    wanted
        How many.
    hermitian
        Whether A M is Hermitian; ``Q* S R^-1`` then is, and its eigenvectors come sooner.

    Returns
    -------
    weights, images
        ``(batch, fixed + used, wanted)`` and ``(batch, fixed + used + 1, wanted)``.
    inner
        ``(batch, wanted, wanted)``, the new ``C* M^-1 U`` in double precision.
    """
    fixed, used = basis.fixed, basis.used
    h = basis.h[:, : fixed + used + 1, :used]
    batch, rows, _ = h.shape
    columns = rows - 1
    double = double_precision(h.dtype)
    identity = torch.eye(rows, columns, dtype=double, device=h.device).expand(batch, -1, -1)
    counts, S, G = basis.valid, identity, h.to(double)
    if along is not None and alive is not None:
        counts = torch.cat([alive, counts], 1)
        S = torch.cat([along, identity[:, :, fixed:]], 2)
        G = torch.cat([identity[:, :, :fixed], G], 2)
    G = torch.where(counts.unsqueeze(1), G, torch.zeros_like(G))
    Q, R = torch.linalg.qr(G)
    R, kept = without_dependent_rows(R, torch.finfo(h.dtype).eps)
    T = torch.linalg.solve_triangular(R, torch.bmm(Q.mH, S), upper=True, left=False)
    # No eigensolver takes NaN, and one system's must not stop the others.
    sound = kept.unsqueeze(1) & kept.unsqueeze(2) & torch.isfinite(T)
    T = torch.where(sound, T, torch.zeros_like(T))
    values, vectors = torch.linalg.eigh((T + T.mH) / 2) if hermitian else torch.linalg.eig(T)
    order = torch.argsort(values.abs(), dim=1, descending=True, stable=True)[:, :wanted]
    vectors = vectors.gather(2, order.unsqueeze(1).expand(-1, columns, -1))
    if vectors.is_complex() and not h.is_complex():
        upper = values.gather(1, order).imag >= 0
        vectors = torch.where(upper.unsqueeze(1), vectors.real, vectors.imag)
    q, triangle = torch.linalg.qr(torch.where(kept.unsqueeze(2), vectors, torch.zeros_like(vectors)))
    independent = torch.diagonal(triangle, dim1=1, dim2=2).abs() > 1e-10
    q = torch.where(kept.unsqueeze(2) & independent.unsqueeze(1), q, torch.zeros_like(q))
    weights, images = torch.linalg.solve_triangular(R, q, upper=True), torch.bmm(Q, q)
    inner = torch.bmm(images.mH, torch.bmm(S, weights))
    missing = wanted - q.shape[2]
    if missing > 0:
        inner = torch.nn.functional.pad(inner, (0, missing, 0, missing))
        weights = torch.nn.functional.pad(weights, (0, missing))
        images = torch.nn.functional.pad(images, (0, missing))
    return weights.to(h.dtype), images.to(h.dtype), inner
