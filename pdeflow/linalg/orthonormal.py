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
    sound = torch.isfinite(images).flatten(1).all(1)
    for vectors in carried:
        sound = sound & torch.isfinite(vectors).flatten(1).all(1)
    keep = sound.reshape(-1, 1, 1)
    C = torch.where(keep, images, torch.zeros_like(images))
    turned = [torch.where(keep, vectors, torch.zeros_like(vectors)) for vectors in carried]
    epsilon = torch.finfo(images.dtype).eps
    for _ in range(2):
        length = torch.linalg.vector_norm(C, dim=2)
        unit = torch.where(length > 0, length.reciprocal(), torch.zeros_like(length))
        C = C * unit.unsqueeze(2)
        gram = torch.bmm(C, C.mH).conj()
        values, vectors = torch.linalg.eigh(gram)
        independent = values > 100 * epsilon * values[:, -1:]
        root = torch.where(independent, values.clamp(min=epsilon**2).rsqrt(), torch.zeros_like(values))
        turn = (vectors * root.unsqueeze(1)).mT
        C = torch.bmm(turn, C)
        turn = turn * unit.unsqueeze(1)
        turned = [torch.bmm(turn, vectors) for vectors in turned]
    return C, turned
