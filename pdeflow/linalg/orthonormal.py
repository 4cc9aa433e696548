"""Orthonormal bases of the images of a few vectors, for every system of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def orthonormal_images(images: Tensor, carried: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Orthonormal rows C with the span of ``images``, and the vectors that were mapped to C.

    ``images`` are ``(batch, k, size)``, and each of ``carried``, of the same shape, is turned by the linear
    map that turns the images into C: with ``images = A carried``, ``C = A turned``.

    The map is taken from the eigenvectors of the Gram matrix of the images at unit length, twice, because
    once leaves errors of the Gram matrix's condition times rounding. Directions that depend on the others
    up to the square root of rounding are dropped: they come out as zero, as does a whole system whose
    vectors are not finite.

    Reference: A. Stathopoulos and K. Wu, "A block orthogonalization procedure with constant
    synchronization requirements", SIAM J. Sci. Comput. 23 (2002).
    """
    epsilon = torch.finfo(images.dtype).eps
    length = torch.linalg.vector_norm(images, dim=2)
    unit = torch.where(length > 0, length.reciprocal(), torch.zeros_like(length))
    sound = torch.isfinite(unit).all(1).reshape(-1, 1, 1)
    C = (images * unit.unsqueeze(2)).masked_fill_(~sound, 0)
    whole = torch.diag_embed(unit).to(images.dtype)
    for _ in range(2):
        gram = torch.bmm(C, C.mH).conj()
        values, vectors = torch.linalg.eigh(gram)
        independent = values > 100 * epsilon * values[:, -1:]
        root = torch.where(independent, values.clamp(min=epsilon**2).rsqrt(), torch.zeros_like(values))
        turn = (vectors * root.unsqueeze(1)).mT
        C = torch.bmm(turn, C)
        whole = torch.bmm(turn, whole)
    return C, [torch.bmm(whole, vectors).masked_fill_(~sound, 0) for vectors in carried]
