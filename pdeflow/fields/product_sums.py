r"""Functions that are sums of products of functions of one coordinate, on products of axes.

.. math:: \partial^\alpha f(x) = \sum_g \prod_k T_{k g}^{(\alpha_k)}(x_k)

What a point of an axis costs is paid once for it, not once for every node above it; what is left for the
nodes is a product of matrices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from pdeflow.problems.compiled_statement import MultiIndex


def product_sums(
    tables: Sequence[Mapping[int, Tensor]], indices: Sequence[MultiIndex]
) -> dict[MultiIndex, Tensor]:
    """The sums (N, features) for each index, at all points of a product of axes, the last axis fastest.

    Parameters
    ----------
    tables
        For each axis by order T, (features, terms, points of the axis).
    indices
        The orders along each axis.
    """
    before: dict[MultiIndex, Tensor] = {}
    found = {}
    for index in indices:
        *leading, last = index
        product = _leading(tables, tuple(leading), before)
        if product is None:
            summed = tables[-1][last].sum(1)
        else:
            summed = (product.transpose(1, 2) @ tables[-1][last]).flatten(1)
        found[index] = summed.T
    return found


def _leading(
    tables: Sequence[Mapping[int, Tensor]], orders: MultiIndex, known: dict[MultiIndex, Tensor]
) -> Tensor | None:
    """The products (features, terms, points) over the first axes, each made once; None for no axes."""
    if not orders:
        return None
    if orders not in known:
        own, rest = tables[len(orders) - 1][orders[-1]], _leading(tables, orders[:-1], known)
        known[orders] = own if rest is None else (rest[..., None] * own[:, :, None]).flatten(2)
    return known[orders]


def contracted(weights: Mapping[MultiIndex, Tensor], table: Mapping[int, Tensor]) -> dict[MultiIndex, Tensor]:
    r"""The sums over orders along the last axis, of weights that are there for each index; without a tape.

    .. math:: v_{\alpha}(n) = \sum_m w_{(\alpha, m)}(n)\, T^{(m)}(n_d)

    Parameters
    ----------
    weights
        By index, (points of the first axis, ..., points of this axis, ..., features, terms or 1).
    table
        Of this axis by order, of a shape that broadcasts with the weights.

    Returns
    -------
    dict
        By the index without the last axis.
    """
    found: dict[MultiIndex, Tensor] = {}
    for index, weight in weights.items():
        *rest, order = index
        key, term = tuple(rest), weight * table[order]
        found[key] = found[key].add_(term) if key in found else term
    return found
